//! Hints without the broker's crate: lapin alone, or a queue in memory.

use anyhow::{Context as _, bail};
use futures::stream::ReadyChunks;
use futures::{StreamExt as _, future};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm};
use regua_domain::ids::LedgerId;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Publishes on their way to a confirm.
const CONFIRM_WINDOW: usize = 500;
/// Hints held unacked.
const PREFETCH: u16 = 2000;
/// Hints taken at once.
const TAKEN_MAX: usize = 256;
/// The delivery mode of a message that survives the server's restart (AMQP 0-9-1, basic properties).
const PERSISTENT: u8 = 2;

/// Where hints are published and consumed.
pub(crate) enum Hints {
    Rabbit { url: String, prefix: String, ledger: LedgerId },
    Memory(Arc<Mutex<VecDeque<Uuid>>>),
}

impl Hints {
    pub fn rabbitmq(url: &str, prefix: &str, ledger: LedgerId) -> Self {
        Self::Rabbit { url: url.into(), prefix: prefix.into(), ledger }
    }

    pub fn memory() -> Self {
        Self::Memory(Arc::default())
    }

    pub async fn publisher(&self) -> anyhow::Result<Publisher> {
        Ok(match self {
            Self::Rabbit { url, prefix, ledger } => {
                let connection = Box::new(connect(url).await?);
                let channel = connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                Publisher::Rabbit { connection, channel, exchange: prefix.clone(), ledger: *ledger }
            }
            Self::Memory(queue) => Publisher::Memory(Arc::clone(queue)),
        })
    }

    pub async fn consumer(&self) -> anyhow::Result<(Consumer, Acker)> {
        Ok(match self {
            Self::Rabbit { url, prefix, .. } => {
                let connection = Arc::new(connect(url).await?);
                let channel = connection.create_channel().await?;
                channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
                let queue = format!("{prefix}.hints");
                let options = BasicConsumeOptions::default();
                let stream = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
                let acker = Acker::Rabbit { channel, _connection: Arc::clone(&connection) };
                (Consumer::Rabbit { stream: stream.ready_chunks(TAKEN_MAX), _connection: connection }, acker)
            }
            Self::Memory(queue) => (Consumer::Memory(Arc::clone(queue)), Acker::Memory),
        })
    }
}

async fn connect(url: &str) -> anyhow::Result<Connection> {
    Connection::connect(url, ConnectionProperties::default()).await.context("RabbitMQ can't be reached")
}

/// Publishes.
pub(crate) enum Publisher {
    Rabbit { connection: Box<Connection>, channel: Channel, exchange: String, ledger: LedgerId },
    Memory(Arc<Mutex<VecDeque<Uuid>>>),
}

impl Publisher {
    /// Publishes these and waits for every confirm.
    pub async fn publish(&self, ids: &[Uuid]) -> anyhow::Result<()> {
        match self {
            Self::Rabbit { channel, exchange, ledger, .. } => publish(channel, exchange, *ledger, ids).await,
            Self::Memory(queue) => {
                queue.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
                Ok(())
            }
        }
    }

    pub async fn close(self) -> anyhow::Result<()> {
        if let Self::Rabbit { connection, .. } = self {
            connection.close(200, "done".into()).await?;
        }
        Ok(())
    }
}

async fn publish(channel: &Channel, exchange: &str, ledger: LedgerId, ids: &[Uuid]) -> anyhow::Result<()> {
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut waiting = VecDeque::with_capacity(CONFIRM_WINDOW);
    for id in ids {
        if waiting.len() >= CONFIRM_WINDOW
            && let Some(oldest) = waiting.pop_front()
        {
            confirmed(oldest).await?;
        }
        let mut headers = FieldTable::default();
        headers.insert("schema".into(), AMQPValue::LongLongInt(1));
        headers.insert("ledger".into(), AMQPValue::LongString(LongString::from(ledger.to_string())));
        let properties = BasicProperties::default()
            .with_type("hint".into())
            .with_message_id(id.to_string().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_headers(headers);
        let body = json!({"message": id}).to_string();
        let published = channel.basic_publish(exchange.into(), "hints".into(), mandatory, body.as_bytes(), properties);
        waiting.push_back(published.await?);
    }
    for confirm in waiting {
        confirmed(confirm).await?;
    }
    Ok(())
}

async fn confirmed(confirm: PublisherConfirm) -> anyhow::Result<()> {
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        other => bail!("a hint was not taken: {other:?}"),
    }
}

/// Consumes.
pub(crate) enum Consumer {
    Rabbit { stream: ReadyChunks<lapin::Consumer>, _connection: Arc<Connection> },
    Memory(Arc<Mutex<VecDeque<Uuid>>>),
}

/// A hint with what acks it.
pub(crate) type Taken = (Uuid, u64);

impl Consumer {
    /// The next hints; `None` when the queue in memory is empty.
    pub async fn next(&mut self) -> anyhow::Result<Option<Vec<Taken>>> {
        match self {
            Self::Rabbit { stream, .. } => {
                let deliveries = stream.next().await.context("the queue is there")?;
                let read = |delivery: lapin::Result<lapin::message::Delivery>| {
                    let delivery = delivery?;
                    let body: Value = serde_json::from_slice(&delivery.data)?;
                    let id = body["message"].as_str().context("a hint names its message")?;
                    Ok((id.parse()?, delivery.delivery_tag))
                };
                deliveries.into_iter().map(read).collect::<anyhow::Result<Vec<_>>>().map(Some)
            }
            Self::Memory(queue) => {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                let count = queue.len().min(TAKEN_MAX);
                let taken: Vec<Taken> = queue.drain(..count).map(|id| (id, 0)).collect();
                Ok(Some(taken).filter(|taken| !taken.is_empty()))
            }
        }
    }
}

/// Acks.
#[derive(Clone)]
pub(crate) enum Acker {
    Rabbit { channel: Channel, _connection: Arc<Connection> },
    Memory,
}

impl Acker {
    /// Acks these, all writes at once: awaited one by one they would cost 0.1 ms each.
    pub async fn ack(&self, tags: &[u64]) -> anyhow::Result<()> {
        if let Self::Rabbit { channel, .. } = self {
            let acks = tags.iter().map(|tag| channel.basic_ack(*tag, BasicAckOptions::default()));
            future::try_join_all(acks).await?;
        }
        Ok(())
    }
}
