//! Opa! Suite: channels, templates, `POST /template/send` and the conversations that sends open, as contracts §1 has them.

mod app;
pub mod catalogue;
mod conversations;
mod lists;
mod order;
mod rates;
mod records;
mod variables;
mod webhook;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::faults::{Fault, InvalidFault};
use crate::mix::Clock;
use crate::server::Server;
use crate::spill::LogReader;
use app::OpaApp;

pub use variables::{Takes, Variables};
pub use webhook::Webhook;

/// How the simulated Opa! Suite behaves.
#[derive(Clone, Debug)]
pub struct OpaOptions {
    /// Where to listen; port 0 means any free one.
    pub listen: SocketAddr,
    /// Decides ids, faults' draws and who is in service.
    pub seed: u64,
    /// The API token that is accepted.
    pub token: String,
    /// Messages per second and channel; above it 429 with code 130429 (contracts §3.1). `None`: no limit.
    pub per_second: Option<u32>,
    /// The least time between two messages to one phone; sooner is 429 with code 131056 (contracts §3.1: about 6 s). `None`: no limit.
    pub pair_interval: Option<Duration>,
    /// The share of phones, in `[0, 1]`, that are in service with an attendant from the beginning (contracts §1.2).
    pub in_service_share: f64,
    /// Shows each space of a value twice in the records of messages: a product that formats texts might, and what was sent can't be
    /// found by comparing bytes.
    pub double_spaces: bool,
    /// The daily allowance that every WhatsApp channel reports (contracts §1.4). `None`: no limit, an empty object.
    pub daily_limit: Option<u64>,
    /// Closes keep-alive connections that idle so long. `None`: never.
    pub idle_close: Option<Duration>,
    /// What it has. `None`: the base of [`catalogue`].
    pub own: Option<OwnBase>,
    /// What its clock reads at the start, to go on with tokio's clock, which a simulation moves. `None`: this host's clock.
    pub begins_at: Option<DateTime<Utc>>,
}

impl Default for OpaOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            token: "opa-simulator-token".to_owned(),
            per_second: None,
            pair_interval: None,
            in_service_share: 0.0,
            double_spaces: false,
            daily_limit: None,
            idle_close: None,
            own: None,
            begins_at: None,
        }
    }
}

/// The channels and templates of somebody's own base.
#[derive(Clone, Debug, Default)]
pub struct OwnBase {
    /// The ids of its channels, all of them WhatsApp numbers in use.
    pub channels: Vec<String>,
    /// The ids of its templates, each with what it takes.
    pub templates: Vec<(String, Takes)>,
}

/// One accepted send, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Microseconds since 1970 of the simulator's clock, when the request had been read to its end.
    pub at_us: i64,
    /// What the client got: `200`, or the kind of fault that replaced it.
    pub answered: String,
    /// `contato.canalCliente`, as sent.
    pub phone: String,
    /// The channel's id.
    pub channel: String,
    /// The template's id.
    pub template: String,
    /// `template.variaveis`, as sent.
    pub variaveis: Variables,
    /// `template.midiaAlternativa`, as sent; null if absent.
    #[serde(rename = "midiaAlternativa")]
    pub alternative_media: Option<String>,
    /// `metadata`, as sent; null if absent.
    pub metadata: Value,
    /// The id given to the message, 24 hex digits.
    #[serde(rename = "messageSentId")]
    pub message_sent_id: String,
    /// The id of the conversation (*atendimento*) that it opened or went on with, 24 hex digits.
    #[serde(rename = "id_rota")]
    pub conversation: String,
}

/// What the simulator counted since it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpaStats {
    /// Sends accepted: as many as the log has entries.
    pub accepted: u64,
    /// Different `metadata.message` among them. Less than `accepted` means that a message went out twice.
    pub distinct_messages: u64,
    /// Accepted without `metadata.message`.
    pub without_message: u64,
    /// Refused sends by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Answers by HTTP status, apart from the admin routes.
    pub by_status: BTreeMap<u16, u64>,
    /// Strikes by kind of fault.
    pub faults: BTreeMap<String, u64>,
    /// Calls of the webhook by the status of their answer; `failed` for those without one.
    pub webhooks: BTreeMap<String, u64>,
}

/// A running Opa! Suite simulator; dropping it stops it.
#[derive(Debug)]
pub struct OpaSimulator {
    app: Arc<OpaApp>,
    server: Server,
}

impl OpaSimulator {
    /// Starts it on the current tokio runtime.
    ///
    /// # Errors
    /// The address can't be bound, or the log's temporary file can't be created.
    pub async fn start(options: OpaOptions) -> io::Result<Self> {
        let (listen, idle_close, clock) = (options.listen, options.idle_close, Clock::new(options.begins_at));
        let app = Arc::new(OpaApp::new(options, clock)?);
        let server = Server::start(listen, Arc::clone(&app), idle_close, clock).await?;
        Ok(Self { app, server })
    }

    /// `http://127.0.0.1:PORT`; the API is below `/api/v1`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The API token that it accepts.
    pub fn token(&self) -> &str {
        self.app.token()
    }

    /// What it counted since it started.
    pub fn stats(&self) -> OpaStats {
        self.app.counted()
    }

    /// Arms further faults, as `POST /_admin/faults` does.
    ///
    /// # Errors
    /// One of them is impossible; none is armed then.
    pub fn faults(&self, faults: Vec<Fault>) -> Result<(), InvalidFault> {
        self.app.arm(faults)
    }

    /// Clears all faults, as `DELETE /_admin/faults` does.
    pub fn clear_faults(&self) {
        self.app.clear_faults();
    }

    /// Says whether phones (`+55…`) are in service with an attendant, as `POST /_admin/in-service` does; `false` finishes their
    /// conversations.
    pub fn set_in_service(&self, phones: impl IntoIterator<Item = String>, in_service: bool) {
        self.app.set_in_service(phones, in_service);
    }

    /// Says where to tell what becomes of messages that are accepted from now on, as `POST /_admin/webhook` does; `None`: nowhere.
    pub fn set_webhook(&self, webhook: Option<Webhook>) {
        self.app.set_webhook(webhook);
    }

    /// Every send accepted until now, oldest first.
    ///
    /// # Errors
    /// The temporary file can't be read.
    pub fn log(&self) -> io::Result<LogReader<Sent>> {
        self.app.read_log()
    }

    /// Stops: no new connections, half a second for answers under way.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
