//! The webhook (contracts §1.6): what becomes of accepted messages is told to the address that somebody names.

use std::time::Duration;

use anyhow::Context;
use regua_simulators::OpaOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::opa::{Opa, order};

/// The next call of a receiver that answers everything with 204: its head and its body.
async fn next(receiver: &TcpListener) -> anyhow::Result<(String, Value)> {
    let (mut stream, _) = timeout(Duration::from_secs(20), receiver.accept()).await.context("nobody calls")??;
    let mut told = Vec::new();
    loop {
        stream.read_buf(&mut told).await?;
        let text = String::from_utf8_lossy(&told).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if let Ok(body) = serde_json::from_str(body) {
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await?;
            return Ok((head.to_ascii_lowercase(), body));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_message_is_told_in_order_with_its_metadata_and_the_custom_header() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let receiver = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook?a=1", receiver.local_addr()?);
    let webhook =
        json!({ "url": url, "header": "X-Regua-Secret", "value": "s", "statuses": ["sent", "failed:131026"], "twice": 1.0 });
    assert_eq!(opa.admin("POST", "webhook", &webhook.to_string()).await?.status, 200);
    assert_eq!(opa.admin("POST", "webhook", "{\"url\":1}").await?.status, 400);
    assert_eq!(opa.send(&order("+5511900000001", "m1")).await?.status, 200);
    let sent = opa.simulator.log()?.next().context("it is logged")??;
    for (status, remark) in [("sent", ""), ("failed", "131026"), ("sent", ""), ("failed", "131026")] {
        let (head, body) = next(&receiver).await?;
        assert!(head.starts_with("post /hook?a=1 http/1.1") && head.contains("x-regua-secret: s"), "{head}");
        assert_eq!((&body["metadata"], &body["data"]["messageSentId"]), (&sent.metadata, &json!(sent.message_sent_id)));
        let told = &body["data"]["statusEnvio"];
        assert!(told["status"] == status && told["observacao"].as_str().is_some_and(|text| text.contains(remark)), "{body}");
    }
    assert_eq!(opa.admin("POST", "webhook", "null").await?.status, 200);
    assert_eq!(opa.send(&order("+5511900000002", "m2")).await?.status, 200);
    assert!(timeout(Duration::from_millis(200), receiver.accept()).await.is_err(), "nobody is told any more");
    Ok(())
}
