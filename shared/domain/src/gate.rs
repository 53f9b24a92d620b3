//! The gate of a channel: who may start, and at which instant.
//!
//! One row of the ledger, locked by every start: so the limit, a pause, the breaker and the provider's allowance hold for all dispatchers at
//! once.

use crate::admission::{HORIZON, LATENESS_UNPACED};
use crate::message::names;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How long a channel rests when its breaker opens; each time that a probe fails, twice as long.
pub const REST: TimeDelta = TimeDelta::seconds(60);
/// No rest is longer than this, but for its jitter.
pub const REST_MAX: TimeDelta = TimeDelta::minutes(15);
/// What is added to a wait that others were given too, so that they don't all come back at once: at most this much.
pub const SPREAD: TimeDelta = TimeDelta::seconds(5);
/// How long the provider's report of a channel's allowance holds.
pub const ALLOWANCE_HOLDS: TimeDelta = TimeDelta::minutes(15);

/// The gate of a channel: its limit, next free instant, pause, breaker, and what the provider lets it send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Messages per second; `None` is unlimited.
    pub per_second: Option<u32>,
    /// The next instant that no message has yet.
    pub next_free_at: DateTime<Utc>,
    /// Closed until then.
    pub paused_until: Option<DateTime<Utc>>,
    /// What closed it during this start.
    pub closed_by: Option<Closing>,
    /// How often in a row its breaker has opened; 0 while it is closed. Open, the gate gives one probe after each rest.
    pub trips: u32,
    /// Starts so far, in no unit of time: what [`Allowance::through`] is compared with.
    pub starts: u64,
    /// How far the provider's own daily allowance reaches, as far as it was reported lately.
    pub allowance: Option<Allowance>,
}

names! {
    /// What a start closes its gate for.
    Closing {
        /// The business's recipients per 24 hours are used up.
        Budget = "budget",
        /// The provider's daily allowance is used up.
        Allowance = "allowance",
        /// A probe is on its way: whoever else waits, waits for its answer.
        Probe = "probe",
    }
}

/// How much a channel may still send by the provider's own count (contracts §1.4): it lowers what we would send, and raises nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The gate's [`starts`](Gate::starts) up to which it reaches.
    pub through: u64,
    /// Until when it holds: an older report says nothing.
    pub until: DateTime<Utc>,
}

impl Gate {
    /// The distance of two slots: GCRA with burst 1 at limit/1.01, so that send jitter of 10 ms never lifts a second over the limit (F6).
    pub fn interval(&self) -> TimeDelta {
        self.per_second.map_or(TimeDelta::zero(), |limit| TimeDelta::microseconds((1_010_000 / i64::from(limit.max(1))) + 1))
    }

    /// The next slot, not before `now + lead`; without a limit, now.
    pub fn next_slot(&self, now: DateTime<Utc>, lead: TimeDelta) -> DateTime<Utc> {
        if !self.is_limited() {
            return now;
        }
        // Never further ahead than a grant can have put it: a ledger whose clock fell back must not make the channel wait for its old time.
        self.next_free_at.min(now + HORIZON + self.interval()).max(now + lead)
    }

    /// Whether the channel has a limit per second: only then are slots its, and is one that comes late not used.
    pub const fn is_limited(&self) -> bool {
        self.per_second.is_some()
    }

    /// How long after its slot a message may be begun.
    pub(crate) const fn lateness(&self) -> TimeDelta {
        if self.is_limited() { TimeDelta::zero() } else { LATENESS_UNPACED }
    }

    /// How many more starts the provider's allowance reaches for.
    pub fn left(&self, now: DateTime<Utc>) -> u64 {
        self.allowance_at(now).map_or(u64::MAX, |allowance| allowance.through.saturating_sub(self.starts))
    }

    /// Until when the provider's allowance lets nothing more go; `None`: something may.
    pub fn used_up(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.allowance_at(now).filter(|_| self.left(now) == 0).map(|allowance| allowance.until)
    }

    fn allowance_at(&self, now: DateTime<Utc>) -> Option<Allowance> {
        self.allowance.filter(|allowance| allowance.until > now)
    }

    pub(crate) fn take(&mut self, slot_at: DateTime<Utc>) {
        if self.is_limited() {
            self.next_free_at = slot_at + self.interval();
        }
        if self.is_limited() || self.allowance.is_some() {
            self.starts += 1;
        }
    }

    pub(crate) fn close(&mut self, until: DateTime<Utc>, why: Closing) {
        self.paused_until = Some(self.paused_until.map_or(until, |before| before.max(until)));
        self.closed_by = Some(why);
    }
}

/// How long a channel rests whose breaker opens for the `trips`-th time in a row. `jitter` is in `[0, 1)` and drawn by the caller.
pub fn rest(trips: u32, jitter: f64) -> TimeDelta {
    let doublings = trips.saturating_sub(1).min(8);
    (REST * (1 << doublings)).min(REST_MAX) + spread(jitter)
}

/// Positive jitter on top of a wait that was asked for: never less than that.
pub fn spread(jitter: f64) -> TimeDelta {
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "at most five million microseconds")]
    TimeDelta::microseconds((SPREAD.num_microseconds().unwrap_or(0) as f64 * jitter.clamp(0.0, 1.0)) as i64)
}
