//! The outcome table as design.md states it, row by row, without a socket.

use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;
use regua_domain::{
    message::{DoubtReason, FailReason},
    stop::StopScope,
};
use regua_opa_suite::{Body, Classified, Cut, HttpAnswer, Outcome, ProviderCode, StopReason, ThrottleReason, classify};
use serde_json::{Value, json};
use std::time::Duration;

fn answer(status: u16, body: Body) -> HttpAnswer {
    let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("7"))]);
    HttpAnswer { status, headers, body }
}

fn classified(status: u16, body: impl AsRef<[u8]>) -> Classified {
    classify(&answer(status, Body::Whole(body.as_ref().to_vec())), false)
}

#[track_caller]
fn check(status: u16, body: impl AsRef<[u8]>, expected: &Outcome) {
    let shown = String::from_utf8_lossy(body.as_ref()).into_owned();
    assert_eq!(&classified(status, body).outcome, expected, "{status} {shown}");
}

/// The same error in every shape in which it may come: both of contracts §1.2, as a field and in a text, and with HTTP 200.
#[track_caller]
fn check_code(code: ProviderCode, expected: &Outcome) {
    let number = code.number();
    let text = format!("(#{number}) Something went wrong for Fulana");
    let shapes = [
        json!({ "status": "error", "code": 400, "description": "Bad request", "data": { "message": text } }),
        json!({ "status": "error", "code": number, "description": "Bad request" }),
        json!({ "status": "error", "code": 400, "description": text }),
        json!({ "error": "BAD_REQUEST_ERROR", "message": text }),
        json!({ "error": { "message": "Something", "type": "OAuthException", "code": number.to_string() } }),
        json!({ "error": "BAD_REQUEST_ERROR", "errors": [{ "code": number }] }),
    ];
    for shape in &shapes {
        for status in [400, 401, 403, 404, 422, 429, 503, 200] {
            let found = classified(status, shape.to_string());
            assert_eq!((&found.outcome, found.provider_code), (expected, Some(number)), "{status} {shape}");
        }
        for status in [408, 500, 502, 504] {
            check(status, shape.to_string(), &doubt(DoubtReason::ServerError));
        }
        check(302, shape.to_string(), &stop(StopReason::Redirected));
    }
}

fn doubt(why: DoubtReason) -> Outcome {
    Outcome::Doubt { why }
}

fn stop(why: StopReason) -> Outcome {
    Outcome::Stop { why }
}

fn throttled(why: ThrottleReason) -> Outcome {
    Outcome::Throttled { why, retry_after: Some(Duration::from_secs(7)) }
}

fn rejected(reason: FailReason) -> Outcome {
    Outcome::Rejected { reason }
}

fn success() -> Value {
    json!({ "status": "success", "code": 200, "data": { "message": "Sent.", "messageSentId": "c1d2e3f4a5b60718293a4b5c" } })
}

#[test]
fn a_2xx_is_accepted_only_with_success_and_an_id() {
    let accepted = Outcome::Accepted { provider_id: "c1d2e3f4a5b60718293a4b5c".into() };
    for status in [200, 201, 202] {
        check(status, success().to_string(), &accepted);
    }
    let unproved = doubt(DoubtReason::UnreadableAnswer);
    for body in [
        json!({}),
        json!([]),
        json!("success"),
        json!({ "status": "success", "code": 200 }),
        json!({ "status": "success", "data": { "message": "Sent." } }),
        json!({ "status": "success", "data": { "messageSentId": null } }),
        json!({ "status": "success", "data": { "messageSentId": "" } }),
        json!({ "status": "success", "data": { "messageSentId": 5 } }),
        json!({ "status": "success", "data": { "messageSentId": "two words" } }),
        json!({ "status": "success", "data": { "messageSentId": "x".repeat(10_000) } }),
        json!({ "status": "success", "data": [{ "messageSentId": "c1" }] }),
        json!({ "status": "success", "messageSentId": "c1" }),
        json!({ "status": "queued", "data": { "messageSentId": "c1" } }),
        json!({ "data": { "messageSentId": "c1" } }),
        json!({ "status": "error", "code": 400, "data": { "messageSentId": "c1" } }),
        json!({ "status": "success", "error": "NOT_FOUND_ERROR" }),
        json!({ "error": "" }),
        json!({ "error": false }),
    ] {
        check(200, body.to_string(), &unproved);
    }
    for body in ["", " \n", "<!DOCTYPE html><html>", "OK", "{\"status\":\"success\"", "já está em atendimento", "(#131048)"] {
        check(200, body, &unproved);
    }
    check(200, b"{\"status\":\"success\",\"data\":{\"message\":\"\xe7\",\"messageSentId\":\"c1\"}}", &unproved);
    check(204, "", &unproved);
}

#[test]
fn a_2xx_with_an_error_shape_is_the_same_error() {
    let named = |code: u16| json!({ "status": "error", "code": code, "description": "…" }).to_string();
    for code in [300, 302, 400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504] {
        let same = classified(code, named(code)).outcome;
        check(200, named(code), &same);
    }
    check(200, named(200), &rejected(FailReason::Rejected));
    check(200, json!({ "status": "ERROR" }).to_string(), &rejected(FailReason::Rejected));
    check(200, json!({ "error": "BAD_REQUEST_ERROR" }).to_string(), &rejected(FailReason::Rejected));
    check(200, json!({ "error": true, "message": "No." }).to_string(), &rejected(FailReason::Rejected));
    check(200, json!({ "error": "INTERNAL_ERROR" }).to_string(), &doubt(DoubtReason::ServerError));
    let not_found = json!({ "error": "NOT_FOUND_ERROR", "message": "Communication channel not found." });
    check(200, not_found.to_string(), &stop(StopReason::ChannelNotFound));
}

#[test]
fn a_contact_in_service_is_known_by_its_words() {
    let text = "Este contato já está em atendimento com Beltrana (#131048)";
    for body in [
        json!({ "status": "error", "code": 400, "description": "Bad request", "data": { "message": text } }).to_string(),
        json!({ "status": "error", "code": 400, "description": text }).to_string(),
        json!({ "error": "BAD_REQUEST_ERROR", "message": text }).to_string(),
        json!({ "error": "BAD_REQUEST_ERROR", "message": "ESTE CONTATO JÁ  ESTÁ\nEM ATENDIMENTO" }).to_string(),
    ] {
        check(400, &body, &Outcome::ContactInService);
        check(200, &body, &Outcome::ContactInService);
    }
    check(400, text, &Outcome::ContactInService);
    check(400, b"contato j\xe1 est\xe1 em atendimento", &Outcome::ContactInService);
    check(400, "contato em espera", &rejected(FailReason::Rejected));
    check(500, text, &doubt(DoubtReason::ServerError));
}

#[test]
fn every_code_has_its_row_wherever_it_stands() {
    for &code in ProviderCode::ALL {
        let expected = match code.number() {
            368 => stop(StopReason::PolicyBlocked),
            131_031 => stop(StopReason::AccountLocked),
            131_048 => stop(StopReason::SpamLimited),
            132_001 => stop(StopReason::TemplateNotFound),
            132_015 => stop(StopReason::TemplatePaused),
            132_016 => stop(StopReason::TemplateDisabled),
            130_429 => throttled(ThrottleReason::NumberThroughput),
            131_056 => throttled(ThrottleReason::PairRate),
            80_007 => throttled(ThrottleReason::AccountCallRate),
            132_000 => rejected(FailReason::ParameterCount),
            132_012 | 132_018 => rejected(FailReason::ParameterFormat),
            131_026 => rejected(FailReason::Undeliverable),
            131_047 | 131_049 | 131_050 => rejected(FailReason::Rejected),
            other => panic!("{other} has no row in the table"),
        };
        check_code(code, &expected);
    }
    assert!(ThrottleReason::PairRate.concerns_the_recipient() && !ThrottleReason::NumberThroughput.concerns_the_recipient());
}

#[test]
fn an_unknown_code_is_kept_but_decides_nothing() {
    let found = classified(400, json!({ "status": "error", "code": 139_999 }).to_string());
    assert_eq!(found, Classified { outcome: rejected(FailReason::Rejected), provider_code: Some(139_999) });
    let repeated = classified(400, json!({ "status": "error", "code": 400 }).to_string());
    assert_eq!(repeated.provider_code, None, "the HTTP status again is no code");
}

#[test]
fn what_was_sent_is_no_error_when_it_is_echoed() {
    let echo =
        json!({ "status": "error", "code": 400, "variaveis": ["131048"], "template": { "texto": "já está em atendimento" } });
    check(400, echo.to_string(), &rejected(FailReason::Rejected));
    check(400, "<html><body style='color:#131048'>já está em atendimento</body></html>", &rejected(FailReason::Rejected));
}

#[test]
fn a_404_stops_what_was_not_found() {
    for (message, expected) in [
        ("Communication channel not found.", StopReason::ChannelNotFound),
        ("Canal de comunicação não encontrado para o template", StopReason::ChannelNotFound),
        ("Template not found.", StopReason::TemplateNotFound),
        ("Modelo não encontrado neste canal", StopReason::TemplateNotFound),
        ("Not found.", StopReason::ChannelNotFound),
    ] {
        check(404, json!({ "error": "NOT_FOUND_ERROR", "message": message }).to_string(), &stop(expected));
    }
    check(404, "<html><h1>404 Not Found</h1></html>", &stop(StopReason::ChannelNotFound));
}

#[test]
fn each_stop_stops_no_more_than_it_must() {
    for (why, scope) in [
        (StopReason::Redirected, StopScope::Integration),
        (StopReason::Unauthorized, StopScope::Integration),
        (StopReason::Forbidden, StopScope::Integration),
        (StopReason::NotServed, StopScope::Integration),
        (StopReason::ChannelNotFound, StopScope::Channel),
        (StopReason::SpamLimited, StopScope::Channel),
        (StopReason::TemplateNotFound, StopScope::Template),
        (StopReason::TemplatePaused, StopScope::Template),
        (StopReason::TemplateDisabled, StopScope::Template),
        (StopReason::PolicyBlocked, StopScope::Business),
        (StopReason::AccountLocked, StopScope::Business),
    ] {
        assert_eq!(why.scope(), scope, "{}", why.as_str());
    }
}

#[test]
fn a_refusal_that_says_it_was_taken_is_doubt() {
    for status in [400, 401, 404, 413, 422, 429, 503] {
        check(status, success().to_string(), &doubt(DoubtReason::UnreadableAnswer));
        check(status, json!({ "messageSentId": "c1" }).to_string(), &doubt(DoubtReason::UnreadableAnswer));
    }
}

#[test]
fn a_cut_body_is_doubt_where_it_would_have_told_the_rows_apart() {
    for (cut, why) in [
        (Cut::Lost, DoubtReason::ConnectionLost),
        (Cut::TimedOut, DoubtReason::TimedOut),
        (Cut::TooLarge, DoubtReason::UnreadableAnswer),
    ] {
        for status in (200..300).chain([400, 404, 409, 422]) {
            assert_eq!(classify(&answer(status, Body::Cut(cut)), false).outcome, doubt(why), "{status} {cut:?}");
        }
        for status in (300..400).chain([401, 402, 403, 405, 406, 407, 408, 410, 413, 415, 421, 426, 429]).chain(500..600) {
            let whole = classified(status, "").outcome;
            assert_eq!(classify(&answer(status, Body::Cut(cut)), false).outcome, whole, "{status} {cut:?}");
        }
    }
}

#[test]
fn a_503_leaves_doubt_where_the_integration_says_so() {
    for body in [String::new(), success().to_string(), json!({ "status": "error", "code": 130_429 }).to_string()] {
        let found = classify(&answer(503, Body::Whole(body.into_bytes())), true);
        assert_eq!(found.outcome, doubt(DoubtReason::ServerError));
    }
    let inside = json!({ "status": "error", "code": 503 }).to_string();
    assert_eq!(classify(&answer(200, Body::Whole(inside.into_bytes())), true).outcome, doubt(DoubtReason::ServerError));
}

#[test]
fn only_what_says_later_uses_no_attempt() {
    let later = [throttled(ThrottleReason::TooManyRequests), Outcome::ContactInService, stop(StopReason::Forbidden)];
    assert!(later.iter().all(|outcome| !outcome.uses_an_attempt()));
    let now = [doubt(DoubtReason::TimedOut), rejected(FailReason::Rejected), Outcome::Accepted { provider_id: "c1".into() }];
    assert!(now.iter().all(Outcome::uses_an_attempt));
}

fn any_status() -> impl Strategy<Value = u16> {
    prop_oneof![Just(200), Just(400), 100..1000u16]
}

/// Pieces of what a real answer is made of, put together at random.
fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        prop::sample::select(vec!["success", "error", "(#131048)", "400", "já está em atendimento"]).prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 40, 6, |inner| {
        let key = prop::sample::select(vec!["status", "code", "data", "error", "message", "description", "other"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(key, field)| (key.to_owned(), field)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic_or_are_accepted(status in any_status(), body: Vec<u8>, is_doubt: bool) {
        let found = classify(&answer(status, Body::Whole(body)), is_doubt);
        let is_accepted = matches!(found.outcome, Outcome::Accepted { .. });
        prop_assert!(!is_accepted);
    }

    #[test]
    fn no_json_without_an_id_is_accepted(status in any_status(), body in any_json()) {
        let is_accepted = matches!(classified(status, body.to_string()).outcome, Outcome::Accepted { .. });
        prop_assert!(!is_accepted);
    }

    #[test]
    fn no_part_of_an_acceptance_is_accepted(length in 0..110usize) {
        let whole = success().to_string();
        prop_assume!(length < whole.len());
        prop_assert_eq!(classified(200, &whole[..length]).outcome, doubt(DoubtReason::UnreadableAnswer));
    }

    #[test]
    fn nothing_but_a_2xx_is_accepted(status in (100..200u16).prop_union(300..1000u16)) {
        let is_accepted = matches!(classified(status, success().to_string()).outcome, Outcome::Accepted { .. });
        prop_assert!(!is_accepted);
    }

    #[test]
    fn f23_nothing_that_may_have_been_sent_is_tried_again(status in (100..200u16).prop_union(500..1000u16), body in any_json()) {
        prop_assume!(status != 503);
        let found = classified(status, body.to_string()).outcome;
        let is_doubt = matches!(found, Outcome::Doubt { .. });
        prop_assert!(is_doubt, "{:?}", found);
    }
}
