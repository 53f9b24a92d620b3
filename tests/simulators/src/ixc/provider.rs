//! The provider: what it was founded with, and its titles as pure functions of (seed, id, day, changes made by hand).
//!
//! Ids of titles are months of blocks: in each month every contract has one id, and one that stands by for its renegotiation.
//! So ids ascend with time, any id can be looked at alone, and nothing is stored.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime};

use super::books::{Change, ChangeKind};
use crate::mix::{draw, pick};

/// A title exists so many days before its due date.
pub(crate) const ISSUED_BEFORE_DUE_DAYS: u64 = 10;
/// A renegotiated title's successor is due so many days later.
const RENEGOTIATED_DUE_DAYS: u64 = 15;
/// Of 100 contracts so many fall due on one of the offsets from the opening day, the others on any day of the month.
const ON_OFFSETS_PERCENT: u64 = 78;

const DUE_DAY: u64 = 301;
const FATE: u64 = 302;
const ODDITY: u64 = 303;
const PRICE: u64 = 304;

const PRICES_CENTS: [i64; 6] = [5_990, 7_990, 8_990, 9_990, 11_990, 14_990];

/// What may be odd about a title.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OddTitle {
    /// `liberado` N: hidden, must not be charged (contracts §2.2). 10 in 1000.
    Unreleased,
    /// `aguardando_confirmacao_pagamento` S while it is open. 10 in 1000.
    AwaitingConfirmation,
    /// `status` P while it is open: half is paid. 20 in 1000.
    PartiallyPaid,
    /// `id_cliente` is "0" or empty. 6 in 1000.
    WithoutCustomer,
    /// `data_vencimento` is 0000-00-00. 1 in 1000.
    WithoutDueDate,
    /// `titulo_protestado` S. 4 in 1000.
    Protested,
    /// `previsao` M. 4 in 1000.
    Forecast,
}

/// `status` of a title (contracts §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TitleStatus {
    /// A: to receive.
    Open,
    /// P: partly received.
    Partial,
    /// R: received.
    Received,
    /// C: cancelled; also the old title of a renegotiation, which is the simulator's choice.
    Cancelled,
}

/// A title (`fn_areceber`) as it stands on the simulator's day.
#[derive(Clone, Debug)]
pub struct Title {
    /// `id`.
    pub id: u64,
    /// The contract that it was issued for.
    pub contract: u64,
    /// The customer who owes it, whatever `id_cliente` says.
    pub customer: u64,
    /// What is odd about it.
    pub odd: Option<OddTitle>,
    /// `data_emissao`.
    pub issued_on: NaiveDate,
    /// `data_vencimento`, also where the record hides it.
    pub due_on: NaiveDate,
    /// `status`.
    pub status: TitleStatus,
    /// `valor`, in centavos.
    pub amount_cents: i64,
    /// `valor_recebido`, in centavos.
    pub received_cents: i64,
    /// When it was received or cancelled.
    pub ended_on: Option<NaiveDate>,
    /// Renegotiated: `status` is cancelled, `id_renegociacao` is this, and the successor carries it as `id_renegociacao_novo`.
    pub renegotiation: Option<u64>,
    /// The title that this one replaces.
    pub replaces: Option<u64>,
    /// The last change made by hand, if any.
    pub(crate) changed_at: Option<NaiveDateTime>,
    /// The day of the last change.
    pub(crate) changed_on: NaiveDate,
}

impl Title {
    /// To receive or partly received.
    pub fn is_open(&self) -> bool {
        matches!(self.status, TitleStatus::Open | TitleStatus::Partial)
    }
}

/// What was given at the start: everything else follows from it and the day.
#[derive(Clone, Debug)]
pub struct Provider {
    pub(crate) seed: u64,
    pub(crate) customers: u64,
    pub(crate) opened_on: NaiveDate,
    due_offsets: Vec<i64>,
}

/// How a title ends if nobody interferes.
#[derive(Clone, Copy)]
enum Fate {
    Paid(NaiveDate),
    Cancelled(NaiveDate),
    Renegotiated(NaiveDate),
    Never,
}

impl Provider {
    pub(crate) fn new(seed: u64, customers: u64, opened_on: NaiveDate, due_offsets: Vec<i64>) -> Self {
        Self { seed, customers, opened_on, due_offsets }
    }

    /// The highest id that a title can have on `day`.
    pub(crate) fn last_title_id(&self, day: NaiveDate) -> u64 {
        let months = month_number(day + Days::new(ISSUED_BEFORE_DUE_DAYS)) - self.first_month() + 1;
        u64::try_from(months).unwrap_or(0) * self.block()
    }

    /// The title with this id on `day`, after `change`; `None` if there is none (yet).
    pub(crate) fn title(&self, id: u64, day: NaiveDate, change_of: impl Fn(u64) -> Option<Change>) -> Option<Title> {
        let place = id.checked_sub(1)? % self.block();
        if place < self.contracts() {
            return self.issued(id, day, change_of(id));
        }
        let replaced = self.issued(id - self.contracts(), day, change_of(id - self.contracts()))?;
        self.renegotiated(id, &replaced, day, change_of(id))
    }

    /// The id of the title that would replace a regular one; `None` if it is itself a replacement.
    pub(crate) fn replacement_of(&self, id: u64) -> Option<u64> {
        (id.checked_sub(1)? % self.block() < self.contracts()).then_some(id + self.contracts())
    }

    /// What is odd about the title with this id.
    pub fn odd_title(&self, id: u64) -> Option<OddTitle> {
        match draw(self.seed, ODDITY, id) % 1000 {
            0..10 => Some(OddTitle::Unreleased),
            10..20 => Some(OddTitle::AwaitingConfirmation),
            20..40 => Some(OddTitle::PartiallyPaid),
            40..46 => Some(OddTitle::WithoutCustomer),
            46 => Some(OddTitle::WithoutDueDate),
            47..51 => Some(OddTitle::Protested),
            51..55 => Some(OddTitle::Forecast),
            _ => None,
        }
    }

    /// A title of the monthly round.
    fn issued(&self, id: u64, day: NaiveDate, change: Option<Change>) -> Option<Title> {
        let index = id.checked_sub(1)?;
        let contract = index % self.block() + 1;
        let month = self.first_month() + i64::try_from(index / self.block()).ok()?;
        let due_on = self.due_date(contract, month)?;
        let issued_on = due_on - Days::new(ISSUED_BEFORE_DUE_DAYS);
        if issued_on > day {
            return None;
        }
        let title = self.fresh(id, contract, issued_on, due_on)?;
        Some(Self::as_of(title, self.fate(id, due_on), day, change))
    }

    /// A title that somebody issued: nothing is odd about it, and nobody pays it by himself.
    pub(crate) fn by_hand(
        &self,
        id: u64,
        contract: u64,
        issued_on: NaiveDate,
        due_on: NaiveDate,
        change: Option<Change>,
    ) -> Option<Title> {
        let title = Title { odd: None, ..self.fresh(id, contract, issued_on, due_on)? };
        Some(Self::as_of(title, Fate::Never, issued_on, change))
    }

    /// The title that replaces a renegotiated one.
    fn renegotiated(&self, id: u64, replaced: &Title, day: NaiveDate, change: Option<Change>) -> Option<Title> {
        let renegotiation = replaced.renegotiation?;
        let issued_on = replaced.ended_on?;
        let due_on = issued_on + Days::new(RENEGOTIATED_DUE_DAYS);
        let mut title = self.fresh(id, replaced.contract, issued_on, due_on)?;
        title.replaces = Some(renegotiation);
        title.amount_cents = replaced.amount_cents;
        let draw = draw(self.seed, FATE, id);
        let fate = if draw % 100 < 60 { Fate::Paid(due_on + Days::new((draw >> 32) % 10)) } else { Fate::Never };
        Some(Self::as_of(title, fate, day, change))
    }

    fn fresh(&self, id: u64, contract: u64, issued_on: NaiveDate, due_on: NaiveDate) -> Option<Title> {
        Some(Title {
            id,
            contract,
            customer: self.customer_of_contract(contract)?,
            odd: self.odd_title(id),
            issued_on,
            due_on,
            status: TitleStatus::Open,
            amount_cents: PRICES_CENTS[pick(draw(self.seed, PRICE, contract), PRICES_CENTS.len())],
            received_cents: 0,
            ended_on: None,
            renegotiation: None,
            replaces: None,
            changed_at: None,
            changed_on: issued_on,
        })
    }

    /// Lets time and people work on a title: a change made by hand beats what would have come later.
    fn as_of(mut title: Title, fate: Fate, day: NaiveDate, change: Option<Change>) -> Title {
        if title.odd == Some(OddTitle::PartiallyPaid) {
            title.part_pay();
        }
        if let Some(change) = change {
            title.changed_at = Some(change.at);
            title.changed_on = change.on;
            match change.kind {
                ChangeKind::PartlyReceived => title.part_pay(),
                ChangeKind::Received => title.receive(change.on),
                ChangeKind::Cancelled => title.cancel(change.on),
                ChangeKind::Renegotiated => title.renegotiate(change.on),
            }
            if !title.is_open() {
                return title;
            }
        }
        match fate {
            Fate::Paid(on) if on <= day => title.receive(on),
            Fate::Cancelled(on) if on <= day => title.cancel(on),
            Fate::Renegotiated(on) if on <= day => title.renegotiate(on),
            Fate::Paid(_) | Fate::Cancelled(_) | Fate::Renegotiated(_) | Fate::Never => return title,
        }
        title.changed_at = None;
        title
    }

    /// Of 100 titles 15 are paid before they are due, 20 by two days after, 55 later, 2 cancelled, 3 renegotiated, 5 never paid.
    fn fate(&self, id: u64, due_on: NaiveDate) -> Fate {
        let draw = draw(self.seed, FATE, id);
        let spread = draw >> 32;
        let after = |from: u64, days: u64| due_on + Days::new(from + spread % days);
        match draw % 100 {
            0..8 => Fate::Paid(due_on - Days::new(4 + spread % 6)),
            8..15 => Fate::Paid(due_on - Days::new(1 + spread % 2)),
            15..35 => Fate::Paid(after(0, 3)),
            35..85 => Fate::Paid(after(4, 17)),
            85..90 => Fate::Paid(after(21, 40)),
            90..92 => Fate::Cancelled(after(1, 15)),
            92..95 => Fate::Renegotiated(after(5, 21)),
            _ => Fate::Never,
        }
    }

    fn due_date(&self, contract: u64, month: i64) -> Option<NaiveDate> {
        let draw = draw(self.seed, DUE_DAY, contract);
        let day = if draw % 100 < ON_OFFSETS_PERCENT && !self.due_offsets.is_empty() {
            let offset = self.due_offsets[pick(draw >> 32, self.due_offsets.len())];
            (self.opened_on + chrono::TimeDelta::days(offset)).day()
        } else {
            u32::try_from(1 + (draw >> 32) % 28).ok()?
        };
        let year = i32::try_from(month.div_euclid(12)).ok()?;
        let month = u32::try_from(month.rem_euclid(12) + 1).ok()?;
        // Short months: their last day.
        (0..4).find_map(|less| NaiveDate::from_ymd_opt(year, month, day - less))
    }

    fn first_month(&self) -> i64 {
        month_number(self.opened_on) - 1
    }

    /// Ids per month.
    fn block(&self) -> u64 {
        2 * self.contracts()
    }
}

impl Title {
    fn part_pay(&mut self) {
        self.status = TitleStatus::Partial;
        self.received_cents = self.amount_cents / 2;
    }

    fn receive(&mut self, on: NaiveDate) {
        self.status = TitleStatus::Received;
        self.received_cents = self.amount_cents;
        (self.ended_on, self.changed_on) = (Some(on), on);
    }

    fn cancel(&mut self, on: NaiveDate) {
        self.status = TitleStatus::Cancelled;
        (self.ended_on, self.changed_on) = (Some(on), on);
    }

    fn renegotiate(&mut self, on: NaiveDate) {
        self.cancel(on);
        self.renegotiation = Some(self.id);
    }
}

fn month_number(day: NaiveDate) -> i64 {
    i64::from(day.year()) * 12 + i64::from(day.month0())
}
