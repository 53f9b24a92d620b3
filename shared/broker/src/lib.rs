//! The broker: ticks ("look at Run X") and hints ("look at Message X") between the services, over RabbitMQ or inside one process.
//!
//! Delivery is at-least-once and carries no truth: every body is one id, the ledger decides what it means, and losing every queue loses
//! no message (the scheduler notices and publishes again). So the adapters are simple where a broker of truth could not be: a link that
//! misbehaves is thrown away and rebuilt from scratch, what was not confirmed is told to the caller, and what was not acked comes again.
//!
//! The vocabulary: a [`Broker`] publishes [`Envelope`]s and opens [`Consumer`]s; a consumer hands out [`Delivery`]s, each with an
//! [`AckTag`] that goes back through an [`Acker`] from any task in any order. [`BrokerStatus`] says in words what is wrong.

mod consumer;
mod error;
mod memory;
mod message;
mod rabbitmq;
mod status;

use async_trait::async_trait;
use regua_domain::ids::{LedgerId, MessageId};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

pub use consumer::{AckTag, Acker, Consumer, PREFETCH_MAX};
pub use error::{BrokerError, PublishError};
pub use memory::READY_MAX as MEMORY_READY_MAX;
pub use message::{Delivery, Envelope, Hint, PoisonReason, Tick};
pub use rabbitmq::inspection::{BrokerFacts, Publishing, QueueFacts, QueueState, inspect};
pub use status::{BrokerStatus, LinkRole, LinkState, LinkStatus};

/// The prefix of the exchange's and the queues' names where nobody chose another (interface.md "Broker").
pub const DEFAULT_PREFIX: &str = "regua";

/// Publishes and consumes ticks and hints. Every method returns within a named bound of time, whatever the server does.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Publishes ticks and waits for their confirms.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`] if nothing was published, [`PublishError::Unconfirmed`] if some may not have been: publish those
    /// runs' ticks again later, a second tick is harmless. [`PublishError::Closed`] after [`Broker::close`].
    async fn publish_ticks(&self, ticks: &[Envelope<Tick>]) -> Result<(), PublishError>;

    /// Publishes hints with pipelined confirms and returns the messages whose hint was **not** confirmed, in the order given.
    ///
    /// An unconfirmed hint may still arrive: the caller puts its message back to `scheduled`, and hints are idempotent. Never call it
    /// inside a ledger transaction.
    ///
    /// # Errors
    /// Only when nothing was published: [`PublishError::Unavailable`], or [`PublishError::Closed`] after [`Broker::close`].
    async fn publish_hints(&self, hints: &[Envelope<Hint>]) -> Result<Vec<MessageId>, PublishError>;

    /// Opens a consumer of ticks that holds at most `prefetch` unacked (1 to [`PREFETCH_MAX`]; a value outside is read as the nearest).
    fn ticks(&self, prefetch: u16) -> Consumer<Tick>;

    /// Opens a consumer of hints that holds at most `prefetch` unacked (1 to [`PREFETCH_MAX`]; a value outside is read as the nearest).
    fn hints(&self, prefetch: u16) -> Consumer<Hint>;

    /// How many hints wait in the queue, without those that consumers hold unacked.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] while the server can't be asked; [`BrokerError::Closed`] after [`Broker::close`].
    async fn ready_hints(&self) -> Result<u64, BrokerError>;

    /// What it is, by the name that OpenTelemetry's semantic conventions have for it (`messaging.system`).
    fn system(&self) -> &'static str;

    /// How each link is, for `/readyz` and `/metrics`. Never waits.
    fn status(&self) -> BrokerStatus;

    /// Ends every consumer (acks handed over are written, the rest returns to the queues) and the publishing side. Later calls do nothing.
    async fn close(&self);
}

/// Opens the broker at `url` with the default names: `memory:` for this process alone, else `amqp://` or `amqps://` for RabbitMQ.
///
/// It doesn't wait for a server: one that is down is tried again for ever, and [`Broker::status`] says so. What is published carries
/// `ledger`, so that consumers can tell ours from foreign. Must be called inside a Tokio runtime.
///
/// # Errors
/// [`BrokerError::Url`] if the URL is malformed; the text never repeats the URL, which holds a password.
pub fn connect(url: &SecretString, ledger: LedgerId) -> Result<Arc<dyn Broker>, BrokerError> {
    connect_prefixed(url, ledger, DEFAULT_PREFIX)
}

/// As [`connect`], with names that begin with `prefix` (1 to 64 of `a-z A-Z 0-9 . _ -`), so that several can share one server.
///
/// # Errors
/// As [`connect`]; [`BrokerError::Prefix`] if the prefix is not as said.
pub fn connect_prefixed(url: &SecretString, ledger: LedgerId, prefix: &str) -> Result<Arc<dyn Broker>, BrokerError> {
    if is_memory(url) {
        return Ok(Arc::new(memory::MemoryBroker::new(ledger)));
    }
    let server = rabbitmq::Server::new(url, prefix)?;
    Ok(Arc::new(rabbitmq::RabbitMq::start(server, ledger)))
}

/// Whether a broker URL means the in-process broker: the separate binaries refuse it.
pub fn is_memory(url: &SecretString) -> bool {
    url.expose_secret().trim() == "memory:"
}
