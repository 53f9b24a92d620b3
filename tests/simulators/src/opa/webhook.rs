//! The webhook: what becomes of messages, told to an address after they were accepted. Contracts §1.6 leave its format open; this one is
//! plausible, made of what §1.3 to §1.6 have: a message record's members and the sending's `metadata`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Sent;
use crate::mix::{draw, hash_text, locked};

/// Messages of which it tells at once.
const AT_ONCE: usize = 32;
/// A receiver that doesn't answer in this time is not waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Where to tell what, as `POST /_admin/webhook` takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The address: plain HTTP.
    pub url: String,
    /// The custom header's name.
    pub header: String,
    /// Its value.
    pub value: String,
    /// What is told of each message, in this order: a `statusEnvio.status`, or `failed:CODE` with that code in `observacao`.
    pub statuses: Vec<String>,
    /// The wait before each, in milliseconds; without one the first is told before the sending is answered, if that takes a while.
    #[serde(default)]
    pub delay_ms: u64,
    /// The share of messages of which everything is told twice.
    #[serde(default)]
    pub twice: f64,
    /// The share of which it is told in the opposite order.
    #[serde(default)]
    pub reversed: f64,
    /// The share of which nothing is told.
    #[serde(default)]
    pub lost: f64,
    /// Whether `metadata` is left out, so that only the message's id tells which it is.
    #[serde(default)]
    pub without_metadata: bool,
}

/// Tells what becomes of messages, once somebody says where.
#[derive(Clone, Debug)]
pub(super) struct Teller(Arc<State>);

#[derive(Debug)]
struct State {
    webhook: Mutex<Option<Arc<Webhook>>>,
    places: Arc<Semaphore>,
    seed: u64,
    /// Calls by the status of their answer; `failed` for those without one.
    told: Mutex<BTreeMap<String, u64>>,
}

impl Teller {
    pub fn new(seed: u64) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self(Arc::new(State { webhook: Mutex::default(), places, seed, told: Mutex::default() }))
    }

    pub fn set(&self, webhook: Option<Webhook>) {
        *locked(&self.0.webhook) = webhook.map(Arc::new);
    }

    pub fn told(&self) -> BTreeMap<String, u64> {
        locked(&self.0.told).clone()
    }

    /// Tells of a message, on a task of its own.
    pub fn accepted(&self, sent: &Sent) {
        let Some(webhook) = locked(&self.0.webhook).clone() else { return };
        let (teller, sent) = (self.clone(), sent.clone());
        tokio::spawn(async move { teller.tell(&webhook, &sent).await });
    }

    async fn tell(&self, webhook: &Webhook, sent: &Sent) {
        let Ok(_place) = self.0.places.acquire().await else { return };
        if self.happens(1, webhook.lost, sent) {
            return;
        }
        let mut statuses = webhook.statuses.clone();
        if self.happens(2, webhook.reversed, sent) {
            statuses.reverse();
        }
        if self.happens(3, webhook.twice, sent) {
            statuses.extend(statuses.clone());
        }
        for status in statuses {
            sleep(Duration::from_millis(webhook.delay_ms)).await;
            let outcome = match timeout(ANSWER_WITHIN, post(webhook, &body(webhook, sent, &status))).await {
                Ok(Ok(status)) => status.to_string(),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the webhook was not taken");
                    "failed".to_owned()
                }
                Err(_elapsed) => "failed".to_owned(),
            };
            *locked(&self.0.told).entry(outcome).or_default() += 1;
        }
    }

    /// Whether a fault strikes a message: drawn by its id.
    fn happens(&self, purpose: u64, share: f64, sent: &Sent) -> bool {
        let drawn = draw(self.0.seed, purpose, hash_text(0, &sent.message_sent_id)) % 10_000;
        f64::from(u32::try_from(drawn).unwrap_or_default()) < share * 10_000.0
    }
}

fn body(webhook: &Webhook, sent: &Sent, status: &str) -> Value {
    let (status, remark) = match status.split_once(':') {
        Some((status, code)) => (status, format!("(#{code}) Message undeliverable")),
        None => (status, String::new()),
    };
    let mut body = json!({
        "event": "message_status",
        "data": {
            "messageSentId": sent.message_sent_id,
            "canalComunicacao": sent.channel,
            "destinatario": sent.phone,
            "tipoDestinatario": "clientes_users",
            "statusEnvio": { "status": status, "observacao": remark },
            "updatedAt": Utc::now().to_rfc3339(),
        },
    });
    if !webhook.without_metadata {
        body["metadata"] = sent.metadata.clone();
    }
    body
}

/// Posts a body; the status of the answer.
async fn post(webhook: &Webhook, body: &Value) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let uri: Uri = webhook.url.parse()?;
    let authority = uri.authority().ok_or("an address without a host")?;
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::builder()
        .method(Method::POST)
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(&webhook.header, &webhook.value)
        .body(Full::new(Bytes::from(body.to_string())))?;
    let talking = tokio::spawn(connection);
    let status = sender.send_request(request).await?.status().as_u16();
    drop(sender);
    talking.await??;
    Ok(status)
}
