//! Connections are kept, but never so long that a closing server makes doubt (failure schedule F24).

use crate::server::{Behaviour, Server, Then, accepted, config, message};
use regua_opa_suite::{BaseUrl, BuildError, OpaClient, OpaClientConfig, Outcome, TooLate};
use secrecy::SecretString;
use std::time::Duration;
use tokio::task::JoinSet;

#[track_caller]
fn assert_taken(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_busy_connection_is_used_again() {
    let server = Server::start(Behaviour::bytes(accepted(), Then::Wait)).await;
    let client = server.client();
    for _ in 0..100 {
        assert_taken(&client.clone().send_template(&message()).await.outcome);
    }
    let seen = server.seen();
    assert_eq!((seen.requests.len(), seen.connections), (100, 1));
}

#[tokio::test]
async fn f24_the_client_leaves_an_idle_connection_before_the_server_closes_it() {
    let server = Server::start(Behaviour::bytes(accepted(), Then::Wait)).await;
    let client =
        OpaClient::new(OpaClientConfig { pool_idle_timeout: Duration::from_millis(30), ..server.config() }).expect("a client");
    for sent in 1..=5 {
        assert_taken(&client.send_template(&message()).await.outcome);
        server.until("the client leaves", |seen| seen.left == sent).await;
    }
    let seen = server.seen();
    assert_eq!((seen.requests.len(), seen.connections), (5, 5), "each slow send makes its own connection and one request");
}

/// F2: what is asked for its time is the request that is about to be written, on a new connection and on a used one.
#[tokio::test]
async fn f2_a_request_whose_time_is_over_when_it_is_about_to_be_written_leaves_no_byte_on_the_wire() {
    let server = Server::start(Behaviour::bytes(accepted(), Then::Wait)).await;
    let client = server.client();
    assert_eq!(client.send_template_in_time(&message(), || false).await.err(), Some(TooLate));
    assert_taken(&client.send_template_in_time(&message(), || true).await.expect("it is in time").outcome);
    assert_eq!(client.send_template_in_time(&message(), || false).await.err(), Some(TooLate));
    assert_taken(&client.send_template(&message()).await.outcome);
    server.until("the two connections whose request was given up are left", |seen| seen.left == 2).await;
    let seen = server.seen();
    assert_eq!((seen.requests.len(), seen.bytes_of_no_request), (2, 0), "nothing of the two that were late");
    assert_eq!(seen.requests[0].body, seen.requests[1].body, "the body is the same, and its length is told, either way");
}

/// Node.js closes what is idle for 5 s. A slow channel's next request would meet that close on its way, and prove nothing.
#[tokio::test]
async fn f24_a_thousand_slow_sends_to_a_server_that_closes_idle_connections_leave_no_doubt() {
    let (lanes, slow_rounds) = (250, 4);
    let server = Server::start(Behaviour::ClosesIdle(Duration::from_secs(5))).await;
    let client = server.client();
    for _ in 0..=slow_rounds {
        let mut sends: JoinSet<Outcome> = JoinSet::new();
        for _ in 0..lanes {
            let client = client.clone();
            sends.spawn(async move { client.send_template(&message()).await.outcome });
        }
        while let Some(outcome) = sends.join_next().await {
            assert_taken(&outcome.expect("a send ends"));
        }
        server.until("every connection is idle or left", |seen| seen.idle + seen.left == seen.connections).await;
    }
    assert_eq!(server.seen().requests.len(), lanes * (1 + slow_rounds));
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_makes_no_doubt() {
    let mut bytes = accepted();
    let status_line_end = bytes.iter().position(|byte| *byte == b'\n').expect("a status line") + 1;
    bytes.splice(status_line_end..status_line_end, *b"Connection: close\r\n");
    let server = Server::start(Behaviour::bytes(bytes, Then::Close)).await;
    let client = server.client();
    for _ in 0..100 {
        assert_taken(&client.send_template(&message()).await.outcome);
    }
    let seen = server.seen();
    assert_eq!((seen.requests.len(), seen.connections), (100, 100));
}

#[tokio::test]
async fn the_token_shows_in_no_debug_text() {
    let server = Server::start(Behaviour::bytes(accepted(), Then::Wait)).await;
    let shown = format!("{:?} {:?}", server.config(), server.client());
    assert!(!shown.contains("secret-token"), "{shown}");
}

#[test]
fn a_client_that_could_not_work_is_refused() {
    let good = config("http://127.0.0.1:1");
    let built = |config: OpaClientConfig| OpaClient::new(config).map(drop);
    let with_token = |token: &str| OpaClientConfig { token: SecretString::from(token.to_owned()), ..good.clone() };
    assert!(matches!(built(with_token(" \n")), Err(BuildError::TokenEmpty)));
    assert!(matches!(built(with_token("two\nlines")), Err(BuildError::TokenUnusable)));
    assert!(built(with_token("from-a-file\n")).is_ok(), "the end of a file's line is not part of the token");
    let crossed = OpaClientConfig { connect_timeout: good.request_timeout, ..good.clone() };
    assert!(matches!(built(crossed), Err(BuildError::TimeoutsCross { .. })));
    assert!(BaseUrl::parse("http://127.0.0.1:1", false).is_err(), "a private address must be allowed");
}
