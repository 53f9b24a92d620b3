//! The broker over RabbitMQ, 3.10 to 4.x: quorum queues, publisher confirms, one connection to publish and one for each consumer.
//!
//! There is one way to recover: a link that fails, stalls or surprises is dropped and rebuilt from scratch, topology included. lapin's own
//! recovery is left off, it was seen to hang after the server's application was stopped and started.

mod acks;
mod endpoint;
pub(crate) mod inspection;
mod link;
mod publisher;
mod socket;
mod subscription;
mod topology;

use crate::consumer::{Consumer, PREFETCH_MAX};
use crate::message::{Body, Envelope, Hint, Queue, Tick};
use crate::status::{Board, BrokerStatus, LinkRole};
use crate::{Broker, BrokerError, PublishError};
use async_trait::async_trait;
use publisher::Publisher;
use regua_domain::ids::{LedgerId, MessageId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

pub(crate) use link::Server;

/// How long [`Broker::close`] waits for the links to end; each step inside has a shorter bound of its own.
const CLOSE_MAX: Duration = Duration::from_secs(15);

/// The broker of `amqp:` and `amqps:`.
pub(crate) struct RabbitMq {
    server: Arc<Server>,
    publisher: Publisher,
    board: Arc<Board>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl RabbitMq {
    /// Starts to connect in the background.
    pub(crate) fn start(server: Server, ledger: LedgerId) -> Self {
        let server = Arc::new(server);
        let board = Arc::new(Board::default());
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let reporter = board.open(LinkRole::Publish);
        let publisher = Publisher::start(Arc::clone(&server), ledger, reporter, closing.clone(), &tasks);
        Self { server, publisher, board, closing, tasks }
    }

    fn consumer<T: Body>(&self, prefetch: u16) -> Consumer<T> {
        let prefetch = prefetch.clamp(1, PREFETCH_MAX);
        let role = match T::QUEUE {
            Queue::Ticks => LinkRole::Ticks,
            Queue::Hints => LinkRole::Hints,
        };
        let (server, reporter) = (Arc::clone(&self.server), self.board.open(role));
        Consumer::start(prefetch, &self.closing, &self.tasks, move |feed| subscription::run(server, feed, prefetch, reporter))
    }
}

#[async_trait]
impl Broker for RabbitMq {
    async fn publish_ticks(&self, ticks: &[Envelope<Tick>]) -> Result<(), PublishError> {
        match self.publisher.publish(ticks).await?.len() {
            0 => Ok(()),
            count => Err(PublishError::Unconfirmed { count }),
        }
    }

    async fn publish_hints(&self, hints: &[Envelope<Hint>]) -> Result<Vec<MessageId>, PublishError> {
        Ok(self.publisher.publish(hints).await?.into_iter().map(MessageId).collect())
    }

    fn ticks(&self, prefetch: u16) -> Consumer<Tick> {
        self.consumer(prefetch)
    }

    fn hints(&self, prefetch: u16) -> Consumer<Hint> {
        self.consumer(prefetch)
    }

    async fn ready_hints(&self) -> Result<u64, BrokerError> {
        self.publisher.ready(Queue::Hints).await
    }

    fn system(&self) -> &'static str {
        "rabbitmq"
    }

    fn status(&self) -> BrokerStatus {
        self.board.status()
    }

    async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        if timeout(CLOSE_MAX, self.tasks.wait()).await.is_err() {
            warn!(links = self.tasks.len(), "broker.close_timed_out");
        }
    }
}
