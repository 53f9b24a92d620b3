//! The provider on one day: its pure rules, and the few titles that somebody changed by hand.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta};
use serde::Serialize;

use super::provider::{OddTitle, Provider, Title, TitleStatus};

/// How far from the day `pay_open` looks for open titles, in days.
const NEAR_DAYS: i64 = 40;

/// What somebody did to a title.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub kind: ChangeKind,
    pub on: NaiveDate,
    pub at: NaiveDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    PartlyReceived,
    Received,
    Cancelled,
    Renegotiated,
}

/// A title that somebody issued by hand.
#[derive(Clone, Copy, Debug)]
struct Issued {
    contract: u64,
    on: NaiveDate,
    due_on: NaiveDate,
}

/// How a title is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payment {
    /// Wholly: `status` R.
    Full,
    /// Half of it: `status` P.
    Half,
}

/// What moving the date brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DayMove {
    /// Titles that exist now and did not before.
    pub issued: u64,
    /// Titles received in between.
    pub paid: u64,
    /// Titles cancelled in between.
    pub cancelled: u64,
    /// Titles renegotiated in between.
    pub renegotiated: u64,
}

/// A change that can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeRefused {
    /// No title has this id.
    NoSuchTitle(u64),
    /// It was received or cancelled before.
    NotOpen(u64),
    /// It already replaces a renegotiated title; the simulator renegotiates once.
    AlreadyARenegotiation(u64),
    /// No customer has a contract with this id.
    NoSuchContract(u64),
    /// This provider issues its titles by itself, month after month.
    NotByHand,
    /// The ERP's date doesn't go back.
    DateInThePast {
        /// The date that it has.
        today: NaiveDate,
        /// The date asked for.
        asked: NaiveDate,
    },
}

impl std::fmt::Display for ChangeRefused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchTitle(id) => write!(formatter, "there is no title {id}"),
            Self::NotOpen(id) => write!(formatter, "title {id} is not open"),
            Self::AlreadyARenegotiation(id) => write!(formatter, "title {id} already replaces a renegotiated one"),
            Self::NoSuchContract(id) => write!(formatter, "there is no contract {id}"),
            Self::NotByHand => formatter.write_str("this provider issues its titles by itself"),
            Self::DateInThePast { today, asked } => write!(formatter, "{asked} is before the simulator's date, {today}"),
        }
    }
}

impl std::error::Error for ChangeRefused {}

/// The provider, its date, and what people changed.
#[derive(Debug)]
pub(crate) struct Books {
    pub provider: Provider,
    pub day: NaiveDate,
    changes: HashMap<u64, Change>,
    /// The only titles that exist, id 1 first; `None`: those of the provider's monthly round.
    by_hand: Option<Vec<Issued>>,
    /// Grows with every change: what was counted before is void.
    pub version: u64,
}

impl Books {
    /// Opens them; `by_hand`: empty, and nothing is issued but by [`Books::issue`].
    pub fn open(provider: Provider, by_hand: bool) -> Self {
        let day = provider.opened_on;
        Self { provider, day, changes: HashMap::new(), by_hand: by_hand.then(Vec::new), version: 0 }
    }

    pub fn title(&self, id: u64) -> Option<Title> {
        self.title_on(id, self.day)
    }

    pub fn last_title_id(&self) -> u64 {
        match &self.by_hand {
            Some(issued) => u64::try_from(issued.len()).expect("lengths fit 64 bits"),
            None => self.provider.last_title_id(self.day),
        }
    }

    /// Issues a title today. Returns its id.
    pub fn issue(&mut self, contract: u64, due_on: NaiveDate) -> Result<u64, ChangeRefused> {
        if self.provider.customer_of_contract(contract).is_none() {
            return Err(ChangeRefused::NoSuchContract(contract));
        }
        let on = self.day;
        self.by_hand.as_mut().ok_or(ChangeRefused::NotByHand)?.push(Issued { contract, on, due_on });
        self.version += 1;
        Ok(self.last_title_id())
    }

    /// Every title of today, by id.
    pub fn titles(&self) -> impl Iterator<Item = Title> + '_ {
        (1..=self.last_title_id()).filter_map(|id| self.title(id))
    }

    /// Titles of which this is true today: odd cases that concern payment only while they are open.
    pub fn odd_titles(&self, odd: OddTitle) -> impl Iterator<Item = u64> + '_ {
        let ids = (1..=self.last_title_id()).filter(move |id| self.provider.odd_title(*id) == Some(odd));
        ids.filter(move |id| self.title(*id).is_some_and(|title| title.is_open()))
    }

    /// Marks titles as paid; all or none.
    pub fn pay(&mut self, ids: &[u64], payment: Payment) -> Result<(), ChangeRefused> {
        for id in ids {
            self.open_title(*id)?;
        }
        let kind = match payment {
            Payment::Full => ChangeKind::Received,
            Payment::Half => ChangeKind::PartlyReceived,
        };
        for id in ids {
            self.change(*id, kind);
        }
        Ok(())
    }

    /// Marks up to `count` open titles as paid, those due nearest to today first. Returns their ids.
    pub fn pay_open(&mut self, count: usize, payment: Payment) -> Vec<u64> {
        let mut near: Vec<Vec<u64>> = Vec::new();
        near.resize_with(usize::try_from(NEAR_DAYS).unwrap_or_default() + 1, Vec::new);
        for title in self.titles().filter(Title::is_open) {
            let distance = usize::try_from((title.due_on - self.day).num_days().abs()).unwrap_or(usize::MAX);
            if let Some(ids) = near.get_mut(distance)
                && ids.len() < count
            {
                ids.push(title.id);
            }
        }
        let ids: Vec<u64> = near.into_iter().flatten().take(count).collect();
        self.pay(&ids, payment).expect("they were open a moment ago, under the same lock");
        ids
    }

    pub fn cancel(&mut self, id: u64) -> Result<(), ChangeRefused> {
        self.open_title(id)?;
        self.change(id, ChangeKind::Cancelled);
        Ok(())
    }

    /// Replaces an open title by another, due later. Returns the id of the new one.
    pub fn renegotiate(&mut self, id: u64) -> Result<u64, ChangeRefused> {
        self.open_title(id)?;
        let replacement = self.provider.replacement_of(id).ok_or(ChangeRefused::AlreadyARenegotiation(id))?;
        self.change(id, ChangeKind::Renegotiated);
        Ok(replacement)
    }

    /// Moves the date forward and says what that changed.
    pub fn move_to(&mut self, day: NaiveDate) -> Result<DayMove, ChangeRefused> {
        if day < self.day {
            return Err(ChangeRefused::DateInThePast { today: self.day, asked: day });
        }
        let before = std::mem::replace(&mut self.day, day);
        self.version += 1;
        let mut moved = DayMove::default();
        for title in self.titles() {
            let earlier = self.title_on(title.id, before);
            if earlier.is_none() {
                moved.issued += 1;
            }
            if earlier.is_some_and(|earlier| !earlier.is_open()) {
                continue;
            }
            match title.status {
                TitleStatus::Received => moved.paid += 1,
                TitleStatus::Cancelled if title.renegotiation.is_some() => moved.renegotiated += 1,
                TitleStatus::Cancelled => moved.cancelled += 1,
                TitleStatus::Open | TitleStatus::Partial => {}
            }
        }
        Ok(moved)
    }

    fn title_on(&self, id: u64, day: NaiveDate) -> Option<Title> {
        let change_of = |id| self.changes.get(&id).copied();
        let Some(issued) = &self.by_hand else { return self.provider.title(id, day, change_of) };
        let title = issued.get(usize::try_from(id.checked_sub(1)?).ok()?)?;
        self.provider.by_hand(id, title.contract, title.on, title.due_on, change_of(id)).filter(|_| title.on <= day)
    }

    fn open_title(&self, id: u64) -> Result<(), ChangeRefused> {
        let title = self.title(id).ok_or(ChangeRefused::NoSuchTitle(id))?;
        if title.is_open() { Ok(()) } else { Err(ChangeRefused::NotOpen(id)) }
    }

    fn change(&mut self, id: u64, kind: ChangeKind) {
        let at = self.day.and_time(wall_clock().time());
        self.changes.insert(id, Change { kind, on: self.day, at });
        self.version += 1;
    }
}

/// The ERP writes local time without a zone (contracts §2.1): that of Brasília.
fn wall_clock() -> NaiveDateTime {
    let utc = DateTime::from_timestamp_micros(crate::mix::now_us()).unwrap_or_default();
    utc.naive_utc() - TimeDelta::hours(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(customers: u64) -> Books {
        let today = NaiveDate::from_ymd_opt(2026, 3, 10).expect("a date");
        Books::open(Provider::new(7, customers, today, vec![3, 0, -3]), false)
    }

    #[test]
    fn two_thousand_customers_give_1000_to_1500_open_titles_on_the_three_dates() {
        for (seed, today) in [(1, "2026-03-10"), (2, "2026-03-31"), (3, "2024-02-29"), (4, "2026-01-02")] {
            let today = today.parse().expect("a date");
            let books = Books::open(Provider::new(seed, 2000, today, vec![3, 0, -3]), false);
            let on_dates = |title: &Title| [3, 0, -3].contains(&(title.due_on - today).num_days());
            let hits = books.titles().filter(|title| title.is_open() && on_dates(title)).count();
            assert!((1000..=1500).contains(&hits), "{today}: {hits}");
        }
    }

    #[test]
    fn a_contract_has_one_to_three_titles_at_the_start() {
        let books = books(500);
        let mut titles = HashMap::<u64, usize>::new();
        for title in books.titles().filter(|title| title.replaces.is_none()) {
            *titles.entry(title.contract).or_default() += 1;
        }
        assert_eq!(titles.len(), 550);
        assert!(titles.values().all(|count| (1..=3).contains(count)));
    }

    #[test]
    fn the_date_issues_pays_cancels_and_renegotiates_by_itself() {
        let mut books = books(2000);
        let open_before = books.titles().filter(Title::is_open).count();
        let moved = books.move_to(books.day + TimeDelta::days(10)).expect("forward");
        assert!(moved.issued > 0 && moved.paid > 0 && moved.cancelled > 0 && moved.renegotiated > 0, "{moved:?}");
        let open_after = u64::try_from(books.titles().filter(Title::is_open).count()).expect("small");
        let ended = moved.paid + moved.cancelled + moved.renegotiated;
        assert_eq!(u64::try_from(open_before).expect("small") + moved.issued - ended, open_after);
        assert!(books.move_to(books.day - TimeDelta::days(1)).is_err());
    }

    #[test]
    fn a_title_never_changes_once_it_ended() {
        let mut books = books(300);
        let ended: Vec<Title> = books.titles().filter(|title| !title.is_open()).collect();
        books.move_to(books.day + TimeDelta::days(60)).expect("forward");
        for title in ended {
            let later = books.title(title.id).expect("still there");
            assert_eq!((later.status, later.ended_on), (title.status, title.ended_on));
        }
    }

    #[test]
    fn paying_takes_open_titles_nearest_to_today_first() {
        let mut books = books(500);
        let ids = books.pay_open(20, Payment::Full);
        assert_eq!(ids.len(), 20);
        for id in &ids {
            let title = books.title(*id).expect("it exists");
            assert_eq!((title.status, title.due_on, title.ended_on), (TitleStatus::Received, books.day, Some(books.day)));
        }
        assert_eq!(books.pay(&ids, Payment::Full), Err(ChangeRefused::NotOpen(ids[0])));
    }

    #[test]
    fn half_a_payment_leaves_the_title_open() {
        let mut books = books(100);
        let id = books.pay_open(1, Payment::Half)[0];
        let title = books.title(id).expect("it exists");
        assert_eq!(title.status, TitleStatus::Partial);
        assert!(title.received_cents > 0 && title.received_cents < title.amount_cents);
    }

    #[test]
    fn where_titles_are_issued_by_hand_no_others_exist_and_time_does_nothing_to_them() {
        let today = NaiveDate::from_ymd_opt(2026, 3, 10).expect("a date");
        let mut books = Books::open(Provider::new(7, 100, today, Vec::new()), true);
        assert_eq!(books.titles().count(), 0);
        let due_on = today - TimeDelta::days(3);
        let ids = [17, 4].map(|contract| books.issue(contract, due_on).expect("the contract exists"));
        assert_eq!(ids, [1, 2]);
        books.move_to(today + TimeDelta::days(90)).expect("forward");
        for (id, contract) in [(1, 17), (2, 4)] {
            let title = books.title(id).expect("it was issued");
            assert_eq!((title.contract, title.due_on, title.issued_on), (contract, due_on, today));
            assert_eq!((title.status, title.odd), (TitleStatus::Open, None));
        }
        books.pay(&[2], Payment::Full).expect("it was open");
        assert_eq!(books.titles().filter(Title::is_open).map(|title| title.id).collect::<Vec<_>>(), [1]);
        assert_eq!(books.issue(1_000_000, due_on), Err(ChangeRefused::NoSuchContract(1_000_000)));
        assert_eq!(super::tests::books(100).issue(1, due_on), Err(ChangeRefused::NotByHand));
    }

    #[test]
    fn a_renegotiated_title_is_replaced_by_one_due_later() {
        let mut books = books(100);
        let old = books.titles().find(Title::is_open).expect("some are open");
        assert!(books.provider.replacement_of(old.id).is_some_and(|id| books.title(id).is_none()));
        let new = books.renegotiate(old.id).expect("it was open");
        let (old, new) = (books.title(old.id).expect("the old"), books.title(new).expect("the new"));
        assert_eq!((old.status, old.renegotiation), (TitleStatus::Cancelled, Some(old.id)));
        assert_eq!((new.status, new.replaces), (TitleStatus::Open, Some(old.id)));
        assert!(new.due_on > books.day && new.amount_cents == old.amount_cents);
        assert_eq!(books.renegotiate(new.id), Err(ChangeRefused::AlreadyARenegotiation(new.id)));
    }
}
