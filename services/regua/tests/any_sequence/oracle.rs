//! The rules, from their description: each is asked of every attempt as it comes, and of every decision.

use crate::calendar::{Period, period, place_of};
use crate::facts::{Facts, date_at, is_owed};
use crate::wire::Entry;
use crate::world::{PHONES, phone_of};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_domain::stage::Stage;

/// A rule that was broken, in words.
pub type Broken = String;

fn rule(holds: bool, broken: impl FnOnce() -> Broken) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(broken()) }
}

/// Everything that must hold of one more attempt after the `earlier` ones.
pub fn judge(entry: &Entry, earlier: &[Entry]) -> Result<(), Broken> {
    once(entry, earlier)?;
    never_backwards(entry, earlier)?;
    called_for(entry)?;
    in_time(entry)?;
    seldom(entry, earlier)
}

/// 1: at most one send of a message that isn't in doubt and sent again by a person; one of an event.
fn once(entry: &Entry, earlier: &[Entry]) -> Result<(), Broken> {
    let before = earlier.iter().filter(|other| other.message == entry.message && other.fate != crate::wire::Fate::Unsent).count();
    rule(before <= entry.resent as usize, || format!("sent twice: {}", entry.told()))?;
    let occasion = entry.occasion();
    let same = |other: &&Entry| {
        (other.subject.as_str(), other.stage, other.occasion()) == (entry.subject.as_str(), entry.stage, occasion.clone())
            && other.message != entry.message
            && other.fate.may_have_arrived()
    };
    rule(occasion.is_none() || !earlier.iter().any(|other| same(&other)), || {
        format!("the event was told before: {}", entry.told())
    })
}

/// 2: the stages of one invoice and due date ascend, and days lie between them.
fn never_backwards(entry: &Entry, earlier: &[Entry]) -> Result<(), Broken> {
    if entry.due_on.is_none() {
        return Ok(());
    }
    let others = earlier.iter().filter(|other| {
        other.subject == entry.subject
            && other.due_on.is_some()
            && other.message != entry.message
            && other.fate.may_have_arrived()
    });
    let between = i64::from(entry.facts.rules.days_between);
    for other in others {
        let goes_on = other.due_on != entry.due_on || other.stage < entry.stage;
        rule(goes_on, || format!("a stage went backwards: {} after {}", entry.told(), other.told()))?;
        let days = (date_at(entry.slot_at) - date_at(other.slot_at)).num_days();
        rule(days >= between, || format!("{days} days between, not {between}: {} after {}", entry.told(), other.told()))?;
    }
    Ok(())
}

/// 3: nothing for an invoice whose state doesn't call for it, as Régua knew it then; and what is said is so.
fn called_for(entry: &Entry) -> Result<(), Broken> {
    let facts = &entry.facts;
    let refuse = |why: &str| format!("{why}: {}", entry.told());
    rule(facts.is_fresh(entry.slot_at), || refuse("the mirror is too old"))?;
    rule(facts.rules.on(entry.stage).is_some(), || refuse("the stage is off"))?;
    let customer = entry.customer().ok_or_else(|| refuse("nobody knows whom it is about"))?;
    reaches(customer, facts).map_err(|why| refuse(&why))?;
    let phone = phone_of(customer).map_or("", |phone| phone.e164);
    rule(entry.text.phone == phone, || refuse("not the customer's phone"))?;
    let template = if entry.due_on.is_some() {
        format!("64f1c0de0a1b2c3d4e5f70{:02}", facts.rules.template)
    } else {
        "64f1c0de0a1b2c3d4e5f7099".into()
    };
    rule(entry.text.template_id == template, || refuse("not the notice's text"))?;
    let invoice = facts.invoices.get(&entry.subject);
    match (entry.due_on, invoice) {
        (Some(due_on), Some(invoice)) => {
            rule(is_owed(invoice), || refuse("it isn't owed"))?;
            rule(invoice.due_on == due_on, || refuse("its due date moved"))?;
            rule(!facts.is_held(invoice, date_at(entry.slot_at)), || refuse("a hold is in force"))?;
            let says = [customer.name.clone(), reais(invoice.open_amount), due_on.format("%d/%m/%Y").to_string()];
            rule(entry.text.values.by_position() == says, || {
                refuse(&format!("it says {:?}, not {says:?}", entry.text.values.by_position()))
            })
        }
        (None, invoice) => rule(still_so(entry.stage, invoice, customer), || refuse("what it tells is no longer so")),
        (Some(_), None) => Err(refuse("nobody knows the invoice")),
    }
}

/// Whether the customer may be written to at all.
fn reaches(customer: &Customer, facts: &Facts) -> Result<(), Broken> {
    let phone = phone_of(customer).ok_or("no phone")?;
    rule(!facts.opted_out.contains(phone.key), || "the phone opted out".into())?;
    rule(!facts.rules.pilot || phone.key == PHONES[0].key, || "not in the pilot".into())
}

/// Whether an event's message still tells what is so.
fn still_so(stage: Stage, invoice: Option<&Invoice>, customer: &Customer) -> bool {
    let of_invoice = |wanted: &dyn Fn(&Invoice) -> bool| invoice.is_some_and(wanted);
    let cancelled = |invoice: &Invoice| invoice.status == InvoiceStatus::Cancelled;
    match stage {
        Stage::Settled => of_invoice(&|invoice| invoice.status == InvoiceStatus::Received),
        Stage::Cancelled => of_invoice(&|invoice| cancelled(invoice) && invoice.renegotiation_id.is_empty()),
        Stage::Renegotiated => of_invoice(&|invoice| cancelled(invoice) && !invoice.renegotiation_id.is_empty()),
        Stage::BureauRemoved => customer.negatively_listed == Some(false),
        Stage::PreDue
        | Stage::DueDay
        | Stage::Overdue
        | Stage::PendingQuery
        | Stage::PaymentScheduling
        | Stage::InPerson
        | Stage::CreditBureau => false,
    }
}

fn reais(amount: Centavos) -> String {
    let (whole, cents) = (amount.0 / 100, amount.0 % 100);
    if whole < 1000 { format!("R${whole},{cents:02}") } else { format!("R${}.{:03},{cents:02}", whole / 1000, whole % 1000) }
}

/// 4: nothing outside the recipient's window, and nothing past its time.
fn in_time(entry: &Entry) -> Result<(), Broken> {
    let rules = &entry.facts.rules;
    rule(entry.place().is_open(rules, entry.slot_at), || format!("outside the window of {:?}: {}", entry.place(), entry.told()))?;
    rule(entry.slot_at < entry.expires_at, || format!("past its expiry: {}", entry.told()))?;
    let day = entry.local_date();
    let late = |last: NaiveDate| format!("after {last}, its last day: {}", entry.told());
    entry.last_day.map_or(Ok(()), |last| rule(day <= last, || late(last)))?;
    match (entry.stage, entry.due_on) {
        (Stage::PreDue, Some(due_on)) => rule(day <= due_on, || late(due_on)),
        _ => Ok(()),
    }
}

/// 5: caps of the day and of seven days per phone, and six seconds between two.
fn seldom(entry: &Entry, earlier: &[Entry]) -> Result<(), Broken> {
    let rules = &entry.facts.rules;
    let heard: Vec<&Entry> = earlier
        .iter()
        .filter(|other| other.text.phone_key == entry.text.phone_key && other.fate.may_have_arrived())
        .chain([entry])
        .collect();
    let day = entry.local_date();
    let within = |first: NaiveDate, last: NaiveDate| heard.iter().filter(|e| (first..=last).contains(&e.local_date())).count();
    let today = within(day, day);
    rule(today <= rules.per_day.into(), || format!("{today} messages on {day}, not {}: {}", rules.per_day, entry.told()))?;
    let week = within(day - TimeDelta::days(6), day);
    let cap = rules.per_7_days.max(rules.per_day);
    rule(week <= cap.into(), || format!("{week} messages in seven days, not {cap}: {}", entry.told()))?;
    for other in &heard[..heard.len() - 1] {
        let apart = (entry.slot_at - other.slot_at).abs();
        rule(apart >= TimeDelta::seconds(6), || format!("{apart} apart: {} and {}", entry.told(), other.told()))?;
    }
    Ok(())
}

/// When a dated stage is due for an invoice, if it is on and that isn't before its activation.
pub fn due_period(facts: &Facts, stage: Stage, invoice: &Invoice) -> Option<Period> {
    let rule = facts.rules.on(stage)?;
    let place = place_of(facts.customer_of(invoice));
    period(rule, invoice.due_on, place, &facts.rules).filter(|period| period.day >= facts.active_from(stage))
}

/// A message that was decided at an instant, or came back: its stage is on, active and due, its invoice owed, and its customer to be reached.
pub fn judge_decision(
    subject: &str,
    stage: Stage,
    due_on: Option<NaiveDate>,
    facts: &Facts,
    at: DateTime<Utc>,
) -> Result<(), Broken> {
    let told = |why: &str| format!("decided at {at} although {why}: {stage} of {subject} due {due_on:?}");
    rule(facts.is_fresh(at), || told("the mirror is too old"))?;
    rule(facts.rules.on(stage).is_some(), || told("the stage is off"))?;
    let Some(due_on) = due_on else { return Ok(()) };
    let invoice = facts.invoices.get(subject).ok_or_else(|| told("nobody knows the invoice"))?;
    rule(is_owed(invoice) && invoice.due_on == due_on, || told("it isn't owed"))?;
    let today = date_at(at);
    let is_due = due_period(facts, stage, invoice).is_some_and(|period| (period.from..=period.until).contains(&today));
    rule(is_due, || told("it isn't due, or was before its activation"))?;
    rule(!facts.is_held(invoice, today), || told("a hold is in force"))?;
    let customer = facts.customer_of(invoice).ok_or_else(|| told("nobody knows the customer"))?;
    reaches(customer, facts).map_err(|why| told(&why))
}

/// The stage that must reach the customer if nothing changes any more, decided at `now`: the most advanced that is due, unless something
/// hinders it that this oracle knows of. Of what has been said or ended `is_over` knows.
pub fn expected(facts: &Facts, invoice: &Invoice, now: DateTime<Utc>) -> Option<Stage> {
    let today = date_at(now);
    let customer = facts.customer_of(invoice)?;
    let place = place_of(Some(customer));
    let due = Stage::ALL.into_iter().rev().find(|stage| {
        due_period(facts, *stage, invoice).is_some_and(|period| {
            let leaves_on = place.last_day_of(&crate::world::Rules { open_windows: 1, ..facts.rules.clone() }, now);
            (period.from..=period.until).contains(&today) && period.last_day.is_none_or(|last| leaves_on <= last)
        })
    })?;
    let hindered =
        !is_owed(invoice) || facts.is_held(invoice, today) || reaches(customer, facts).is_err() || !facts.is_fresh(now);
    let period = due_period(facts, due, invoice)?;
    (!hindered && !facts.may_be_lost(period.from)).then_some(due)
}
