//! What follows one attempt. Pure: no clock, no randomness, no I/O.

use crate::config::ATTEMPTS_MAX;
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::admission::PHONE_SPACING;
use regua_domain::gate::{REST, spread};
use regua_domain::message::{DeferReason, FailReason};
use regua_domain::settlement::Settlement;
use regua_domain::stop::StopScope;
use regua_opa_suite::Outcome;
use regua_telemetry::retry::RetryPolicy;
use std::time::Duration;

/// How a message that was provably not sent is tried again: after about 5 s, 15 s, 45 s, 135 s.
pub const RETRY: RetryPolicy = RetryPolicy { initial: Duration::from_secs(5), multiplier: 3.0, max: Duration::from_mins(5) };
/// A throttled channel without a `Retry-After` waits this long.
const THROTTLED: TimeDelta = TimeDelta::seconds(30);
/// No answer pauses a channel for longer, whatever it asks.
const PAUSE_MAX: TimeDelta = TimeDelta::hours(24);
/// A contact in service with an attendant is left alone for this long.
const IN_SERVICE: TimeDelta = TimeDelta::minutes(30);
/// A message that met a stop is looked at again after this long.
pub const STOPPED: TimeDelta = TimeDelta::seconds(60);

/// What an attempt was.
#[derive(Clone, Copy, Debug)]
pub struct AttemptFacts {
    /// Which attempt of the message, from 1, this one included.
    pub number: u32,
    /// When the message ends unsent.
    pub expires_at: DateTime<Utc>,
    /// Whether it was one too many of its channel that failed in a row, or the probe: the provider is away, which is no message's fault.
    pub is_outage: bool,
}

/// What the answer means for more than its own message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The whole channel waits.
    Pause {
        /// Until then.
        until: DateTime<Utc>,
    },
    /// A stop is raised, and a person is told.
    Stop {
        /// What stops.
        scope: StopScope,
        /// Why: a closed name, or what was counted.
        why: String,
    },
    /// So many in a row failed that the channel rests.
    OpenBreaker,
}

/// What becomes of the message, and of more than the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The message's transition.
    pub settlement: Settlement,
    /// Something wider.
    pub effect: Option<Effect>,
}

impl From<Settlement> for Decision {
    fn from(settlement: Settlement) -> Self {
        Self { settlement, effect: None }
    }
}

/// Decides what follows one attempt.
///
/// `jitter` is in `[0, 1)` and drawn by the caller. Any instant in the settlement is later than `now` and not later than
/// `attempt.expires_at`, where the message ends anyway.
pub fn decide(attempt: AttemptFacts, outcome: &Outcome, now: DateTime<Utc>, jitter: f64) -> Decision {
    let bounded = |wait: TimeDelta| now.checked_add_signed(wait).unwrap_or(attempt.expires_at).min(attempt.expires_at);
    let defer = |wait, why| Settlement::Defer { until: bounded(wait), why };
    match outcome {
        Outcome::Accepted { provider_id } => Settlement::Sent { provider_id: provider_id.clone() }.into(),
        Outcome::NotSent { .. } if attempt.is_outage => defer(REST + spread(jitter), DeferReason::Gate).into(),
        Outcome::NotSent { .. } if attempt.number >= ATTEMPTS_MAX => Settlement::Fail { why: FailReason::AttemptsUsedUp }.into(),
        Outcome::NotSent { .. } => Settlement::Retry { at: bounded(from_std(RETRY.delay(attempt.number, jitter))) }.into(),
        Outcome::Doubt { why } => Settlement::Doubt { why: *why }.into(),
        Outcome::Throttled { why, .. } if why.concerns_the_recipient() => {
            defer(PHONE_SPACING + spread(jitter), DeferReason::PhoneSpacing).into()
        }
        Outcome::Throttled { retry_after, .. } => {
            let wait = retry_after.map_or(THROTTLED, from_std).min(PAUSE_MAX) + spread(jitter);
            let until = now.checked_add_signed(wait).unwrap_or(attempt.expires_at);
            Decision { settlement: defer(wait, DeferReason::Throttled), effect: Some(Effect::Pause { until }) }
        }
        Outcome::ContactInService => defer(IN_SERVICE + to_full_minute(now), DeferReason::InService).into(),
        Outcome::Stop { why } => Decision {
            settlement: defer(STOPPED, DeferReason::Stopped),
            effect: Some(Effect::Stop { scope: why.scope(), why: why.as_str().to_owned() }),
        },
        Outcome::Rejected { reason } => Settlement::Fail { why: *reason }.into(),
    }
}

fn from_std(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// What is missing to the next full minute. Many wait for half an hour: those that end together are one turn of the top-up, not thousands.
fn to_full_minute(now: DateTime<Utc>) -> TimeDelta {
    TimeDelta::microseconds((-now.timestamp_micros()).rem_euclid(60_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use regua_domain::message::DoubtReason;
    use regua_opa_suite::{NotSentReason, StopReason, ThrottleReason};

    fn now() -> DateTime<Utc> {
        "2026-11-24T13:00:00Z".parse().expect("an instant")
    }

    fn first() -> AttemptFacts {
        AttemptFacts { number: 1, expires_at: now() + TimeDelta::hours(8), is_outage: false }
    }

    #[track_caller]
    fn check(outcome: &Outcome, jitter: f64, expected: &Decision) {
        assert_eq!(decide(first(), outcome, now(), jitter), *expected);
    }

    #[test]
    fn an_accepted_message_is_sent_and_keeps_the_providers_id() {
        let provider_id = "65a1".to_owned();
        check(&Outcome::Accepted { provider_id: provider_id.clone() }, 0.0, &Settlement::Sent { provider_id }.into());
    }

    #[test]
    fn what_provably_never_left_is_tried_again_until_the_attempts_are_used_up() {
        let outcome = Outcome::NotSent { why: NotSentReason::Connect };
        check(&outcome, 0.0, &Settlement::Retry { at: now() + TimeDelta::milliseconds(2500) }.into());
        let last = AttemptFacts { number: ATTEMPTS_MAX, ..first() };
        assert_eq!(decide(last, &outcome, now(), 0.0), Settlement::Fail { why: FailReason::AttemptsUsedUp }.into());
    }

    #[test]
    fn an_outage_uses_up_no_attempt() {
        let last = AttemptFacts { number: ATTEMPTS_MAX, is_outage: true, ..first() };
        let decision = decide(last, &Outcome::NotSent { why: NotSentReason::Connect }, now(), 0.0);
        assert_eq!(decision, Settlement::Defer { until: now() + REST, why: DeferReason::Gate }.into());
    }

    #[test]
    fn doubt_is_never_retried() {
        for why in DoubtReason::ALL {
            check(&Outcome::Doubt { why: *why }, 0.5, &Settlement::Doubt { why: *why }.into());
        }
    }

    #[test]
    fn a_throttled_channel_waits_at_least_what_was_asked_and_all_of_it() {
        let outcome = Outcome::Throttled { why: ThrottleReason::TooManyRequests, retry_after: Some(Duration::from_secs(7)) };
        for jitter in [0.0, 0.5, 0.999] {
            let decision = decide(first(), &outcome, now(), jitter);
            let Some(Effect::Pause { until }) = decision.effect else { panic!("{decision:?}") };
            assert!(until >= now() + TimeDelta::seconds(7) && until < now() + TimeDelta::seconds(12), "{until}");
            assert_eq!(decision.settlement, Settlement::Defer { until, why: DeferReason::Throttled });
        }
    }

    #[test]
    fn the_pair_rate_concerns_only_the_recipient() {
        let outcome = Outcome::Throttled { why: ThrottleReason::PairRate, retry_after: Some(Duration::from_mins(10)) };
        check(&outcome, 0.0, &Settlement::Defer { until: now() + PHONE_SPACING, why: DeferReason::PhoneSpacing }.into());
    }

    #[test]
    fn a_stop_defers_its_message_and_names_what_stops() {
        let decision = decide(first(), &Outcome::Stop { why: StopReason::Unauthorized }, now(), 0.0);
        assert!(matches!(decision.settlement, Settlement::Defer { why: DeferReason::Stopped, .. }));
        assert!(matches!(decision.effect, Some(Effect::Stop { scope: StopScope::Integration, .. })));
    }

    #[test]
    fn who_is_in_service_is_tried_at_a_full_minute_half_an_hour_later() {
        for microseconds in [0, 1, 59_999_999, 60_000_000, 123_456_789] {
            let at = now() + TimeDelta::microseconds(microseconds);
            let settlement = decide(first(), &Outcome::ContactInService, at, 0.5).settlement;
            let Settlement::Defer { until, why: DeferReason::InService } = settlement else { panic!("{settlement:?}") };
            assert!(until >= at + IN_SERVICE && until < at + IN_SERVICE + TimeDelta::minutes(1), "{until}");
            assert_eq!(until.timestamp_micros() % 60_000_000, 0, "{until}");
        }
    }

    #[test]
    fn no_wait_outlasts_the_message() {
        let soon = AttemptFacts { expires_at: now() + TimeDelta::seconds(1), ..first() };
        let outcomes = [
            Outcome::NotSent { why: NotSentReason::Connect },
            Outcome::ContactInService,
            Outcome::Throttled { why: ThrottleReason::TooManyRequests, retry_after: Some(Duration::MAX) },
        ];
        for outcome in outcomes {
            match decide(soon, &outcome, now(), 0.9).settlement {
                Settlement::Retry { at } | Settlement::Defer { until: at, .. } => assert_eq!(at, soon.expires_at, "{outcome:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
