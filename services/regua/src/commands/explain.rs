//! `regua policy explain`: which policy decides for an invoice, and what it makes of it.

use crate::commands::lists::cell;
use crate::commands::{Outcome, Session};
use crate::output::{self, Format, NOTHING_CONFIGURED, say, table};
use chrono::{NaiveDate, SecondsFormat};
use regua_domain::decide::{Day, NotDue, day_of, decide};
use regua_domain::ids::InvoiceId;
use regua_domain::message::SkipReason;
use regua_domain::policy::{Filter, PolicyFilters, PolicyPlan, policy_for, value_of};
use regua_ledger::evaluation::Candidate;
use serde_json::{Value, json};

impl Session {
    pub async fn explain(&self, invoice: &str, on: Option<NaiveDate>, format: Format) -> anyhow::Result<Outcome> {
        if self.ledger.configuration().await?.is_none() {
            say!("{NOTHING_CONFIGURED}");
            return Ok(Outcome::DidNotHold);
        }
        let settings = self.ledger.settings().await?;
        let (now, times) = (self.ledger.now().await?, settings.times());
        let today = on.unwrap_or_else(|| times.date_at(now));
        // Another day is looked at from its beginning.
        let now = if today == times.date_at(now) { now } else { times.of(None, None).start_of_day(today) };
        let (provider, days_between_stages) = (&settings.provider, settings.caps.days_between_stages);
        let day = Day { today, now, times, provider, days_between_stages };
        let found = self.ledger.candidates_by_id(&InvoiceId(invoice.to_owned())).await?;
        if found.is_empty() {
            eprintln!("no source has an invoice {invoice}: it is read from the ERP when it is open and near its due date");
            return Ok(Outcome::DidNotHold);
        }
        let (sources, policies) = (self.ledger.sources().await?, self.ledger.policies().await?);
        for (source_id, candidate) in &found {
            let source = sources.iter().find(|source| source.id == *source_id).map_or("", |source| source.name.as_str());
            let told = told(source, candidate, &policies, day);
            match format {
                Format::Json => output::line(&told),
                Format::Human => print(&told),
            }
        }
        Ok(Outcome::Done)
    }
}

fn told(source: &str, candidate: &Candidate, policies: &[PolicyPlan], day: Day<'_>) -> Value {
    let Candidate { invoice, customer, .. } = candidate;
    let customer = customer.as_ref();
    let chosen = policy_for(policies, invoice, customer);
    let considered: Vec<Value> = policies
        .iter()
        .map(|policy| match policy.filters.kept_out_by(invoice, customer) {
            Some(filter) => json!({
                "policy": policy.name, "decides": false, "kept_out_by": filter.as_str(), "wants": wanted(&policy.filters, filter),
                "has": if filter == Filter::AmountMin { Some(invoice.open_amount.format_brl()) } else { value_of(filter, invoice, customer).map(str::to_owned) },
            }),
            None => json!({ "policy": policy.name, "decides": chosen.is_some_and(|chosen| chosen.id == policy.id) }),
        })
        .collect();
    json!({
        "source": source, "invoice": invoice.id, "due_on": invoice.due_on, "status": invoice.status.letter(),
        "open_amount": invoice.open_amount.format_brl(), "customer_known": customer.is_some(), "on": day.today,
        "policy": chosen.map(|policy| &policy.name), "considered": considered,
        "stages": chosen.map(|policy| stages(policy, candidate)),
        "decision": chosen.map_or_else(|| "no policy lets it through: it is counted as no_policy and nothing is sent".to_owned(), |policy| {
            decision(policy, candidate, day)
        }),
    })
}

fn wanted(filters: &PolicyFilters, filter: Filter) -> String {
    match filters.amount_min.filter(|_| filter == Filter::AmountMin) {
        Some(amount) => format!("at least {}", amount.format_brl()),
        None => filters.values(filter).join(" or "),
    }
}

fn stages(policy: &PolicyPlan, candidate: &Candidate) -> Vec<Value> {
    let due_on = candidate.invoice.due_on;
    let stage = |plan: &regua_domain::policy::StagePlan| {
        let message = candidate.known.iter().find(|known| known.stage == plan.stage && known.due_on == Some(due_on));
        json!({
            "stage": plan.stage, "erp": plan.stage.erp_label(), "days": plan.days, "day": plan.days.and_then(|days| day_of(due_on, days)),
            "closed_day": plan.closed_day, "hours": plan.hours, "active_from": plan.active_from, "message": message.map(|known| known.id), "state": message.map(|known| known.state.as_str()),
            "reason": message.and_then(|known| known.skip_reason).map(SkipReason::as_str),
        })
    };
    policy.stages.iter().map(stage).collect()
}

/// What update-collections would make of it, in a sentence.
fn decision(policy: &PolicyPlan, candidate: &Candidate, day: Day<'_>) -> String {
    let Candidate { invoice, customer, known, totals, .. } = candidate;
    match decide(policy, invoice, customer.as_ref(), known, *totals, day) {
        Ok(decided) => {
            let stage = decided.stage.stage;
            let again = if decided.revives.is_some() { "comes back" } else { "is written" };
            match decided.text {
                Ok(_) => format!(
                    "{stage} is due since {}: its message {again}, to leave from {} on",
                    decided.stage_day,
                    decided.opens_at.with_timezone(&decided.window.place().zone).to_rfc3339_opts(SecondsFormat::Secs, false)
                ),
                Err(why) => format!("{stage} is due since {}, but nothing is sent: skipped, {why}", decided.stage_day),
            }
        }
        Err(NotDue::NotOwed) => "it is not owed: paid, cancelled, hidden, reversed, or a payment is in flight".into(),
        Err(NotDue::NoStage) => "no stage is due on this date".into(),
        Err(NotDue::Said { stage, state }) => {
            format!("its {stage} message is {state}: nothing earlier is said, nor the same again")
        }
        Err(NotDue::Ended { stage, state, why }) => {
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            format!("{stage} is due, but its message ended as {state}{why}")
        }
        Err(NotDue::TooSoon { stage, on }) => {
            format!("{stage} is due, but the customer heard of this invoice a short time ago: not before {on}")
        }
    }
}

fn print(told: &Value) {
    let field = |name: &str| cell(&told[name]);
    say!(
        "invoice {} of {}: due on {}, status {}, {} open; on {}",
        field("invoice"),
        field("source"),
        field("due_on"),
        field("status"),
        field("open_amount"),
        field("on")
    );
    for policy in told["considered"].as_array().into_iter().flatten() {
        let part = |name: &str| cell(&policy[name]);
        if policy["decides"] == true {
            say!("policy {}: decides", part("policy"));
        } else if policy["kept_out_by"].is_string() {
            let has = if policy["has"].is_null() { "nothing".to_owned() } else { part("has") };
            say!(
                "policy {}: kept out by {}: it wants {}, the invoice has {has}",
                part("policy"),
                part("kept_out_by"),
                part("wants")
            );
        } else {
            say!("policy {}: would decide, but comes later", part("policy"));
        }
    }
    let headings = ["stage", "erp", "days", "day", "active from", "state", "reason", "message"];
    let rows: Vec<Vec<String>> = told["stages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|stage| headings.map(|heading| cell(&stage[heading.replace(' ', "_")])).to_vec())
        .collect();
    if !rows.is_empty() {
        say!("{}", table(&headings, &rows).trim_end());
    }
    say!("{}", field("decision"));
}
