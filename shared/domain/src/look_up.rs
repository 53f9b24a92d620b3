//! Looking for a doubtful message among what Opa! Suite shows of its talks with customers.
//!
//! A record that shows it proves that it was sent; that none does proves nothing. Inferred: nobody documents that a template's message is
//! shown so (contracts §1.4), hence only the whole text counts, to the very phone, around the time of its attempt.

use crate::ids::{AttemptId, MessageId};
use crate::phone::PhoneKey;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

/// How far Opa! Suite's clock and the ledger's may be apart.
pub const CLOCKS_APART_MAX: TimeDelta = TimeDelta::minutes(10);

/// How long after each look without a hit the next one is due; after the last there is none: what isn't there after half a day won't be.
const NEXT_AFTER: [TimeDelta; 5] =
    [TimeDelta::minutes(1), TimeDelta::minutes(5), TimeDelta::minutes(15), TimeDelta::hours(1), TimeDelta::hours(10)];

/// When the next look for a message is due, after so many.
pub fn next_look_after(looks: u32) -> Option<TimeDelta> {
    let index = usize::try_from(looks).ok()?.checked_sub(1)?;
    NEXT_AFTER.get(index).copied()
}

/// A doubtful message, with what its record would be like. Personal data: it has no `Debug`.
#[derive(Clone)]
pub struct Sought {
    /// The message.
    pub message: MessageId,
    /// Its attempt that is in doubt.
    pub attempt: AttemptId,
    /// Its channel's id at Opa! Suite.
    pub provider_channel_id: String,
    /// To whom it went.
    pub phone: PhoneKey,
    /// The template's text with its values.
    pub text: String,
    /// The first instant at which its request may have been written.
    pub from_at: DateTime<Utc>,
    /// The last one.
    pub until_at: DateTime<Utc>,
}

/// A message as Opa! Suite shows it. Personal data: it has no `Debug`.
#[derive(Clone)]
pub struct Shown {
    /// Its id there.
    pub id: String,
    /// Whether it went to the customer.
    pub is_to_customer: bool,
    /// What it says.
    pub text: String,
    /// When it was written.
    pub at: DateTime<Utc>,
}

impl Sought {
    /// Whether it is shown by this record of a talk with its phone through its channel.
    pub fn is_shown_by(&self, record: &Shown) -> bool {
        record.is_to_customer
            && (self.from_at - CLOCKS_APART_MAX..=self.until_at + CLOCKS_APART_MAX).contains(&record.at)
            && words(&record.text).eq(words(&self.text))
    }

    /// The days, in UTC and a zone that may be a day behind or ahead of it, on which its talk may have been opened.
    pub fn days(&self) -> (NaiveDate, NaiveDate) {
        let day = |at: DateTime<Utc>| at.date_naive();
        (day(self.from_at - CLOCKS_APART_MAX - ZONE_BEHIND_MAX), day(self.until_at + CLOCKS_APART_MAX))
    }
}

/// Brazil's westernmost zone is so far behind UTC; whose midnight begins a day at Opa! Suite is unknown.
const ZONE_BEHIND_MAX: TimeDelta = TimeDelta::hours(5);

/// What is between may be kept otherwise than it was given.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap() + TimeDelta::minutes(minute)
    }

    fn sought() -> Sought {
        Sought {
            message: MessageId(uuid::Uuid::from_u128(1)),
            attempt: AttemptId(uuid::Uuid::from_u128(2)),
            provider_channel_id: "c1".into(),
            phone: "1187654321".parse().unwrap(),
            text: "Olá Ana! Sua fatura de R$10,00 vence hoje.".into(),
            from_at: at(0),
            until_at: at(1),
        }
    }

    fn shown() -> Shown {
        Shown { id: "r1".into(), is_to_customer: true, text: "Olá Ana!\nSua fatura  de R$10,00 vence hoje. ".into(), at: at(0) }
    }

    #[test]
    fn the_same_words_to_the_customer_at_that_time_show_it() {
        assert!(sought().is_shown_by(&shown()));
        assert!(sought().is_shown_by(&Shown { at: at(-10), ..shown() }));
        assert!(sought().is_shown_by(&Shown { at: at(11), ..shown() }));
    }

    #[test]
    fn other_words_from_the_customer_or_of_another_time_dont() {
        let text = "Olá Ana! Sua fatura de R$10,01 vence hoje.".to_owned();
        assert!(!sought().is_shown_by(&Shown { text, ..shown() }));
        let more = format!("{} Obrigado!", shown().text);
        assert!(!sought().is_shown_by(&Shown { text: more, ..shown() }));
        assert!(!sought().is_shown_by(&Shown { is_to_customer: false, ..shown() }));
        assert!(!sought().is_shown_by(&Shown { at: at(-11), ..shown() }));
        assert!(!sought().is_shown_by(&Shown { at: at(12), ..shown() }));
    }

    #[test]
    fn looks_get_rarer_and_end() {
        assert_eq!(next_look_after(0), None);
        let delays: Vec<_> = (1..=5).map(|looks| next_look_after(looks).unwrap()).collect();
        assert!(delays.is_sorted());
        assert_eq!(next_look_after(6), None);
    }

    #[test]
    fn a_talk_of_the_evening_may_be_of_the_day_before_in_utc() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let evening = "2026-11-27T02:30:00Z".parse().unwrap();
        let sought = Sought { from_at: evening, until_at: evening, ..sought() };
        assert_eq!(sought.days(), (day("2026-11-26"), day("2026-11-27")));
    }
}
