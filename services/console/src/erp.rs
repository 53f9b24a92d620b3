//! `POST /webhooks/erp/{source}`: what the ERP tells of invoices at once, ahead of the next sync. The contract is our own:
//!
//! ```json
//! { "invoice": "123", "event": "paid" }
//! ```
//!
//! One such object, or an array of at most 500. `invoice` is the ERP's id of the title, text or number; `event` is `paid` or `cancelled`; other
//! members are not read. The answer is `{"noted": 1, "skipped": 1, "unknown": []}`: of how many titles it is noted, how many waiting messages
//! are skipped for it, and which titles the mirror doesn't have: of those it is kept until the next complete sync, or until they are there. Of two
//! statements about one title the later one counts.

use crate::Console;
use crate::answer::Refusal;
use crate::body;
use crate::config::ANSWER_WITHIN;
use crate::keys::Product;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use regua_domain::ids::InvoiceId;
use regua_domain::mirror::Told;
use regua_ledger::mirror::told::{TOLD_MAX, ToldAnswer};
use regua_ledger::webhooks::Caller;
use regua_telemetry::logging::Chain;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A longer id is none of the ERP's.
const ID_BYTES_MAX: usize = 64;

/// One statement, as it comes.
#[derive(Deserialize)]
struct Statement {
    invoice: Id,
    event: Told,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

/// Answers a call.
pub(crate) async fn call(State(console): State<Console>, Path(name): Path<String>, request: Request) -> Response {
    let answer = take(&console, &name, request).await;
    if let Ok(desk) = console.desk() {
        match &answer {
            Ok(answer) => {
                desk.counters.taken(Product::Erp);
                desk.counters.told(answer);
            }
            Err(refusal) => desk.counters.refused(Product::Erp, refusal),
        }
    }
    let told = |answer: ToldAnswer| {
        Json(json!({ "noted": answer.noted, "skipped": answer.skipped, "unknown": answer.unknown })).into_response()
    };
    answer.map_or_else(Refusal::into_response, told)
}

async fn take(console: &Console, name: &str, request: Request) -> Result<ToldAnswer, Refusal> {
    let desk = console.desk()?;
    let caller = desk.keys.admit(Product::Erp, name, request.headers())?;
    let Caller::Source(source_id) = caller else { return Err(Refusal::UnknownCaller) };
    let told = statements(body::read(request.into_body()).await?)?;
    // As many wait as there are connections: who settles a bank's file tells of hundreds of titles at once.
    let told = async {
        let _place = desk.erp_places.acquire().await.expect("the semaphore is never closed");
        desk.pipeline.ledger.tell(source_id, told).await
    };
    match tokio::time::timeout(ANSWER_WITHIN, told).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(source = name, error = %Chain(&error), "invoices.not_told");
            Err(Refusal::NotNow)
        }
        Err(_) => Err(Refusal::NotNow),
    }
}

/// Reads the statements of a body.
fn statements(body: Value) -> Result<BTreeMap<InvoiceId, Told>, Refusal> {
    let elements = match body {
        Value::Array(elements) => elements,
        one => vec![one],
    };
    if elements.len() > TOLD_MAX {
        return Err(Refusal::TooLarge);
    }
    let mut told = BTreeMap::new();
    for (number, element) in (1..).zip(elements) {
        let malformed = || {
            Refusal::Malformed(format!(
                "statement {number}: it is not {{\"invoice\": \"123\", \"event\": \"paid\" or \"cancelled\"}}"
            ))
        };
        let statement: Statement = serde_json::from_value(element).map_err(|_| malformed())?;
        let id = match statement.invoice {
            Id::Text(id) => id.trim().to_owned(),
            Id::Number(id) => id.to_string(),
        };
        if id.is_empty() || id.len() > ID_BYTES_MAX || id.contains(char::is_control) {
            return Err(malformed());
        }
        told.insert(InvoiceId(id), statement.event);
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &Value, expected: Result<&[(&str, Told)], &str>) {
        let read = statements(body.clone());
        let read = read.as_ref().map(|told| told.iter().map(|(id, told)| (id.0.as_str(), *told)).collect::<Vec<_>>());
        assert_eq!(read.as_deref().map_err(|refusal| refusal.reason()), expected, "{body}");
    }

    #[test]
    fn one_statement_or_many_are_read_with_ids_as_text_or_number() {
        check(&json!({ "invoice": "123", "event": "paid", "at": "2026-03-09" }), Ok(&[("123", Told::Paid)]));
        check(
            &json!([{ "invoice": 7, "event": "cancelled" }, { "invoice": " 8 ", "event": "paid" }, { "invoice": "7", "event": "paid" }]),
            Ok(&[("7", Told::Paid), ("8", Told::Paid)]),
        );
        check(&json!([]), Ok(&[]));
    }

    #[test]
    fn what_is_no_statement_refuses_the_whole_call() {
        for bad in [json!(null), json!("paid"), json!({ "invoice": 1 }), json!({ "invoice": -1, "event": "paid" })] {
            check(&json!([{ "invoice": 1, "event": "paid" }, bad]), Err("malformed"));
        }
        for id in ["", " ", "1\u{0}2", &"1".repeat(65)] {
            check(&json!({ "invoice": id, "event": "paid" }), Err("malformed"));
        }
        check(&json!({ "invoice": 1, "event": "refunded" }), Err("malformed"));
        check(&Value::Array(vec![json!({ "invoice": 1, "event": "paid" }); TOLD_MAX + 1]), Err("too_large"));
    }
}
