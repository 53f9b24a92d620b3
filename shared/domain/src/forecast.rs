//! How long what was decided will take to be sent, and what binds: the limit per second, the budget of recipients, or the window.

use crate::message::names;
use crate::sending_times::RecipientWindow;
use crate::window::WindowState;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Windows that a forecast looks ahead at most.
const WINDOWS_MAX: u16 = 60;

/// What one channel has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Messages.
    pub messages: u64,
    /// Different people that they go to.
    pub recipients: u64,
    /// Messages per second of the channel; `None` is unlimited.
    pub per_second: Option<u32>,
    /// This channel's part of its business's budget; `None` is unlimited.
    pub budget: Option<BudgetPart>,
    /// Windows in which a message may leave before it ends unsent.
    pub open_windows: u16,
}

/// A part of a business's budget of different recipients in the moving 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetPart {
    /// What is left of it now.
    pub left: u64,
    /// What there is of it each day.
    pub per_24h: u64,
}

names! {
    /// What decides how long it takes.
    Binds {
        /// Nothing to send, or no limit: it takes what Opa! Suite takes.
        Nothing = "nothing",
        /// The channel's limit per second.
        PerSecond = "per_second",
        /// The business's budget of recipients per 24 hours.
        Budget = "budget",
        /// The window closes before all is sent.
        Window = "window",
    }
}

/// When a channel's messages will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// When the first one may leave.
    pub begins_at: DateTime<Utc>,
    /// When the last one that is sent has left.
    pub ends_at: DateTime<Utc>,
    /// What decides that.
    pub binds: Binds,
    /// Messages that end unsent, because their windows pass before it is their turn.
    pub unsent: u64,
}

impl Load {
    /// When it will be sent from `now` on, as far as limits and windows decide; answers that take long or fail are not foreseen. The window
    /// is one recipient's: those of other places begin and end at other hours.
    pub fn forecast(&self, window: &RecipientWindow<'_>, now: DateTime<Utc>) -> Forecast {
        let begins_at = window.next_open(now);
        let mut forecast = Forecast { begins_at, ends_at: begins_at, binds: Binds::Nothing, unsent: 0 };
        if self.messages > 0 && self.per_second.is_some() {
            forecast.binds = Binds::PerSecond;
        }
        let (mut left, mut opens_at) = (self.messages, begins_at);
        for number in 0..self.open_windows.clamp(1, WINDOWS_MAX) {
            let WindowState::Open { until } = window.state_at(opens_at) else { break };
            let (by_limit, by_budget) = (self.by_limit(until - opens_at), self.by_budget(number));
            let sent = left.min(by_limit).min(by_budget);
            if sent > 0 {
                forecast.ends_at = opens_at + self.time_for(sent);
            }
            left -= sent;
            if left == 0 {
                break;
            }
            if matches!(forecast.binds, Binds::Nothing | Binds::PerSecond) {
                forecast.binds = if by_budget < by_limit { Binds::Budget } else { Binds::Window };
            }
            opens_at = window.next_open(until);
        }
        forecast.unsent = left;
        forecast
    }

    /// Messages that the limit lets go in a while.
    fn by_limit(&self, open: TimeDelta) -> u64 {
        let micros = u64::try_from(open.num_microseconds().unwrap_or(i64::MAX)).unwrap_or(0);
        self.interval_us().map_or(u64::MAX, |interval| micros / interval)
    }

    /// Messages that the budget lets go in the window of this number, counted from 0; the next day it is whole again.
    fn by_budget(&self, window: u16) -> u64 {
        let Some(budget) = self.budget else { return u64::MAX };
        let people = if window == 0 { budget.left } else { budget.per_24h };
        let messages = u128::from(people) * u128::from(self.messages) / u128::from(self.recipients.max(1));
        u64::try_from(messages).unwrap_or(u64::MAX)
    }

    fn time_for(&self, messages: u64) -> TimeDelta {
        let micros = self.interval_us().unwrap_or(0).saturating_mul(messages);
        TimeDelta::microseconds(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// The distance of two slots, as the gate gives them out.
    fn interval_us(&self) -> Option<u64> {
        self.per_second.map(|limit| 1_010_000 / u64::from(limit.max(1)) + 1)
    }
}
