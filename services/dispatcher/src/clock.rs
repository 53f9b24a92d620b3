//! The ledger's clock, seen from this host: hosts measure durations, the ledger says what time it is (invariant 9).

use crate::Dispatcher;
use chrono::{DateTime, Utc};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How long a sample counts: long enough to hold a fast answer, short enough to follow a drifting clock.
const SAMPLE_AGE_MAX: Duration = Duration::from_mins(1);
/// How often the ledger is asked for the time besides the starts.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Durations that a percentile looks at, at most …
const LATENCIES_MAX: usize = 256;
/// … and how old they may be: a ledger that was slow is tried again after this.
const LATENCY_AGE_MAX: Duration = Duration::from_secs(10);

/// Maps instants of the ledger to this host's monotonic clock. Each answer of the ledger bounds the offset from above, by however long the
/// answer took; the least bound of the last minute is taken, as NTP does, so a slot is never reached early.
pub struct LedgerClock {
    base: Instant,
    samples: Mutex<VecDeque<(Instant, i64)>>,
    starts: Latencies,
}

impl LedgerClock {
    pub fn new() -> Self {
        Self { base: Instant::now(), samples: Mutex::default(), starts: Latencies::default() }
    }

    /// Notes that at `received` the ledger's clock had read `ledger_now`.
    pub fn sample(&self, ledger_now: DateTime<Utc>, received: Instant) {
        let offset = self.micros(received) - ledger_now.timestamp_micros();
        let mut samples = self.lock();
        while samples.front().is_some_and(|(at, _)| received.saturating_duration_since(*at) > SAMPLE_AGE_MAX) {
            samples.pop_front();
        }
        // Only samples that may still become the least are kept.
        while samples.back().is_some_and(|(_, known)| *known >= offset) {
            samples.pop_back();
        }
        samples.push_back((received, offset));
    }

    /// This host's instant for an instant of the ledger; now, before the first sample.
    pub fn local(&self, ledger: DateTime<Utc>) -> Instant {
        let Some(offset) = self.offset() else { return Instant::now() };
        let micros = ledger.timestamp_micros().saturating_add(offset);
        self.base + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// The ledger's clock now, as far as this host can tell; this host's own before the first sample.
    pub fn now(&self) -> DateTime<Utc> {
        let Some(offset) = self.offset() else { return Utc::now() };
        DateTime::from_timestamp_micros(self.micros(Instant::now()) - offset).unwrap_or_else(Utc::now)
    }

    /// How long starts of channels with a limit take from the moment they read the ledger's clock, which they do under their locks, to their
    /// answer: what the lead is made of. The wait for the locks makes no slot late.
    pub const fn starts(&self) -> &Latencies {
        &self.starts
    }

    fn offset(&self) -> Option<i64> {
        self.lock().front().map(|(_, offset)| *offset)
    }

    fn micros(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.base).as_micros()).unwrap_or(i64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, i64)>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last durations of one kind of work.
#[derive(Default)]
pub struct Latencies(Mutex<VecDeque<(Instant, Duration)>>);

impl Latencies {
    /// Notes one duration that ended at `at`.
    pub fn add(&self, at: Instant, took: Duration) {
        let mut durations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if durations.len() == LATENCIES_MAX {
            durations.pop_front();
        }
        durations.push_back((at, took));
    }

    /// What 99 of 100 of the last seconds stay below; zero where nothing is known. Of fewer than a hundred the single slowest is left out: one
    /// hiccup of a quiet channel is no percentile, and a slot that it makes late is given back.
    pub fn p99(&self, now: Instant) -> Duration {
        let sorted = self.sorted(now);
        let left_out = (sorted.len() / 100).max(1);
        sorted.len().checked_sub(left_out + 1).map(|place| sorted[place]).unwrap_or_default()
    }

    /// How far ahead a slot must lie to be reached: more than twice as long as nearly all take.
    pub fn lead(&self, now: Instant) -> Duration {
        self.p99(now) * 2
    }

    /// What half of the last seconds stay below; zero where nothing is known.
    pub fn median(&self, now: Instant) -> Duration {
        let sorted = self.sorted(now);
        sorted.len().checked_sub(1).map(|last| sorted[last / 2]).unwrap_or_default()
    }

    fn sorted(&self, now: Instant) -> Vec<Duration> {
        let mut durations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while durations.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > LATENCY_AGE_MAX) {
            durations.pop_front();
        }
        let mut sorted: Vec<Duration> = durations.iter().map(|(_, took)| *took).collect();
        drop(durations);
        sorted.sort_unstable();
        sorted
    }
}

/// Asks the ledger for the time again and again, so that the offset follows both clocks.
pub async fn keep_sampling(dispatcher: Arc<Dispatcher>) {
    let mut every = tokio::time::interval(SAMPLE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Ok(now) = dispatcher.pipeline.ledger.now().await {
            dispatcher.clock.sample(now, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn the_fastest_answer_decides_and_no_slot_is_reached_early() {
        let clock = LedgerClock::new();
        let ledger = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        // The ledger reads `ledger` exactly at `clock.base`; its answers take 40, 3, 25 and 90 ms.
        for (second, late_ms) in [(1_i64, 40), (2, 3), (3, 25), (4, 90)] {
            let received = clock.base + Duration::from_secs(second.unsigned_abs()) + Duration::from_millis(late_ms);
            clock.sample(ledger + TimeDelta::seconds(second), received);
        }
        let slot = ledger + TimeDelta::seconds(5);
        assert_eq!(clock.local(slot), clock.base + Duration::from_secs(5) + Duration::from_millis(3));
    }

    #[test]
    fn an_old_sample_is_forgotten() {
        let clock = LedgerClock::new();
        let ledger = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        clock.sample(ledger, clock.base);
        let later = clock.base + SAMPLE_AGE_MAX + Duration::from_secs(1);
        clock.sample(ledger + TimeDelta::seconds(61), later + Duration::from_millis(5));
        assert_eq!(clock.local(ledger + TimeDelta::seconds(61)), later + Duration::from_millis(5));
    }

    #[test]
    fn p99_is_what_almost_all_of_the_last_seconds_stay_below() {
        let (latencies, start) = (Latencies::default(), Instant::now());
        assert_eq!(latencies.p99(start), Duration::ZERO);
        (1..=200).for_each(|ms| latencies.add(start, Duration::from_millis(ms)));
        assert_eq!(latencies.p99(start), Duration::from_millis(198));
        let later = start + LATENCY_AGE_MAX + Duration::from_millis(1);
        latencies.add(later, Duration::from_millis(900));
        assert_eq!(latencies.p99(later), Duration::ZERO, "nor is the first start of a process");
        latencies.add(later, Duration::from_millis(7));
        assert_eq!(latencies.p99(later), Duration::from_millis(7), "one hiccup of a quiet channel is no percentile");
        latencies.add(later, Duration::from_millis(900));
        assert_eq!(latencies.p99(later), Duration::from_millis(900), "two are");
        assert_eq!(latencies.median(later), Duration::from_millis(900));
        (0..3).for_each(|_| latencies.add(later, Duration::from_millis(8)));
        assert_eq!(latencies.median(later), Duration::from_millis(8), "but not what is usual");
    }
}
