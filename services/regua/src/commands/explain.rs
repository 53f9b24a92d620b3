//! `regua policy explain`: which policy decides for an invoice, and what it makes of it.

use crate::commands::holds::hold_json;
use crate::commands::lists::cell;
use crate::commands::{Outcome, Session};
use crate::output::{self, Format, NOTHING_CONFIGURED, remark, say, table};
use chrono::{NaiveDate, SecondsFormat};
use regua_domain::decide::{Day, NotDue, day_of, decide};
use regua_domain::ids::InvoiceId;
use regua_domain::message::SkipReason;
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::pilot::Pilot;
use regua_domain::policy::{Filter, PolicyFilters, PolicyPlan, StagePlan, measured, policy_for, value_of};
use regua_domain::variables::{Circumstances, Facts};
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
        let now = times.looked_at_from(today, now);
        let (provider, days_between_stages) = (&settings.provider, settings.caps.days_between_stages);
        let day = Day { today, now, times, provider, days_between_stages };
        let found = self.ledger.candidates_by_id(&InvoiceId(invoice.to_owned())).await?;
        if found.is_empty() {
            remark!("no source has an invoice {invoice}: it is read from the ERP when it is open and near its due date");
            return Ok(Outcome::DidNotHold);
        }
        let (sources, policies) = (self.ledger.sources().await?, self.ledger.policies().await?);
        for (source_id, candidate) in &found {
            let source = sources.iter().find(|source| source.id == *source_id).map_or("", |source| source.name.as_str());
            let mut told = told(source, candidate, &policies, day, &settings.pilot);
            let invoice = &candidate.invoice;
            let holds = self.ledger.holds_on(*source_id, &invoice.id, invoice.customer_id.as_ref()).await?;
            told["holds"] = holds.iter().map(hold_json).collect();
            told["events"] = json!(self.ledger.events_of_invoice(*source_id, &invoice.id.0).await?);
            match format {
                Format::Json => output::line(&told),
                Format::Human => print(&told),
            }
        }
        Ok(Outcome::Done)
    }
}

fn told(source: &str, candidate: &Candidate, policies: &[PolicyPlan], day: Day<'_>, pilot: &Pilot) -> Value {
    let Candidate { invoice, customer, .. } = candidate;
    let customer = customer.as_ref();
    let chosen = policy_for(policies, invoice, customer);
    let considered: Vec<Value> = policies
        .iter()
        .map(|policy| match policy.filters.kept_out_by(invoice, customer) {
            Some(filter) => json!({
                "policy": policy.name, "decides": false, "kept_out_by": filter.as_str(), "wants": wanted(&policy.filters, filter),
                "has": if filter == Filter::AmountMin { Some(measured(invoice).format_brl()) } else { value_of(filter, invoice, customer).map(str::to_owned) },
            }),
            None => json!({ "policy": policy.name, "decides": chosen.is_some_and(|chosen| chosen.id == policy.id) }),
        })
        .collect();
    json!({
        "source": source, "invoice": invoice.id, "due_on": invoice.due_on, "status": invoice.status.letter(),
        "open_amount": invoice.open_amount.format_brl(), "customer_known": customer.is_some(), "on": day.today,
        "switches": switches(invoice, customer, day.today), "policy": chosen.map(|policy| &policy.name), "considered": considered,
        "stages": chosen.map(|policy| stages(policy, candidate, day)),
        "decision": chosen.map_or_else(|| "no policy lets it through: it is counted as no_policy and nothing is sent".to_owned(), |policy| {
            decision(policy, candidate, day, pilot)
        }),
    })
}

/// The ERP's switches that keep it, or some stage of it, silent on a date: by their own names, as they stand.
fn switches(invoice: &Invoice, customer: Option<&Customer>, today: NaiveDate) -> Value {
    let customers = |say: fn(&Customer) -> bool| customer.is_some_and(say);
    let thrown = [
        ("liberado", "N", !invoice.released),
        ("estornado", "S", invoice.reversed),
        ("aguardando_confirmacao_pagamento", "S", invoice.awaiting_confirmation),
        ("titulo_protestado", "S", invoice.protested),
        ("previsao", "M", invoice.forecast),
        ("aviso_atraso", "N", !invoice.notifies_overdue),
        ("participa_cobranca", "N", customers(|customer| !customer.takes_part_in_collection)),
        ("participa_pre_cobranca", "N", customers(|customer| !customer.takes_part_in_pre_due)),
    ];
    let mut switches: serde_json::Map<_, _> =
        thrown.into_iter().filter(|(_, _, is)| *is).map(|(name, value, _)| (name.to_owned(), json!(value))).collect();
    if let Some(until) = invoice.no_notice_until.filter(|until| today <= *until) {
        switches.insert("nao_avisar_ate".into(), json!(until));
    }
    if let Some(days) = customer.map(|customer| customer.days_before_collection).filter(|days| *days > 0) {
        switches.insert("num_dias_cob".into(), json!(days));
    }
    Value::Object(switches)
}

fn wanted(filters: &PolicyFilters, filter: Filter) -> String {
    match filters.amount_min.filter(|_| filter == Filter::AmountMin) {
        Some(amount) => format!("at least {}", amount.format_brl()),
        None => filters.values(filter).join(" or "),
    }
}

fn stages(policy: &PolicyPlan, candidate: &Candidate, day: Day<'_>) -> Vec<Value> {
    let due_on = candidate.invoice.due_on;
    let stage = |plan: &StagePlan| {
        let message = candidate.known.iter().find(|known| known.stage == plan.stage && known.due_on == Some(due_on));
        json!({
            "stage": plan.stage, "erp": plan.stage.erp_label(), "days": plan.days, "day": plan.days.and_then(|days| day_of(due_on, days)),
            "closed_day": plan.closed_day, "hours": plan.hours, "active_from": plan.active_from, "message": message.map(|known| known.id), "state": message.map(|known| known.state.as_str()),
            "reason": message.and_then(|known| known.skip_reason).map(SkipReason::as_str),
            "missing": message.filter(|known| known.skip_reason == Some(SkipReason::MissingValue)).and_then(|_| missing(plan, candidate, day)),
        })
    };
    policy.stages.iter().map(stage).collect()
}

/// Which variable a stage's notice lacks, in a sentence; `None` where nothing is missing any more.
fn missing(plan: &StagePlan, candidate: &Candidate, day: Day<'_>) -> Option<String> {
    let Candidate { invoice, customer, totals, .. } = candidate;
    let circumstances = Circumstances { today: day.today, provider: day.provider, totals: *totals, renegotiated_to: None };
    let facts = Facts { customer: customer.as_ref()?, invoice: Some(invoice), circumstances };
    plan.notice.filling.render(&facts).err().map(|error| error.to_string())
}

/// What update-collections would make of it, in a sentence.
fn decision(policy: &PolicyPlan, candidate: &Candidate, day: Day<'_>, pilot: &Pilot) -> String {
    let Candidate { invoice, customer, known, totals, .. } = candidate;
    match decide(policy, invoice, customer.as_ref(), known, *totals, day, &candidate.reach(pilot)) {
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
        Err(NotDue::NotOwed(why)) => format!("it is not to be charged: {why}"),
        Err(NotDue::BeforeCollection { stage, from_days }) => {
            format!("{stage} is due, but the customer's num_dias_cob lets collection begin {from_days} days after the due date")
        }
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
    for (name, value) in told["switches"].as_object().into_iter().flatten() {
        say!("switch {name} = {}", cell(value));
    }
    for hold in told["holds"].as_array().into_iter().flatten() {
        let part = |name: &str| cell(&hold[name]);
        say!("ON HOLD: {} {} until {}, by {}: {}", part("kind"), part("id"), part("until"), part("by"), part("why"));
    }
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
    for stage in told["stages"].as_array().into_iter().flatten().filter(|stage| stage["missing"].is_string()) {
        say!("{} was not written: {}", cell(&stage["stage"]), cell(&stage["missing"]));
    }
    for event in told["events"].as_array().into_iter().flatten() {
        let part = |name: &str| cell(&event[name]);
        let outcome = if event["outcome"].is_null() { "not decided yet".to_owned() } else { part("outcome") };
        say!("{} on {}: {outcome} {}", part("kind"), part("happened_on"), part("message"));
    }
    say!("{}", field("decision"));
}
