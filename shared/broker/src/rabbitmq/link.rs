//! One connection with one channel and the topology declared: made from scratch each time, with a bound on every step.

use super::endpoint::Endpoint;
use super::socket::{self, Cutter};
use super::topology::Topology;
use crate::BrokerError;
use crate::status::LinkRole;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use regua_telemetry::retry::RetryPolicy;
use secrecy::SecretString;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::time::timeout;
use tracing::debug;

/// How long to wait before a lost link is built again.
pub(super) const RECONNECT: RetryPolicy =
    RetryPolicy { initial: Duration::from_millis(200), multiplier: 2.0, max: Duration::from_secs(10) };
/// How often an idle link is looked at: a connection that died without an event is found this soon.
pub(super) const LIVENESS_EVERY: Duration = Duration::from_millis(500);

/// What is asked of the server, each with its bound of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Name resolution, TCP, TLS.
    Dial,
    /// All of dialling, login, virtual host.
    Connect,
    /// A channel, its confirms and its prefetch.
    Open,
    /// Exchange, queues and bindings together; a new quorum queue elects its leader.
    Declare,
    /// A queue's depth.
    Depth,
    /// Starting or stopping a subscription.
    Subscribe,
    /// Writing one message to the socket: it waits while the server blocks publishers.
    Publish,
    /// The confirm of one message, once written.
    Confirm,
    /// Writing acks to the socket.
    Ack,
    /// Closing the connection.
    Close,
}

impl Step {
    /// The longest that it may take.
    pub(super) const fn bound(self) -> Duration {
        Duration::from_secs(match self {
            Self::Connect | Self::Declare => 10,
            Self::Dial | Self::Open | Self::Depth | Self::Subscribe | Self::Publish | Self::Confirm | Self::Ack => 5,
            Self::Close => 3,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dial | Self::Connect => "connecting",
            Self::Open => "opening a channel",
            Self::Declare => "declaring the queues",
            Self::Depth => "reading the queue's depth",
            Self::Subscribe => "subscribing to the queue",
            Self::Publish => "publishing",
            Self::Confirm => "waiting for a publisher confirm",
            Self::Ack => "acknowledging",
            Self::Close => "closing",
        })
    }
}

/// Why a link is dropped. Its text is for a person and never holds a password.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("{step} took longer than {} s", step.bound().as_secs())]
    TimedOut { step: Step },
    #[error("{step} failed: {}", words(error))]
    Failed { step: Step, error: lapin::Error },
    #[error("the server ended the subscription: the queue was deleted or moved")]
    Unsubscribed,
    #[error("a published message was returned: no queue is bound")]
    Returned,
    #[error("the connection was lost")]
    Lost,
    #[error("publishing was blocked, the connection is built again")]
    WasBlocked,
}

/// Does one step within its bound.
pub(super) async fn within<T>(step: Step, work: impl Future<Output = lapin::Result<T>>) -> Result<T, LinkError> {
    match timeout(step.bound(), work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(LinkError::Failed { step, error }),
        Err(_) => Err(LinkError::TimedOut { step }),
    }
}

/// What lapin's error means to the person who has to mend it.
fn words(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(answer) => match answer.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
                "RabbitMQ refuses this user or password, or the user lacks a permission on the virtual host (ACCESS_REFUSED)"
                    .to_owned()
            }
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
                "RabbitMQ doesn't know this virtual host, or this user has no access to it (NOT_ALLOWED)".to_owned()
            }
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
                format!("it exists with other properties, delete it if it isn't ours ({answer})")
            }
            AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => answer.to_string(),
        },
        ErrorKind::IOError(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "nothing listens there (connection refused)".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The server as every link of a broker needs it.
pub(crate) struct Server {
    endpoint: Endpoint,
    pub(super) topology: Topology,
}

impl Server {
    /// # Errors
    /// [`BrokerError::Url`] or [`BrokerError::Prefix`].
    pub(crate) fn new(url: &SecretString, prefix: &str) -> Result<Self, BrokerError> {
        Ok(Self { endpoint: Endpoint::parse(url)?, topology: Topology::new(prefix)? })
    }

    /// Connects, opens a channel and declares the topology.
    pub(super) async fn link(&self, role: LinkRole) -> Result<Link, LinkError> {
        let name = format!("regua {}", role.as_str());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let (connection, cutter) = socket::connect(self.endpoint.uri(), properties).await?;
        let channel = within(Step::Open, connection.create_channel()).await?;
        self.topology.declare(&channel).await?;
        Ok(Link { channel, connection, _cutter: cutter })
    }

    /// An error with the place where it happened, for the status.
    pub(super) fn problem(&self, error: &LinkError) -> String {
        format!("RabbitMQ at {}: {error}", self.endpoint)
    }
}

/// A connection and its channel. Dropping it cuts the connection, whatever state it is in: what is unacked returns to its queue.
pub(super) struct Link {
    pub(super) channel: Channel,
    connection: Connection,
    _cutter: Cutter,
}

impl Link {
    /// Whether both still look alive from here.
    pub(super) fn is_alive(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Whether the server has said that it takes nothing from publishers now.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Closes the connection, which returns what is unacked to its queue, and waits for the server's answer.
    pub(super) async fn close(self) {
        if let Err(error) = within(Step::Close, self.connection.close(200, "closing".into())).await {
            debug!(%error, "broker.close");
        }
    }
}

/// How long to wait before attempt `attempt` + 1, with a jitter drawn here.
pub(super) fn reconnect_delay(attempt: u32) -> Duration {
    RECONNECT.delay(attempt, rand::random::<f64>())
}
