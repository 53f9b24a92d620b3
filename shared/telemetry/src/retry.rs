//! The one retry policy of every process: exponential backoff with a bound, jittered by the caller's draw.
//!
//! The curve is the `backoff` crate's. That crate is unmaintained (RUSTSEC-2025-0012), so nothing outside this file names it: replacing
//! it is a change to [`RetryPolicy::delay`] alone. Two of its habits are kept out: its random factor (0 here; it jitters *after* its
//! cap, so the cap doesn't hold) and its end after 900 s (`None` here; when to give up is the caller's decision).

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use std::time::Duration;

/// Curves are followed at most this far: attempt 1000 and every later one wait the same.
const STEPS_MAX: u32 = 1000;
/// No delay is longer than this, whatever `max` says: it stays exact in the curve's arithmetic and can be added to any real instant.
const DELAY_MAX: Duration = Duration::from_hours(30 * 24);
/// No curve starts lower, whatever `initial` says: a retry is never immediate.
const INITIAL_MIN: Duration = Duration::from_millis(1);

/// How long to wait before trying again.
///
/// Values outside their bounds are read as the nearest bound, so [`RetryPolicy::delay`] is total.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The curve's first value; at least 1 ms, at most `max`.
    pub initial: Duration,
    /// What each further attempt multiplies the curve by; at least 1 (which is also what `NaN` is read as).
    pub multiplier: f64,
    /// The curve's last value and the bound of every delay; at least 1 ms, at most 30 days.
    pub max: Duration,
}

impl RetryPolicy {
    /// The wait after attempt number `attempt` (1-based; 0 is read as 1) has failed. Pure: equal arguments, equal delay.
    ///
    /// With `interval = min(initial × multiplier^(attempt − 1), max)` and `jitter` in `[0, 1)`, drawn by the caller, the delay is
    /// `interval/2 + jitter × interval/2`: at least half the interval, so that a retry is never almost immediate; below the interval and
    /// so never above `max`, so that the bound is one; and spread over the other half, so that what failed together doesn't return together.
    /// A `jitter` outside its range is read as the nearest bound, `NaN` as 0. Costs at most 1000 steps of the curve.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let interval = self.interval(attempt);
        let half = interval / 2;
        let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
        (half + half.mul_f64(jitter)).min(interval)
    }

    /// The curve without jitter.
    fn interval(&self, attempt: u32) -> Duration {
        let max = self.max.clamp(INITIAL_MIN, DELAY_MAX);
        let initial = self.initial.clamp(INITIAL_MIN, max);
        let mut curve = ExponentialBackoff {
            current_interval: initial,
            initial_interval: initial,
            randomization_factor: 0.0,
            multiplier: if self.multiplier.is_nan() { 1.0 } else { self.multiplier.max(1.0) },
            max_interval: max,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        // `current_interval` is read rather than `next_backoff`'s value: that one adds a draw below 1 ns, which can round upwards.
        for _ in 1..attempt.min(STEPS_MAX) {
            if curve.current_interval >= max || curve.next_backoff().is_none() {
                break;
            }
        }
        curve.current_interval.min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const POLICY: RetryPolicy = RetryPolicy { initial: SECOND, multiplier: 2.0, max: Duration::from_mins(1) };

    #[track_caller]
    fn check(policy: RetryPolicy, attempt: u32, jitter: f64, expected: Duration) {
        assert_eq!(policy.delay(attempt, jitter), expected, "{policy:?} attempt {attempt} jitter {jitter}");
    }

    #[test]
    fn the_delay_doubles_up_to_its_bound() {
        for (attempt, full_ms) in
            [(1, 1_000), (2, 2_000), (3, 4_000), (6, 32_000), (7, 60_000), (8, 60_000), (999, 60_000), (u32::MAX, 60_000)]
        {
            check(POLICY, attempt, 0.0, Duration::from_millis(full_ms / 2));
            check(POLICY, attempt, 0.5, Duration::from_millis(full_ms * 3 / 4));
            check(POLICY, attempt, 1.0, Duration::from_millis(full_ms));
        }
    }

    #[test]
    fn a_fractional_multiplier_is_followed() {
        let policy = RetryPolicy { initial: Duration::from_millis(100), multiplier: 1.5, max: SECOND };
        for (attempt, full_us) in
            [(1, 100_000), (2, 150_000), (3, 225_000), (4, 337_500), (5, 506_250), (6, 759_375), (7, 1_000_000)]
        {
            check(policy, attempt, 1.0, Duration::from_micros(full_us));
        }
    }

    #[test]
    fn values_outside_their_bounds_are_read_as_the_nearest_bound() {
        check(POLICY, 0, 1.0, SECOND);
        check(POLICY, 1, -3.0, SECOND / 2);
        check(POLICY, 1, f64::NAN, SECOND / 2);
        check(POLICY, 1, f64::NEG_INFINITY, SECOND / 2);
        check(POLICY, 1, f64::INFINITY, SECOND);
        for multiplier in [f64::NAN, f64::NEG_INFINITY, -2.0, 0.0, 0.5, 1.0] {
            check(RetryPolicy { multiplier, ..POLICY }, u32::MAX, 1.0, SECOND);
        }
        for multiplier in [f64::INFINITY, f64::MAX, 1e300] {
            check(RetryPolicy { multiplier, ..POLICY }, 1, 1.0, SECOND);
            check(RetryPolicy { multiplier, ..POLICY }, 2, 1.0, POLICY.max);
        }
        check(RetryPolicy { initial: Duration::ZERO, ..POLICY }, 1, 1.0, INITIAL_MIN);
        check(RetryPolicy { initial: Duration::MAX, ..POLICY }, 1, 1.0, POLICY.max);
        check(RetryPolicy { max: Duration::ZERO, ..POLICY }, 9, 1.0, INITIAL_MIN);
        check(RetryPolicy { initial: Duration::MAX, multiplier: f64::MAX, max: Duration::MAX }, u32::MAX, 1.0, DELAY_MAX);
    }

    #[test]
    fn a_delay_is_between_half_its_interval_and_its_bound_and_never_falls_with_the_attempt() {
        let policies = [
            POLICY,
            RetryPolicy { multiplier: 1.000_001, ..POLICY },
            RetryPolicy { initial: Duration::from_nanos(1_000_003), multiplier: 1.1, max: Duration::from_hours(29 * 24) },
        ];
        for policy in policies {
            let mut before = Duration::ZERO;
            for attempt in (1..=40).chain(995..=1005) {
                let full = policy.delay(attempt, 1.0);
                assert!(full >= before, "{policy:?} attempt {attempt}: {full:?} after {before:?}");
                for jitter in [0.0, 0.25, 0.999_999_999] {
                    let delay = policy.delay(attempt, jitter);
                    assert!(
                        delay >= full / 2 && delay <= full && delay <= policy.max,
                        "{policy:?} attempt {attempt} jitter {jitter}"
                    );
                    assert_eq!(delay, policy.delay(attempt, jitter), "equal arguments, equal delay");
                }
                before = full;
            }
        }
    }
}
