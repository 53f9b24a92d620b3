//! Faults: what the client sees, and whether the send had been accepted.

use std::time::{Duration, Instant};

use regua_simulators::{Fault, FaultKind, OpaOptions};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::Connection;
use crate::opa::{Opa, order};

const SEND: &str = "/api/v1/template/send";

async fn opa_with(fault: Fault) -> anyhow::Result<Opa> {
    let opa = Opa::start(OpaOptions::default()).await?;
    opa.simulator.faults(vec![fault])?;
    Ok(opa)
}

fn once(kind: FaultKind, after_accept: bool) -> Fault {
    Fault { count: Some(1), after_accept, ..Fault::always(kind) }
}

/// Sends on a connection whose end is what matters.
async fn send_and_watch(opa: &Opa) -> anyhow::Result<(Vec<u8>, std::io::Result<()>)> {
    let mut connection = Connection::open(&opa.simulator.url()).await?;
    connection.send("POST", SEND, &opa.headers(), &order("+5511987654321", "1").to_string()).await?;
    Ok(timeout(Duration::from_secs(10), connection.rest()).await?)
}

#[track_caller]
fn assert_reset(ended: (Vec<u8>, std::io::Result<()>)) {
    let (bytes, ended) = ended;
    assert!(bytes.is_empty());
    assert_eq!(ended.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_before_reading_accepts_nothing() -> anyhow::Result<()> {
    let opa = opa_with(once(FaultKind::ResetBeforeReading, false)).await?;
    assert_reset(send_and_watch(&opa).await?);
    assert_eq!(opa.simulator.stats().accepted, 0);
    assert_eq!(opa.send(&order("+5511987654321", "1")).await?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_strikes_between_the_requests_of_a_kept_connection() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let mut connection = Connection::open(&opa.simulator.url()).await?;
    let body = order("+5511987654321", "1").to_string();
    assert_eq!(connection.ask("POST", SEND, &opa.headers(), &body).await?.status, 200);
    opa.simulator.faults(vec![once(FaultKind::ResetBeforeReading, false)])?;
    connection.send("POST", SEND, &opa.headers(), &body).await?;
    assert_reset(timeout(Duration::from_secs(10), connection.rest()).await?);
    assert_eq!(opa.simulator.stats().accepted, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_after_reading_may_or_may_not_have_accepted() -> anyhow::Result<()> {
    for after_accept in [false, true] {
        let opa = opa_with(once(FaultKind::ResetAfterReading, after_accept)).await?;
        assert_reset(send_and_watch(&opa).await?);
        let answered: Vec<String> = opa.simulator.log()?.map(|sent| sent.map(|sent| sent.answered)).collect::<Result<_, _>>()?;
        let expected = if after_accept { vec!["reset_after_reading"] } else { Vec::new() };
        assert_eq!(answered, expected);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_without_an_answer_is_an_orderly_end_of_file() -> anyhow::Result<()> {
    for after_accept in [false, true] {
        let opa = opa_with(once(FaultKind::CloseWithoutAnswer, after_accept)).await?;
        let (bytes, ended) = send_and_watch(&opa).await?;
        assert!(bytes.is_empty() && ended.is_ok(), "{ended:?}");
        assert_eq!(opa.simulator.stats().accepted, u64::from(after_accept));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_reads_and_answers_nothing() -> anyhow::Result<()> {
    let opa = opa_with(once(FaultKind::HangAfterAccept, false)).await?;
    let mut connection = Connection::open(&opa.simulator.url()).await?;
    connection.send("POST", SEND, &opa.headers(), &order("+5511987654321", "1").to_string()).await?;
    assert!(timeout(Duration::from_millis(300), connection.one_byte()).await.is_err());
    assert_eq!(opa.simulator.stats().accepted, 0);
    assert_eq!(opa.simulator.stats().faults.get("hang_after_accept"), Some(&1));
    opa.simulator.shutdown().await; // does not wait for the hung connection
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_body_announces_more_than_it_brings() -> anyhow::Result<()> {
    for after_accept in [false, true] {
        let opa = opa_with(once(FaultKind::TruncatedBody, after_accept)).await?;
        let (bytes, _) = send_and_watch(&opa).await?;
        let text = String::from_utf8(bytes)?;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let announced = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
        assert_eq!(announced.unwrap_or_default().parse::<usize>()? / 2, body.len(), "{text}");
        assert!(!body.is_empty());
        assert_eq!(opa.simulator.stats().accepted, u64::from(after_accept));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_body_is_half_a_document_with_200() -> anyhow::Result<()> {
    let opa = opa_with(once(FaultKind::MalformedBody, true)).await?;
    let answer = opa.send(&order("+5511987654321", "1")).await?;
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with('{') && answer.json().is_err());
    assert_eq!(opa.simulator.stats().accepted, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn html_comes_with_200() -> anyhow::Result<()> {
    let opa = opa_with(once(FaultKind::Html200, false)).await?;
    let answer = opa.send(&order("+5511987654321", "1")).await?;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(opa.simulator.stats().accepted, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_comes_one_byte_a_second() -> anyhow::Result<()> {
    let opa = opa_with(once(FaultKind::SlowBody, true)).await?;
    let mut connection = Connection::open(&opa.simulator.url()).await?;
    connection.send("POST", SEND, &opa.headers(), &order("+5511987654321", "1").to_string()).await?;
    let head = timeout(Duration::from_secs(10), connection.head()).await??;
    assert!(head.to_lowercase().contains("content-length:"), "{head}");
    let begun = Instant::now();
    for _ in 0..3 {
        timeout(Duration::from_secs(10), connection.one_byte()).await??;
    }
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_brings_its_body_and_retry_after_and_is_spent_after_its_count() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let faults = json!([
        { "kind": "status", "code": 429, "retry_after": 7, "count": 2, "path": "/template/send",
          "body": { "status": "error", "code": 429, "description": "(#130429)", "data": { "message": "(#130429)" } } },
    ]);
    assert_eq!(opa.admin("POST", "faults", &faults.to_string()).await?.status, 200);
    assert_eq!(opa.ask("GET", "/template", "").await?.status, 200);
    for _ in 0..2 {
        let answer = opa.send(&order("+5511987654321", "1")).await?;
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
        assert_eq!(answer.json()?["description"], "(#130429)");
    }
    assert_eq!(opa.send(&order("+5511987654321", "1")).await?.status, 200);
    assert_eq!(opa.admin("GET", "faults", "").await?.json()?["struck"]["status"], 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_delays_the_acceptance_or_only_the_answer() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let slow = FaultKind::LatencyMs { ms: 200 };
    opa.simulator.faults(vec![once(slow.clone(), false), once(slow, true)])?;
    let begun = Instant::now();
    assert_eq!(opa.send(&order("+5511987654321", "1")).await?.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(opa.simulator.stats().accepted, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_faults_are_refused_and_cleared_ones_strike_no_more() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    for bad in [json!({}), json!([{ "kind": "earthquake" }]), json!([{ "kind": "slow_body", "probability": 2 }])] {
        assert_eq!(opa.admin("POST", "faults", &bad.to_string()).await?.status, 400, "{bad}");
    }
    opa.simulator.faults(vec![Fault::always(FaultKind::Html200)])?;
    assert_eq!(opa.admin("GET", "stats", "").await?.json()?["accepted"], Value::from(0)); // never on admin routes
    assert_eq!(opa.admin("DELETE", "faults", "").await?.status, 200);
    assert_eq!(opa.send(&order("+5511987654321", "1")).await?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_when_asked_to() -> anyhow::Result<()> {
    let options = OpaOptions { idle_close: Some(Duration::from_millis(100)), ..OpaOptions::default() };
    let opa = Opa::start(options).await?;
    let mut connection = Connection::open(&opa.simulator.url()).await?;
    let body = order("+5511987654321", "1").to_string();
    assert_eq!(connection.ask("POST", SEND, &opa.headers(), &body).await?.status, 200);
    let (bytes, ended) = timeout(Duration::from_secs(10), connection.rest()).await?;
    assert!(bytes.is_empty() && ended.is_ok());
    Ok(())
}
