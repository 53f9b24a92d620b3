//! What became of messages, in all and on one day.

use chrono::NaiveDate;
use regua_domain::message::State;
use regua_domain::stage::Stage;
use regua_ledger::queries::{Counts, StageCount};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Messages by what became of them. Over a day a number is negative where messages left: one that was skipped and revived counts −1 there, so
/// that days always add up to their total.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that the runs wrote.
    pub decided: i64,
    /// Sent, by stage.
    pub sent: BTreeMap<Stage, i64>,
    /// Ended unsent, by reason.
    pub skipped: BTreeMap<String, i64>,
    /// Refused by the provider, by reason.
    pub failed: BTreeMap<String, i64>,
    /// Of which nobody knows whether they were sent.
    pub in_doubt: i64,
    /// Still on their way.
    pub waiting: i64,
}

impl Tally {
    /// What a ledger has in all.
    pub fn of(counts: &Counts, stages: &[StageCount]) -> Self {
        let mut tally = Self { decided: signed(counts.evaluated), ..Self::default() };
        for count in stages {
            let (number, reason) = (signed(count.messages), || count.reason.clone().unwrap_or_default());
            match count.state {
                State::Sent | State::Delivered | State::Read => *tally.sent.entry(count.stage).or_default() += number,
                State::Skipped => *tally.skipped.entry(reason()).or_default() += number,
                State::Failed => *tally.failed.entry(reason()).or_default() += number,
                State::InDoubt => tally.in_doubt += number,
                State::Held | State::Scheduled | State::Queued | State::Sending => tally.waiting += number,
            }
        }
        tally
    }

    /// What came since `before`; what is still on its way is not a difference.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            decided: self.decided - before.decided,
            sent: less(&self.sent, &before.sent),
            skipped: less(&self.skipped, &before.skipped),
            failed: less(&self.failed, &before.failed),
            in_doubt: self.in_doubt - before.in_doubt,
            waiting: self.waiting,
        }
    }

    /// The members of its JSON object; numbers of nothing are left out of the maps.
    pub fn members(&self) -> Map<String, Value> {
        let sent: BTreeMap<&str, i64> = self.sent.iter().map(|(stage, n)| (stage.as_str(), *n)).collect();
        let members = [
            ("decided", json!(self.decided)),
            ("sent", json!(sent)),
            ("skipped", json!(self.skipped)),
            ("failed", json!(self.failed)),
            ("in_doubt", json!(self.in_doubt)),
            ("waiting", json!(self.waiting)),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn less<K: Ord + Clone>(now: &BTreeMap<K, i64>, before: &BTreeMap<K, i64>) -> BTreeMap<K, i64> {
    let mut difference = now.clone();
    for (key, number) in before {
        *difference.entry(key.clone()).or_default() -= number;
    }
    difference.retain(|_, number| *number != 0);
    difference
}

/// One day of the provider's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// Its date.
    pub date: NaiveDate,
    /// The national holiday that it is.
    pub holiday: Option<String>,
    /// What became of messages.
    pub tally: Tally,
}

impl Day {
    /// Its line of JSON.
    pub fn json(&self) -> Value {
        let mut object = self.tally.members();
        object.insert("date".into(), json!(self.date));
        object.insert("weekday".into(), json!(self.weekday()));
        object.insert("holiday".into(), json!(self.holiday));
        Value::Object(object)
    }

    /// `Mon` to `Sun`.
    pub fn weekday(&self) -> String {
        self.date.format("%a").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sent: i64, paid: i64) -> Tally {
        Tally { sent: [(Stage::Overdue, sent)].into(), skipped: [("paid".to_owned(), paid)].into(), ..Tally::default() }
    }

    #[test]
    fn days_add_up_to_their_total_when_a_skipped_message_is_revived() {
        let (first, second) = (tally(3, 2), tally(5, 1));
        let day = second.since(&first);
        assert_eq!((day.sent[&Stage::Overdue], day.skipped["paid"]), (2, -1));
        assert_eq!(second.since(&second).skipped, BTreeMap::new());
    }
}
