//! One request, without an outcome table.

use super::{Ended, Planned};
use anyhow::{Context as _, ensure};
use regua_simulators::OpaOptions;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;

/// Idle connections kept, as many as can be in use.
const POOL_MAX: usize = 1024;

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "messageSentId")]
    message_sent_id: String,
}

/// A client as Régua's, so far as speed goes.
pub(super) fn client() -> anyhow::Result<reqwest::Client> {
    let token = format!("Bearer {}", OpaOptions::default().token);
    let headers = HeaderMap::from_iter([
        (AUTHORIZATION, HeaderValue::from_str(&token)?),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ]);
    let builder = reqwest::Client::builder().default_headers(headers).http1_only().no_proxy().tcp_nodelay(true);
    Ok(builder.tls_certs_only([]).pool_max_idle_per_host(POOL_MAX).build()?)
}

/// Sends one message.
pub(super) async fn send(client: &reqwest::Client, message: Arc<Planned>) -> anyhow::Result<Ended> {
    let began = Instant::now();
    let response = client.post(&message.url).body(message.body.clone()).send().await.context("the simulator answers")?;
    let status = response.status();
    let bytes = response.bytes().await?;
    ensure!(status.is_success(), "the simulator answered {status}");
    let answer: Answer = serde_json::from_slice(&bytes)?;
    let latency_ms = i64::try_from(began.elapsed().as_millis())?;
    Ok(Ended { message, provider_id: answer.data.message_sent_id, latency_ms })
}
