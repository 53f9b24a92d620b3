//! What went on the wire: every start that the ledger allowed, what Régua knew then, and what is known of its end.

use crate::calendar::{Place, place_of};
use crate::facts::Facts;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::mirror::Customer;
use regua_domain::render::Rendered;
use regua_domain::stage::Stage;
use std::sync::Arc;

/// What is known of an attempt's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing yet: it may have arrived.
    Open,
    Sent,
    Doubt,
    /// The provider took it and will never send it: it was an attempt, but no message.
    Refused,
    /// It certainly never left.
    Unsent,
}

impl Fate {
    pub const fn may_have_arrived(self) -> bool {
        matches!(self, Self::Open | Self::Sent | Self::Doubt)
    }
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Entry {
    pub message: MessageId,
    pub attempt: AttemptId,
    pub subject: String,
    pub stage: Stage,
    pub due_on: Option<NaiveDate>,
    pub slot_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub text: Rendered,
    /// What Régua knew.
    pub facts: Arc<Facts>,
    /// How often a person had it sent again.
    pub resent: u32,
    /// The last day that its decision left it.
    pub last_day: Option<NaiveDate>,
    pub fate: Fate,
    /// Whether the proof that it never left came too late to give back its place in the caps: a person had settled the doubt by then.
    pub keeps_place: bool,
}

impl Entry {
    /// Whether the ledger may count it for the caps: it is careful, so a refused message took its place too.
    pub fn may_count(&self) -> bool {
        self.fate != Fate::Unsent || self.keeps_place
    }

    /// Whom it is about.
    pub fn customer(&self) -> Option<&Customer> {
        match self.facts.invoices.get(&self.subject) {
            Some(invoice) => self.facts.customer_of(invoice),
            None => self.facts.customers.get(&self.subject),
        }
    }

    pub fn place(&self) -> Place {
        place_of(self.customer())
    }

    /// The day on which it went, on the recipient's calendar.
    pub fn local_date(&self) -> NaiveDate {
        self.place().local(self.slot_at).date()
    }

    /// What tells the event that it speaks of from others, by the ERP's data.
    pub fn occasion(&self) -> Option<String> {
        let invoice = self.facts.invoices.get(&self.subject)?;
        match self.stage {
            Stage::Settled => invoice.paid_on.map(|day| day.to_string()),
            Stage::Cancelled => invoice.cancelled_on.map(|day| day.to_string()),
            Stage::Renegotiated => Some(invoice.renegotiation_id.clone()),
            Stage::PreDue
            | Stage::DueDay
            | Stage::Overdue
            | Stage::PendingQuery
            | Stage::PaymentScheduling
            | Stage::InPerson
            | Stage::CreditBureau
            | Stage::BureauRemoved => None,
        }
    }

    pub fn told(&self) -> String {
        format!("{} of {} due {:?} at {} ({})", self.stage, self.subject, self.due_on, self.slot_at, self.message)
    }
}
