//! A namespace of one test on a RabbitMQ server, and the raw side door to it.

use crate::harness::{eventually, hints, soon};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use regua_broker::{Broker, Tick, connect_prefixed};
use regua_domain::ids::{LedgerId, RunId};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use uuid::Uuid;

/// A server and names that no other test uses.
pub struct Namespace {
    pub url: SecretString,
    pub prefix: String,
}

impl Namespace {
    /// On the server of `REGUA_TEST_AMQP_URL`.
    pub fn shared() -> Self {
        let url = std::env::var("REGUA_TEST_AMQP_URL").unwrap_or_else(|_| {
            panic!(
                "REGUA_TEST_AMQP_URL is not set: `cargo xtask test` starts a RabbitMQ and sets it, or set it to a server's URL"
            )
        });
        Self::on(&url)
    }

    /// On another server.
    pub fn on(url: &str) -> Self {
        Self { url: url.into(), prefix: format!("regua-test-{}", Uuid::now_v7()) }
    }

    /// A broker of ours.
    pub fn broker(&self, ledger: LedgerId) -> Arc<dyn Broker> {
        connect_prefixed(&self.url, ledger, &self.prefix).expect("a good URL and prefix")
    }

    /// The full name of `hints`, `hints.dead` and the like.
    pub fn queue(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A connection beside the broker's.
    pub async fn raw(&self) -> Raw<'_> {
        let connecting = Connection::connect(self.url.expose_secret(), ConnectionProperties::default());
        let connection = soon("connection", connecting).await.expect("connected");
        let channel = soon("channel", connection.create_channel()).await.expect("opened");
        Raw { namespace: self, channel, _connection: connection }
    }

    /// Waits until both queues confirm what is published, and leaves them empty. RabbitMQ answers a declaration before a new quorum queue
    /// surely serves: on a busy machine the first messages may be left unconfirmed, which the promises of the suite are not about.
    pub async fn settle(&self, broker: &dyn Broker) {
        let hints = hints(1);
        eventually("a confirmed hint", async || broker.publish_hints(&hints).await == Ok(vec![])).await;
        let tick = [Tick { run: RunId(Uuid::now_v7()) }.into()];
        eventually("a confirmed tick", async || broker.publish_ticks(&tick).await.is_ok()).await;
        let raw = self.raw().await;
        for queue in ["ticks", "hints"] {
            raw.purge(queue).await;
        }
    }

    /// Removes what the test left on the server.
    pub async fn delete(&self) {
        let raw = self.raw().await;
        for queue in ["ticks", "hints", "ticks.dead", "hints.dead"] {
            raw.delete(queue).await;
        }
        let exchange = raw.channel.exchange_delete(self.prefix.as_str().into(), ExchangeDeleteOptions::default());
        soon("deletion", exchange).await.expect("deleted");
    }
}

/// The server without the broker's adapter.
pub struct Raw<'a> {
    namespace: &'a Namespace,
    channel: Channel,
    _connection: Connection,
}

impl Raw<'_> {
    /// Publishes any bytes with any properties through the exchange.
    pub async fn publish(&self, key: &str, body: &[u8], properties: BasicProperties) {
        let exchange = self.namespace.prefix.as_str().into();
        let publish = self.channel.basic_publish(exchange, key.into(), BasicPublishOptions::default(), body, properties);
        drop(soon("publish", publish).await.expect("published"));
    }

    /// How many are ready in a queue.
    pub async fn depth(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let declare = self.channel.queue_declare(self.namespace.queue(queue).into(), passive, FieldTable::default());
        soon("depth", declare).await.expect("the queue exists").message_count()
    }

    /// Takes the oldest body out of a queue.
    pub async fn get(&self, queue: &str) -> Option<Vec<u8>> {
        let get = self.channel.basic_get(self.namespace.queue(queue).into(), BasicGetOptions { no_ack: true });
        soon("message", get).await.expect("the queue exists").map(|message| message.delivery.data)
    }

    /// Empties a queue.
    pub async fn purge(&self, queue: &str) -> u32 {
        let purge = self.channel.queue_purge(self.namespace.queue(queue).into(), QueuePurgeOptions::default());
        soon("purge", purge).await.expect("the queue exists")
    }

    /// Deletes a queue.
    pub async fn delete(&self, queue: &str) {
        let delete = self.channel.queue_delete(self.namespace.queue(queue).into(), QueueDeleteOptions::default());
        soon("deletion", delete).await.expect("deleted");
    }
}
