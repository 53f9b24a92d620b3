//! One test for each way in which a try can end on the wire. Each counts the requests: there is never a second one.

use crate::server::{Behaviour, Server, Then, accepted, config, http, message, refusing};
use regua_domain::filling::Values;
use regua_domain::message::{DoubtReason, FailReason};
use regua_domain::money::Centavos;
use regua_domain::payment::{AmountUnit, Payment, PaymentCode};
use regua_domain::payment_codes::{PixKey, PixKeyKind};
use regua_opa_suite::{Answer, NotSentReason, OpaClient, Outcome, SendTemplate, StopReason, ThrottleReason};
use serde_json::json;
use std::{
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

const SHORT: Duration = Duration::from_millis(300);

fn doubt(why: DoubtReason) -> Outcome {
    Outcome::Doubt { why }
}

/// One try against a server that behaves so; the server saw `requests` of them whole.
async fn answer_to(behaviour: Behaviour, request_timeout: Option<Duration>, requests: usize) -> Answer {
    let server = Server::start(behaviour).await;
    let mut config = server.config();
    if let Some(request_timeout) = request_timeout {
        config.request_timeout = request_timeout;
        config.connect_timeout = request_timeout.saturating_sub(Duration::from_millis(1));
    }
    let answer = OpaClient::new(config).expect("a client").send_template(&message()).await;
    let seen = server.seen();
    assert_eq!(seen.requests.len(), requests, "requests read whole");
    assert_eq!(seen.connections, 1, "connections");
    answer
}

#[tokio::test]
async fn a_taken_message_has_the_providers_id() {
    let server = Server::start(Behaviour::bytes(accepted(), Then::Wait)).await;
    let answer = server.client().send_template(&message()).await;
    assert_eq!(answer.outcome, Outcome::Accepted { provider_id: "c1d2e3f4a5b60718293a4b5c".into() });
    assert_eq!((answer.status, answer.provider_code), (Some(200), None));
    let [request] = &server.seen().requests[..] else { panic!("one request") };
    assert_eq!(request.line(), "POST /api/v1/template/send HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer secret-token"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.json()["contato"]["canalCliente"], "+5511900000000");
}

#[tokio::test]
async fn a_payment_and_header_media_go_over_the_wire_as_the_contract_has_them() {
    let server = Server::start(Behaviour::bytes(accepted(), Then::Wait)).await;
    let key = PixKey::parse(PixKeyKind::Phone, "+55 49 98765-4321").expect("a phone");
    let code = PaymentCode::Pix { code: "000201…".into(), merchant_name: "Provedor".into(), key };
    let payment = Payment { amount: Centavos(12_345), unit: AmountUnit::Centavos, code };
    let media = Some("https://example.invalid/boleto.pdf".to_owned());
    let request = SendTemplate { values: Values::Payment(Box::new(payment)), header_media: media, ..message() };
    server.client().send_template(&request).await;
    let [request] = &server.seen().requests[..] else { panic!("one request") };
    let template = json!({
        "_id": "b1c2d3e4f5a60718293a4b5c",
        "variaveis": {
            "valor": "12345", "tipoPagamento": "pix", "codigo": "000201…", "merchantName": "Provedor",
            "pixKey": "+5549987654321", "pixKeyType": "PHONE",
        },
        "midiaAlternativa": "https://example.invalid/boleto.pdf",
    });
    assert_eq!(request.json()["template"], template);
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_was_sent() {
    let (_socket, address) = refusing();
    let client = OpaClient::new(config(&format!("http://{address}"))).expect("a client");
    let answer = client.send_template(&message()).await;
    assert_eq!(answer.outcome, Outcome::NotSent { why: NotSentReason::Connect });
    assert_eq!((answer.status, answer.provider_code), (None, None));
}

#[tokio::test]
async fn a_name_without_an_address_proves_that_nothing_was_sent() {
    let client = OpaClient::new(config("http://opa.invalid")).expect("a client");
    let answer = client.send_template(&message()).await;
    // A resolver that never answers ends in the connect time-out instead.
    let proofs = [NotSentReason::Dns, NotSentReason::ConnectTimedOut].map(|why| Outcome::NotSent { why });
    assert!(proofs.contains(&answer.outcome), "{answer:?}");
}

#[tokio::test]
async fn a_failed_tls_handshake_proves_that_nothing_was_sent() {
    let server = Server::start(Behaviour::Blurt(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")).await;
    let client = OpaClient::new(config(&format!("https://{}", server.address))).expect("a client");
    assert_eq!(client.send_template(&message()).await.outcome, Outcome::NotSent { why: NotSentReason::Tls });
}

#[tokio::test]
async fn a_tls_handshake_that_hangs_or_is_reset_proves_that_nothing_was_sent() {
    let server = Server::start(Behaviour::HangUnread).await;
    let mut config = config(&format!("https://{}", server.address));
    config.connect_timeout = SHORT;
    let hung = OpaClient::new(config.clone()).expect("a client").send_template(&message()).await;
    assert_eq!(hung.outcome, Outcome::NotSent { why: NotSentReason::ConnectTimedOut });

    let server = Server::start(Behaviour::ResetUnread).await;
    config = self::config(&format!("https://{}", server.address));
    let reset = OpaClient::new(config).expect("a client").send_template(&message()).await;
    assert_eq!(reset.outcome, Outcome::NotSent { why: NotSentReason::Connect });
}

#[tokio::test]
async fn a_reset_before_the_request_was_read_leaves_doubt() {
    let answer = answer_to(Behaviour::ResetUnread, None, 0).await;
    assert_eq!(answer.outcome, doubt(DoubtReason::ConnectionLost));
    assert_eq!(answer.status, None);
}

#[tokio::test]
async fn a_reset_or_an_end_after_the_request_was_read_leaves_doubt() {
    for then in [Then::Reset, Then::Close] {
        let answer = answer_to(Behaviour::bytes("", then), None, 1).await;
        assert_eq!(answer.outcome, doubt(DoubtReason::ConnectionLost), "{then:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_leaves_doubt_after_the_time_out() {
    let answer = answer_to(Behaviour::bytes("", Then::Wait), Some(SHORT), 1).await;
    assert_eq!(answer.outcome, doubt(DoubtReason::TimedOut));
    assert!(answer.latency >= SHORT, "{answer:?}");
    let unread = answer_to(Behaviour::HangUnread, Some(SHORT), 0).await;
    assert_eq!(unread.outcome, doubt(DoubtReason::TimedOut));
}

#[tokio::test]
async fn an_answer_that_stops_on_the_way_leaves_doubt() {
    let whole = accepted();
    let head_end = whole.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    for then in [Then::Close, Then::Reset] {
        for length in [1, 12, head_end - 1, head_end, head_end + 1, whole.len() - 1] {
            let answer = answer_to(Behaviour::bytes(&whole[..length], then), None, 1).await;
            assert_eq!(answer.outcome, doubt(DoubtReason::ConnectionLost), "{length} bytes, then {then:?}");
        }
    }
    let answer = answer_to(Behaviour::bytes(&whole[..=head_end], Then::Wait), Some(SHORT), 1).await;
    assert_eq!((answer.outcome, answer.status), (doubt(DoubtReason::TimedOut), Some(200)));
}

#[tokio::test]
async fn one_byte_at_a_time_does_not_outlast_the_time_out() {
    let every = Duration::from_millis(20);
    let body = Behaviour::Endless { head: "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", filling: " ", every };
    assert_eq!(answer_to(body, Some(SHORT), 1).await.outcome, doubt(DoubtReason::TimedOut));
    let head = Behaviour::Endless { head: "HTTP/1.1 200 OK\r\nX-Slow: ", filling: "a", every };
    assert_eq!(answer_to(head, Some(SHORT), 1).await.outcome, doubt(DoubtReason::TimedOut));
}

const MEGABYTE: &str = match std::str::from_utf8(&[b' '; 1 << 20]) {
    Ok(text) => text,
    Err(_) => unreachable!(),
};

#[tokio::test]
async fn gigabytes_are_not_read() {
    for head in
        ["HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nX-Long: "]
    {
        let server = Server::start(Behaviour::Endless { head, filling: MEGABYTE, every: Duration::ZERO }).await;
        let answer = server.client().send_template(&message()).await;
        assert_eq!(answer.outcome, doubt(DoubtReason::UnreadableAnswer), "{head}");
        server.until("the client goes away", |seen| seen.left == 1).await;
        let seen = server.seen();
        assert!(seen.bytes_written < 64 << 20, "{} bytes written", seen.bytes_written);
        assert_eq!((seen.requests.len(), seen.connections), (1, 1));
    }
}

#[tokio::test]
async fn a_success_without_proof_leaves_doubt() {
    let html = "<!DOCTYPE html><html><body>Entrar</body></html>";
    for bytes in [
        http(200, "Content-Type: text/html\r\n", html),
        http(200, "", ""),
        http(200, "Content-Type: application/json\r\n", b"{\"status\":\"success\",\"data\":{\"messageSentId\":\"c1\xff\"}}"),
        http(200, "", r#"{"status":"success","code":200,"data":{"message":"Sent."}}"#),
        "HTTP/1.1 204 No Content\r\n\r\n".into(),
        b"what is this?\r\n\r\n".to_vec(),
        b"HTTP/1.1 2x0 OK\r\n\r\n".to_vec(),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let answer = answer_to(Behaviour::bytes(bytes, Then::Close), None, 1).await;
        assert_eq!(answer.outcome, doubt(DoubtReason::UnreadableAnswer), "{shown}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Server::start(Behaviour::bytes(accepted(), Then::Wait)).await;
        for location in ["/auth/login".to_owned(), format!("http://{}/api/v1/template/send", elsewhere.address)] {
            let redirect = http(status, &format!("Location: {location}\r\n"), "");
            let answer = answer_to(Behaviour::bytes(redirect, Then::Wait), None, 1).await;
            assert_eq!(answer.outcome, Outcome::Stop { why: StopReason::Redirected }, "{status} to {location}");
        }
        assert_eq!(elsewhere.seen().connections, 0);
    }
}

/// design.md's rows by status, written without a look at the client's.
fn outcome_of_a_bare(status: u16) -> Outcome {
    let stop = |why| Outcome::Stop { why };
    match status {
        200..=299 => doubt(DoubtReason::UnreadableAnswer),
        300..=399 => stop(StopReason::Redirected),
        401 => stop(StopReason::Unauthorized),
        403 => stop(StopReason::Forbidden),
        404 => stop(StopReason::ChannelNotFound),
        402 | 405 | 406 | 407 | 410 | 415 | 421 | 426 => stop(StopReason::NotServed),
        413 => Outcome::Rejected { reason: FailReason::TooLarge },
        429 => Outcome::Throttled { why: ThrottleReason::TooManyRequests, retry_after: None },
        503 => Outcome::Throttled { why: ThrottleReason::Unavailable, retry_after: None },
        408 | 500..=599 => doubt(DoubtReason::ServerError),
        _ => Outcome::Rejected { reason: FailReason::Rejected },
    }
}

#[tokio::test]
async fn f23_every_status_has_its_row() {
    let next = AtomicU16::new(200);
    let server = Server::start(Behaviour::by(move |_| http(next.fetch_add(1, Ordering::SeqCst), "", ""))).await;
    let client = server.client();
    for status in 200..600 {
        let answer = client.send_template(&message()).await;
        assert_eq!(answer.status, Some(status));
        assert_eq!(answer.outcome, outcome_of_a_bare(status), "{status}");
    }
    assert_eq!(server.seen().requests.len(), 400, "one request for each try");
}

#[tokio::test]
async fn f23_a_503_is_not_taken_or_by_the_integrations_choice_doubt() {
    for (service_unavailable_is_doubt, expected) in [
        (false, Outcome::Throttled { why: ThrottleReason::Unavailable, retry_after: Some(Duration::from_secs(7)) }),
        (true, doubt(DoubtReason::ServerError)),
    ] {
        let server = Server::start(Behaviour::bytes(http(503, "Retry-After: 7\r\n", "<html>"), Then::Wait)).await;
        let mut config = server.config();
        config.service_unavailable_is_doubt = service_unavailable_is_doubt;
        let answer = OpaClient::new(config).expect("a client").send_template(&message()).await;
        assert_eq!(answer.outcome, expected);
        assert_eq!(server.seen().requests.len(), 1);
    }
}

#[tokio::test]
async fn a_persons_name_in_an_answer_goes_nowhere() {
    let body =
        json!({ "status": "error", "code": 400, "data": { "message": "Este contato já está em atendimento com Beltrana" } });
    let answer = answer_to(Behaviour::bytes(http(400, "", body.to_string()), Then::Wait), None, 1).await;
    assert_eq!(answer.outcome, Outcome::ContactInService);
    assert!(!format!("{answer:?}").contains("Beltrana"));
}
