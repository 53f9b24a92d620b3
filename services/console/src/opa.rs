//! `POST /webhooks/opa/{integration}`: what Opa! Suite tells of messages. The format isn't published, so any JSON is taken; see
//! [`regua_opa_suite::webhook`].

use crate::Console;
use crate::answer::Refusal;
use crate::body;
use crate::keys::Product;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use regua_domain::ids::{IntegrationId, LedgerId};
use regua_ledger::receipts::{About, BATCH_MAX, Consequence, NewReceipt};
use regua_ledger::webhooks::{Caller, NewSample};
use regua_opa_suite::webhook::{self, Event, shape};
use regua_opa_suite::{Outcome, ProviderCode};
use serde_json::{Value, json};

/// What a body tells, sorted.
#[derive(Debug, Default)]
struct Told {
    receipts: Vec<NewReceipt>,
    /// Events of another ledger's messages.
    foreign: usize,
    /// Why the body's shape is kept.
    not_understood: Option<&'static str>,
}

/// Answers a call.
pub(crate) async fn call(State(console): State<Console>, Path(name): Path<String>, request: Request) -> Response {
    let answer = take(&console, &name, request).await;
    if let Ok(desk) = console.desk() {
        match &answer {
            Ok(_) => desk.counters.taken(Product::Opa),
            Err(refusal) => desk.counters.refused(Product::Opa, refusal),
        }
    }
    answer.map_or_else(Refusal::into_response, |receipts| Json(json!({ "receipts": receipts })).into_response())
}

/// Takes a call; how many receipts it had.
async fn take(console: &Console, name: &str, request: Request) -> Result<usize, Refusal> {
    let desk = console.desk()?;
    let caller = desk.keys.admit(Product::Opa, name, request.headers())?;
    let Caller::Integration(integration_id) = caller else { return Err(Refusal::UnknownCaller) };
    let body = body::read(request.into_body()).await?;
    let told = sort(&webhook::read(&body), desk.pipeline.ledger_id, integration_id);
    for _ in 0..told.foreign {
        desk.counters.foreign();
    }
    let number = told.receipts.len();
    if number > BATCH_MAX {
        return Err(Refusal::TooLarge);
    }
    let sample = told.not_understood.map(|why| sample(integration_id, why, &body));
    if sample.is_some() {
        desk.counters.not_understood();
    }
    if number > 0 || sample.is_some() {
        desk.receiver.write(told.receipts, sample).await?;
    }
    Ok(number)
}

fn sample(integration_id: IntegrationId, why: &'static str, body: &Value) -> NewSample {
    NewSample { integration_id, why, shape: shape(body) }
}

/// Sorts events: receipts of our messages, others', and what isn't understood.
fn sort(events: &[Event], ledger: LedgerId, integration_id: IntegrationId) -> Told {
    let mut told = Told { not_understood: events.is_empty().then_some("no_message"), ..Told::default() };
    for event in events {
        let about = match &event.about {
            webhook::About::Ours { ledger: of, .. } if *of != ledger => {
                told.foreign += 1;
                continue;
            }
            webhook::About::Ours { message, attempt, .. } => About::Metadata { message: *message, attempt: *attempt },
            webhook::About::Provider(id) => About::ProviderId(id.clone()),
        };
        let Some(status) = event.status else {
            told.not_understood = Some("no_status");
            continue;
        };
        told.receipts.push(NewReceipt {
            integration_id,
            about,
            status,
            provider_id: event.provider_id.clone(),
            provider_code: event.code.map(ProviderCode::number),
            consequence: event.failure().and_then(consequence),
            came_at: None,
        });
    }
    told
}

/// What a failure means for more than its message: what its code means in an answer, and that the recipient asked for no more.
fn consequence(code: ProviderCode) -> Option<Consequence> {
    match code.outcome(None) {
        Outcome::Stop { why } => Some(Consequence::Stop { scope: why.scope(), why: why.as_str() }),
        Outcome::Accepted { .. }
        | Outcome::NotSent { .. }
        | Outcome::Doubt { .. }
        | Outcome::Throttled { .. }
        | Outcome::ContactInService
        | Outcome::Rejected { .. } => (code == ProviderCode::OptedOut).then_some(Consequence::OptOut),
    }
}

/// The same of a code's number, as a receipt has it that waited in the ledger.
pub(crate) fn consequence_of(number: u32) -> Option<Consequence> {
    ProviderCode::from_number(number).and_then(consequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regua_domain::receipt::ReceiptStatus;
    use regua_domain::stop::StopScope;

    const OURS: &str = "0192f000-0000-7000-8000-000000000001";
    const OTHER: &str = "0192f000-0000-7000-8000-000000000002";

    fn sorted(body: &Value) -> Told {
        let id = |text: &str| text.parse().expect("an id");
        sort(&webhook::read(body), LedgerId(id(OURS)), IntegrationId(id(OTHER)))
    }

    fn of(ledger: &str, status: &str) -> Value {
        json!({ "metadata": { "ledger": ledger, "message": OTHER }, "status": status, "messageSentId": "a1" })
    }

    #[test]
    fn a_ledger_hears_of_its_own_messages_alone() {
        let told = sorted(&json!([of(OURS, "read"), of(OTHER, "read"), of(OTHER, "sent")]));
        assert_eq!((told.receipts.len(), told.foreign, told.not_understood), (1, 2, None));
        assert_eq!(told.receipts[0].status, ReceiptStatus::Read);
    }

    #[test]
    fn what_names_no_message_or_no_fate_is_kept_as_a_sample() {
        assert_eq!(sorted(&json!({ "event": "Atendimento Movimentado" })).not_understood, Some("no_message"));
        let told = sorted(&of(OURS, "moved"));
        assert_eq!((told.receipts.len(), told.not_understood), (0, Some("no_status")));
    }

    #[track_caller]
    fn check(code: u32, expected: Option<Consequence>) {
        let mut body = of(OURS, "failed");
        body["code"] = code.into();
        assert_eq!(sorted(&body).receipts[0].consequence, expected, "{code}");
    }

    #[test]
    fn a_failures_code_means_what_it_means_in_an_answer() {
        let stop = |scope, why| Some(Consequence::Stop { scope, why });
        check(131_048, stop(StopScope::Channel, "spam_limited"));
        check(368, stop(StopScope::Business, "policy_blocked"));
        check(131_031, stop(StopScope::Business, "account_locked"));
        check(132_015, stop(StopScope::Template, "template_paused"));
        check(131_050, Some(Consequence::OptOut));
        check(131_026, None);
        check(130_429, None);
    }
}
