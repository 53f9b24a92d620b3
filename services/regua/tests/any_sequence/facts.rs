//! What is so at the ERP, and what Régua was told of it: the oracle's own record.

use crate::calendar::{PROVIDER, day_of};
use crate::operations::{Change, Setting};
use crate::world::{DATED, LONG_BEFORE, Rules, World, customer, invoice, written};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_domain::stage::Stage;
use std::collections::{BTreeMap, BTreeSet};

/// The provider's date.
pub fn date_at(instant: DateTime<Utc>) -> NaiveDate {
    PROVIDER.local(instant).date()
}

/// The truth, of which Régua knows what the last sync saw.
#[derive(Clone, Debug, Default)]
pub struct Erp {
    pub customers: Vec<Customer>,
    pub invoices: Vec<Invoice>,
    renegotiations: u32,
}

impl Erp {
    pub fn new(world: &World) -> Self {
        let today = date_at(world.begins_at);
        let customers = world.customers.iter().enumerate().map(|(number, spec)| customer(number, spec)).collect();
        let invoices = world.invoices.iter().enumerate();
        let invoices = invoices.map(|(number, (customer, due))| invoice(number, *customer, day_of(today, *due))).collect();
        Self { customers, invoices, renegotiations: 0 }
    }

    pub fn change(&mut self, number: usize, change: Change, today: NaiveDate) {
        let invoice = &mut self.invoices[number];
        let is_owed = matches!(invoice.status, InvoiceStatus::Open | InvoiceStatus::Partial);
        match change {
            Change::Pay if is_owed => {
                (invoice.status, invoice.open_amount, invoice.paid_on) = (InvoiceStatus::Received, Centavos(0), Some(today));
            }
            Change::PayPart if is_owed && invoice.open_amount.0 > 200 => {
                (invoice.status, invoice.open_amount) = (InvoiceStatus::Partial, Centavos(invoice.open_amount.0 / 2));
            }
            Change::Reverse if !is_owed => {
                (invoice.status, invoice.open_amount) = (InvoiceStatus::Open, invoice.amount);
                (invoice.paid_on, invoice.cancelled_on) = (None, None);
                invoice.renegotiation_id.clear();
            }
            Change::Cancel if is_owed => (invoice.status, invoice.cancelled_on) = (InvoiceStatus::Cancelled, Some(today)),
            Change::Renegotiate if is_owed => {
                self.renegotiations += 1;
                (invoice.status, invoice.cancelled_on) = (InvoiceStatus::Cancelled, Some(today));
                invoice.renegotiation_id = format!("r{}", self.renegotiations);
            }
            Change::MoveDueDate(days) if is_owed => invoice.due_on = day_of(today, days),
            Change::Amount(centavos) if is_owed => {
                (invoice.amount, invoice.open_amount) = (Centavos(centavos), Centavos(centavos));
            }
            Change::Hide => invoice.released = false,
            Change::Show => invoice.released = true,
            // What has ended can't be paid, and what is owed can't be reversed.
            Change::Pay
            | Change::PayPart
            | Change::Reverse
            | Change::Cancel
            | Change::Renegotiate
            | Change::MoveDueDate(_)
            | Change::Amount(_) => {}
        }
    }

    pub fn set_phone(&mut self, customer: usize, phone: usize) {
        self.customers[customer].mobile_phone = written(phone).into();
    }
}

/// What Régua knows at one instant, by the oracle's own account.
#[derive(Clone, Debug)]
pub struct Facts {
    pub rules: Rules,
    pub active_from: BTreeMap<Stage, NaiveDate>,
    pub invoices: BTreeMap<String, Invoice>,
    pub customers: BTreeMap<String, Customer>,
    pub synced_at: Option<DateTime<Utc>>,
    pub opted_out: BTreeSet<&'static str>,
    /// The last day of the hold on an invoice or a customer.
    pub holds: BTreeMap<String, NaiveDate>,
    /// The days that a restored backup knows nothing of.
    pub lost: Option<(NaiveDate, NaiveDate)>,
}

impl Facts {
    pub fn new(world: &World) -> Self {
        let today = date_at(world.begins_at);
        Self {
            active_from: world.rules.stages.iter().map(|rule| (rule.stage, today)).collect(),
            rules: world.rules.clone(),
            invoices: BTreeMap::new(),
            customers: BTreeMap::new(),
            synced_at: None,
            opted_out: BTreeSet::new(),
            holds: BTreeMap::new(),
            lost: None,
        }
    }

    /// The mirror becomes what the ERP has.
    pub fn sync(&mut self, erp: &Erp, at: DateTime<Utc>) {
        self.invoices = erp.invoices.iter().map(|invoice| (invoice.id.0.clone(), invoice.clone())).collect();
        self.customers = erp.customers.iter().map(|customer| (customer.id.0.clone(), customer.clone())).collect();
        self.synced_at = Some(at);
    }

    /// A stage that is switched on, or gets another day, counts from that day.
    pub fn set(&mut self, setting: Setting, today: NaiveDate) {
        let before = self.rules.clone();
        let rules = &mut self.rules;
        match setting {
            Setting::Stage(place, on) => rules.stages[place].on = on,
            Setting::Offset(place, by) => {
                let rule = &mut rules.stages[place];
                // The stages keep their order, and *No vencimento* its day.
                rule.days = Some(if rule.stage == Stage::DueDay { 0 } else { DATED[place].1 + by });
            }
            Setting::Policy(on) => rules.policy_on = on,
            Setting::Caps(day, week) => (rules.per_day, rules.per_7_days) = (day, week),
            Setting::Window(hours) => rules.hours = hours,
            Setting::Template(template) => rules.template = template,
            Setting::Pilot(on) => rules.pilot = on,
        }
        for rule in &self.rules.stages {
            let goes_on = before.on(rule.stage).is_some_and(|was| was.days == rule.days);
            if !goes_on {
                self.active_from.insert(rule.stage, today);
            }
        }
    }

    /// The first day of a stage that isn't older than its being switched on.
    pub fn active_from(&self, stage: Stage) -> NaiveDate {
        if self.rules.states_activation { LONG_BEFORE.parse().unwrap() } else { self.active_from[&stage] }
    }

    pub fn restore(&mut self, lost_since: DateTime<Utc>, now: DateTime<Utc>) {
        let since = date_at(lost_since);
        self.lost = Some((self.lost.map_or(since, |(known, _)| known.min(since)), date_at(now)));
    }

    /// Whether a message of a stage's day may have been sent in the time that a backup lost.
    pub fn may_be_lost(&self, stage_day: NaiveDate) -> bool {
        self.lost.is_some_and(|(since, until)| stage_day <= until && day_of(stage_day, 3) >= since)
    }

    pub fn customer_of(&self, invoice: &Invoice) -> Option<&Customer> {
        self.customers.get(&invoice.customer_id.as_ref()?.0)
    }

    /// Whether a hold on the invoice or its customer is in force.
    pub fn is_held(&self, invoice: &Invoice, today: NaiveDate) -> bool {
        let until = |id: &str| self.holds.get(id).is_some_and(|until| today <= *until);
        until(&invoice.id.0) || invoice.customer_id.as_ref().is_some_and(|customer| until(&customer.0))
    }

    /// Whether the mirror is young enough to send from.
    pub fn is_fresh(&self, at: DateTime<Utc>) -> bool {
        self.synced_at.is_some_and(|synced| synced + TimeDelta::hours(self.rules.max_age_h.into()) > at)
    }
}

/// Whether an invoice is owed and may be charged.
pub fn is_owed(invoice: &Invoice) -> bool {
    matches!(invoice.status, InvoiceStatus::Open | InvoiceStatus::Partial) && invoice.released && invoice.open_amount.0 > 0
}
