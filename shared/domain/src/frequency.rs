//! How often one person is written to: at most so many messages on a local day, and so many on seven, over every business and channel.
//!
//! A person has one phone, however many numbers write to it: a debtor who hears too often is harassed, whoever the sender is (contracts §4,
//! CDC art. 42).

use crate::ids::MessageId;
use crate::money::Centavos;
use crate::stage::Stage;
use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The local days that the longer cap looks at, today included.
pub const CAP_DAYS: u64 = 7;

/// The caps in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// Messages to one person on one local day.
    pub per_day: u32,
    /// Messages to one person on seven local days in a row.
    pub per_7_days: u32,
}

/// Which of one person's messages has the better claim to a place: the more advanced stage, then the older due date, then the larger amount.
/// The better one is the smaller; between equals the id decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    stage_rank: Reverse<u8>,
    due_on: Option<NaiveDate>,
    amount: Reverse<Centavos>,
    id: MessageId,
}

impl Precedence {
    /// The claim of a message; `due_on` is `None` for an event's.
    pub const fn new(stage: Stage, due_on: Option<NaiveDate>, amount: Centavos, id: MessageId) -> Self {
        Self { stage_rank: Reverse(stage.rank()), due_on, amount: Reverse(amount), id }
    }

    /// The message.
    pub const fn id(&self) -> MessageId {
        self.id
    }
}

/// What a person was sent, or may have been, by local day. Doubt counts as sent.
///
/// Only the days around the one that was counted last are kept, twice as far as the caps look: a day that comes out of order, as of a zone
/// that is behind, still finds all that counts for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SentByDay(BTreeMap<NaiveDate, u32>);

impl SentByDay {
    /// Counts one more message on `day`.
    pub fn count(&mut self, day: NaiveDate) {
        *self.0.entry(day).or_default() += 1;
        self.0.retain(|other, _| (*other - day).num_days().unsigned_abs() < 2 * CAP_DAYS);
    }

    /// Takes back what [`count`](Self::count) counted on `day`: the message certainly never left. Nothing if that day is forgotten.
    pub fn take_back(&mut self, day: NaiveDate) {
        if let Some(sent) = self.0.get_mut(&day) {
            *sent = sent.saturating_sub(1);
        }
        self.0.retain(|_, sent| *sent > 0);
    }

    /// The last day on which anything counts.
    pub fn last_day(&self) -> Option<NaiveDate> {
        self.0.last_key_value().map(|(day, _)| *day)
    }

    /// Messages on one day.
    pub fn on(&self, day: NaiveDate) -> u32 {
        self.0.get(&day).copied().unwrap_or(0)
    }

    /// How many more messages may go on `day`, so that neither that day nor any seven days that it belongs to have more than allowed.
    pub fn places(&self, day: NaiveDate, caps: Frequency) -> u32 {
        let today = caps.per_day.saturating_sub(self.on(day));
        let last_days = (0..CAP_DAYS).filter_map(|later| day.checked_add_days(Days::new(later)));
        last_days.map(|last| caps.per_7_days.saturating_sub(self.up_to(last))).fold(today, u32::min)
    }

    /// The first day after `day` on which there is a place, if nothing more is sent before. At most [`CAP_DAYS`] later.
    pub fn first_day_with_a_place(&self, day: NaiveDate, caps: Frequency) -> NaiveDate {
        let mut later = (1..=2 * CAP_DAYS).filter_map(|later| day.checked_add_days(Days::new(later)));
        later.find(|later| self.places(*later, caps) > 0).unwrap_or(day + Days::new(CAP_DAYS))
    }

    /// Messages on the seven days that end with `last`.
    fn up_to(&self, last: NaiveDate) -> u32 {
        let first = last.checked_sub_days(Days::new(CAP_DAYS - 1)).unwrap_or(NaiveDate::MIN);
        self.0.range(first..=last).map(|(_, sent)| sent).sum()
    }
}
