//! The HTTP server of every process, asked over a socket.

#![allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should")]

use axum::Router;
use axum::routing::get;
use regua_telemetry::health::{Health, Readiness};
use regua_telemetry::http::{CONNECTIONS_MAX, HEAD_TIME_MAX, HttpServer};
use regua_telemetry::install_tls_provider;
use regua_telemetry::metrics::Metrics;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Asked {
    status: u16,
    content_type: String,
    body: String,
}

impl Asked {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn ask(server: &HttpServer, path: &str) -> Asked {
    install_tls_provider();
    let response = reqwest::get(format!("http://{}{path}", server.addr())).await.unwrap();
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    Asked { status: response.status().as_u16(), content_type, body: response.text().await.unwrap() }
}

async fn serve(health: &Health, extra: Router) -> HttpServer {
    HttpServer::start(ANY_PORT, health, &Metrics::new(), extra).await.unwrap()
}

#[tokio::test]
async fn readyz_says_in_words_what_is_wrong() {
    let health = Health::new();
    let server = serve(&health, Router::new()).await;
    assert_ne!(server.addr().port(), 0, "port 0 becomes a free one");

    health.expect(&["ledger"]);
    let asked = ask(&server, "/readyz").await;
    assert_eq!(asked.status, 503);
    assert_eq!(asked.content_type, "application/json");
    assert_eq!(
        asked.json(),
        json!({"ready": false, "checks": [{"name": "ledger", "ready": false, "why": "has not reported yet"}]})
    );

    health.set("ledger", Readiness::Ready);
    health.set("integration Main", Readiness::degraded("Opa! Suite refuses the token (401)"));
    let asked = ask(&server, "/readyz").await;
    assert_eq!(asked.status, 200);
    let degraded = json!({"name": "integration Main", "ready": true, "why": "Opa! Suite refuses the token (401)"});
    assert_eq!(asked.json(), json!({"ready": true, "checks": [degraded, {"name": "ledger", "ready": true}]}));
}

#[tokio::test]
async fn livez_fails_only_when_a_heartbeat_is_overdue() {
    let health = Health::new();
    let server = serve(&health, Router::new()).await;
    health.set("ledger", Readiness::not_ready("down"));
    let kept = health.heartbeat("kept", Duration::from_hours(1));
    let asked = ask(&server, "/livez").await;
    assert_eq!((asked.status, asked.json()), (200, json!({"live": true, "stalled": []})), "not ready is not dead");

    let broken = health.heartbeat("broken", Duration::ZERO);
    let asked = ask(&server, "/livez").await;
    assert_eq!(asked.status, 503);
    assert_eq!(asked.json()["stalled"][0]["name"], "broken");
    drop(broken);
    assert_eq!(ask(&server, "/livez").await.status, 200);
    drop(kept);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let metrics = Metrics::new();
    metrics.counter("regua_sends_total", "Sends.", &[("outcome", "sent")]).add(3);
    let server = HttpServer::start(ANY_PORT, &Health::new(), &metrics, Router::new()).await.unwrap();
    let asked = ask(&server, "/metrics").await;
    assert_eq!((asked.status, asked.content_type.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert!(asked.body.contains("# TYPE regua_sends_total counter\nregua_sends_total{outcome=\"sent\"} 3\n"), "{}", asked.body);
}

#[tokio::test]
async fn a_binary_can_add_its_own_routes() {
    let server = serve(&Health::new(), Router::new().route("/", get(|| async { "status page" }))).await;
    assert_eq!(ask(&server, "/").await.body, "status page");
    assert_eq!(ask(&server, "/livez").await.status, 200);
    assert_eq!(ask(&server, "/nothing").await.status, 404);
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_with_its_variable() {
    let server = serve(&Health::new(), Router::new()).await;
    let error = HttpServer::start(server.addr(), &Health::new(), &Metrics::new(), Router::new()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("can't serve HTTP on {} (REGUA_HTTP_ADDR)", server.addr()));
}

#[tokio::test]
async fn stopping_waits_for_an_answer_only_within_its_bound() {
    let asked = Arc::new(Notify::new());
    let arrived = Arc::clone(&asked);
    let hang = get(move || async move {
        arrived.notify_one();
        std::future::pending::<()>().await;
    });
    let server = serve(&Health::new(), Router::new().route("/hang", hang)).await;
    install_tls_provider();
    let request = tokio::spawn(reqwest::get(format!("http://{}/hang", server.addr())));
    asked.notified().await;
    let before = Instant::now();
    server.stop().await;
    assert!((Duration::from_secs(2)..Duration::from_secs(10)).contains(&before.elapsed()), "{:?}", before.elapsed());
    request.abort();
}

/// What a raw connection was told, to its end.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut told = Vec::new();
    stream.read_to_end(&mut told).await.unwrap();
    String::from_utf8(told).unwrap()
}

/// No time passes here but what the server waits for.
#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_its_connection() {
    let server = serve(&Health::new(), Router::new()).await;
    for begun in ["", "GET /livez HTTP/1.1\r\nHost: a\r\nX-One-Byte-A-Second: a"] {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        let began = tokio::time::Instant::now();
        stream.write_all(begun.as_bytes()).await.unwrap();
        to_the_end(&mut stream).await;
        assert!(began.elapsed() >= HEAD_TIME_MAX && began.elapsed() < HEAD_TIME_MAX * 2, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn who_connects_too_often_waits_for_a_place() {
    let server = serve(&Health::new(), Router::new()).await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        // Its first answer shows that it has a place.
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        idle.push(stream);
    }
    let mut next = TcpStream::connect(server.addr()).await.unwrap();
    next.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), next.readable()).await;
    assert!(early.is_err(), "nobody answers yet");
    idle.pop();
    assert!(to_the_end(&mut next).await.starts_with("HTTP/1.1 200"));
}
