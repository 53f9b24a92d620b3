//! A look at the server by a connection of its own: nothing is declared that isn't there, nothing is consumed, and what is published no queue
//! takes.

use super::endpoint::Endpoint;
use super::link::{LinkError, Step, within};
use super::socket;
use super::topology::{Declared, Topology};
use crate::{BrokerError, DEFAULT_PREFIX};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties, ErrorKind};
use secrecy::SecretString;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// What was seen of a RabbitMQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerFacts {
    /// Its version, as it introduces itself; `None` over TLS, and for what isn't RabbitMQ.
    pub version: Option<String>,
    /// Whether it takes what is published.
    pub publishing: Publishing,
    /// The four queues of Régua's, dead-letter queues first.
    pub queues: Vec<QueueFacts>,
}

/// What became of messages that no queue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// They were confirmed.
    Works,
    /// The server has an alarm of memory or disk, and blocks whoever publishes (`connection.blocked`).
    Blocked,
    /// No confirm came within 5 s, and no word of an alarm.
    Unconfirmed,
    /// The exchange isn't there: the first service that connects declares it.
    NoExchange,
}

/// What was seen of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFacts {
    /// Its name.
    pub name: String,
    /// Whether it takes what can't be decoded.
    pub is_dead: bool,
    /// How it is.
    pub state: QueueState,
}

/// How a queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueState {
    /// It isn't there: the first service that connects declares it.
    Missing,
    /// It is there, but not as Régua declares it (a quorum queue with its own dead-letter queue).
    Different,
    /// It is as it should be.
    There {
        /// Messages that wait, without those that consumers hold.
        ready: u32,
        /// Who consumes it.
        consumers: u32,
    },
}

/// How long the server may take to introduce itself.
const INTRODUCTION_MAX: Duration = Duration::from_secs(3);
/// A routing key that no queue is bound by.
const UNROUTED: &str = "check";
/// How often the connection's state is looked at, which says whether the server has said that it blocks.
const BLOCKED_EVERY: Duration = Duration::from_millis(20);
/// A longer introduction isn't read.
const INTRODUCTION_BYTES_MAX: usize = 16 * 1024;
/// How AMQP 0-9-1 begins.
const PROTOCOL: &[u8] = b"AMQP\x00\x00\x09\x01";

/// Looks at the server of a URL that isn't `memory:`.
///
/// # Errors
/// [`BrokerError::Url`], or [`BrokerError::Unavailable`] with what is wrong.
pub async fn inspect(url: &SecretString) -> Result<BrokerFacts, BrokerError> {
    let (endpoint, topology) = (Endpoint::parse(url)?, Topology::new(DEFAULT_PREFIX)?);
    let looked = look(&endpoint, &topology).await;
    let (publishing, queues) =
        looked.map_err(|error| BrokerError::Unavailable { problem: format!("RabbitMQ at {endpoint}: {error}") })?;
    let version = match endpoint.plain_address() {
        Some(address) => {
            timeout(INTRODUCTION_MAX, introduction(address)).await.ok().and_then(Result::ok).as_deref().and_then(version)
        }
        None => None,
    };
    Ok(BrokerFacts { version, publishing, queues })
}

async fn look(endpoint: &Endpoint, topology: &Topology) -> Result<(Publishing, Vec<QueueFacts>), LinkError> {
    let properties = ConnectionProperties::default().with_connection_name("regua check".into());
    let (connection, _cutter) = socket::connect(endpoint.uri(), properties).await?;
    let mut queues = Vec::new();
    for declared in topology.declared() {
        let (name, is_dead) = (declared.name.to_string(), declared.is_dead);
        queues.push(QueueFacts { name, is_dead, state: queue(&connection, declared).await? });
    }
    let publishing = publishing(&connection, topology).await?;
    // What was seen was seen, however the parting goes. One that is blocked isn't heard any more: it is cut.
    if publishing != Publishing::Blocked
        && let Err(error) = within(Step::Close, connection.close(200, "looked".into())).await
    {
        debug!(%error, "broker.close");
    }
    Ok((publishing, queues))
}

/// RabbitMQ blocks only who publishes, and with a connection's first message, which it may still confirm (3.10 does): the second one tells.
async fn publishing(connection: &Connection, topology: &Topology) -> Result<Publishing, LinkError> {
    let twice = async {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let publish = async || {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            channel.basic_publish(topology.exchange(), UNROUTED.into(), options, &[], properties).await?.await
        };
        publish().await?;
        publish().await
    };
    let blocked = async {
        while !connection.status().blocked() {
            sleep(BLOCKED_EVERY).await;
        }
    };
    let confirmed = tokio::select! {
        () = blocked => return Ok(Publishing::Blocked),
        confirmed = within(Step::Confirm, twice) => confirmed,
    };
    match confirmed {
        Ok(Confirmation::Ack(_)) => Ok(Publishing::Works),
        Ok(Confirmation::Nack(_) | Confirmation::NotRequested) | Err(LinkError::TimedOut { .. }) => Ok(Publishing::Unconfirmed),
        Err(error) if refused(&error, &AMQPSoftError::NOTFOUND) => Ok(Publishing::NoExchange),
        Err(error) => Err(error),
    }
}

/// A passive declaration tells whether a queue is there, an active one of what is there whether it is the same. Each has a channel of its own,
/// for a refusal ends the channel.
async fn queue(connection: &Connection, declared: Declared) -> Result<QueueState, LinkError> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let channel = within(Step::Open, connection.create_channel()).await?;
    match within(Step::Depth, channel.queue_declare(declared.name.clone(), passive, FieldTable::default())).await {
        Err(error) if refused(&error, &AMQPSoftError::NOTFOUND) => return Ok(QueueState::Missing),
        seen => seen?,
    };
    match within(Step::Declare, channel.queue_declare(declared.name, QueueDeclareOptions::durable(), declared.arguments)).await {
        Ok(queue) => Ok(QueueState::There { ready: queue.message_count(), consumers: queue.consumer_count() }),
        Err(error) if refused(&error, &AMQPSoftError::PRECONDITIONFAILED) => Ok(QueueState::Different),
        Err(error) => Err(error),
    }
}

fn refused(error: &LinkError, with: &AMQPSoftError) -> bool {
    let LinkError::Failed { error, .. } = error else { return false };
    matches!(error.kind(), ErrorKind::ProtocolError(answer) if matches!(answer.kind(), AMQPErrorKind::Soft(soft) if soft == with))
}

/// The server's first frame. lapin reads it and keeps it to itself.
async fn introduction((host, port): (String, u16)) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.write_all(PROTOCOL).await?;
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(INTRODUCTION_BYTES_MAX);
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

/// The text `version` among the server's properties: a short string, `S`, a length of four bytes, the text. Only what looks like a version.
fn version(frame: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\x07versionS";
    let at = frame.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let length = u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?);
    let text = frame.get(at + 4..at + 4 + usize::try_from(length).ok()?)?;
    let text = std::str::from_utf8(text).ok()?;
    let is_version = text.len() <= 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c));
    is_version.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_version_is_read_from_its_introduction_and_nothing_else_is_taken_for_one() {
        let frame = |text: &str| {
            [
                b"\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x40\x07versionS".as_slice(),
                &u32::try_from(text.len()).unwrap_or(0).to_be_bytes(),
                text.as_bytes(),
            ]
            .concat()
        };
        assert_eq!(version(&frame("3.10.8")).as_deref(), Some("3.10.8"));
        assert_eq!(version(&frame("a b\n")), None);
        assert_eq!(version(&frame("3.10.8")[..20]), None);
        assert_eq!(version(b""), None);
    }
}
