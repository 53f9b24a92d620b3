//! The broker inside one process: two bounded queues without a disk, because the ledger is the truth and hints are idempotent.

use crate::consumer::{AckTag, Consumer, Feed, PREFETCH_MAX};
use crate::message::{Body, Delivery, Envelope, Hint, Tick};
use crate::status::{Board, BrokerStatus};
use crate::{Broker, BrokerError, PublishError};
use async_trait::async_trait;
use regua_domain::ids::{LedgerId, MessageId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many may wait in one queue. Publishing to a full one never waits (it would deadlock with a consumer that waits for the
/// publisher's database lock, failure-schedules F26 g): what doesn't fit is told as unconfirmed. Bounded release stays far below.
pub const READY_MAX: usize = 65_536;

/// The broker of `memory:`.
pub(crate) struct MemoryBroker {
    ledger: LedgerId,
    ticks: Arc<MemoryQueue<Tick>>,
    hints: Arc<MemoryQueue<Hint>>,
    board: Board,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl MemoryBroker {
    pub(crate) fn new(ledger: LedgerId) -> Self {
        Self {
            ledger,
            ticks: Arc::default(),
            hints: Arc::default(),
            board: Board::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn consumer<T: Body>(&self, queue: &Arc<MemoryQueue<T>>, prefetch: u16) -> Consumer<T> {
        let prefetch = prefetch.clamp(1, PREFETCH_MAX);
        let (queue, ledger) = (Arc::clone(queue), self.ledger);
        Consumer::start(prefetch, &self.closing, &self.tasks, move |feed| deliver(queue, feed, usize::from(prefetch), ledger))
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn publish_ticks(&self, ticks: &[Envelope<Tick>]) -> Result<(), PublishError> {
        if self.closing.is_cancelled() {
            return Err(PublishError::Closed);
        }
        match self.ticks.publish(ticks).len() {
            0 => Ok(()),
            count => Err(PublishError::Unconfirmed { count }),
        }
    }

    async fn publish_hints(&self, hints: &[Envelope<Hint>]) -> Result<Vec<MessageId>, PublishError> {
        if self.closing.is_cancelled() {
            return Err(PublishError::Closed);
        }
        Ok(self.hints.publish(hints).iter().map(|hint| hint.body.message).collect())
    }

    fn ticks(&self, prefetch: u16) -> Consumer<Tick> {
        self.consumer(&self.ticks, prefetch)
    }

    fn hints(&self, prefetch: u16) -> Consumer<Hint> {
        self.consumer(&self.hints, prefetch)
    }

    async fn ready_hints(&self) -> Result<u64, BrokerError> {
        if self.closing.is_cancelled() {
            return Err(BrokerError::Closed);
        }
        Ok(self.hints.ready().len() as u64)
    }

    fn system(&self) -> &'static str {
        "memory"
    }

    fn status(&self) -> BrokerStatus {
        self.board.status()
    }

    async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// One queue: what waits, oldest first, and a bell for the consumers that compete for it.
struct MemoryQueue<T> {
    ready: Mutex<VecDeque<Waiting<T>>>,
    arrived: Notify,
}

#[derive(Clone)]
struct Waiting<T> {
    envelope: Envelope<T>,
    redelivered: bool,
}

impl<T> Default for MemoryQueue<T> {
    fn default() -> Self {
        Self { ready: Mutex::default(), arrived: Notify::new() }
    }
}

impl<T: Body> MemoryQueue<T> {
    /// Appends what fits and returns the rest.
    fn publish<'a>(&self, envelopes: &'a [Envelope<T>]) -> &'a [Envelope<T>] {
        let mut ready = self.ready();
        let (fits, rest) = envelopes.split_at(envelopes.len().min(READY_MAX.saturating_sub(ready.len())));
        ready.extend(fits.iter().map(|envelope| Waiting { envelope: envelope.clone(), redelivered: false }));
        drop(ready);
        self.arrived.notify_waiters();
        rest
    }

    /// Takes the oldest, waiting for one. Nothing is taken by a future that is dropped.
    async fn take(&self) -> Waiting<T> {
        loop {
            // Made before the look, so that what arrives between the look and the wait rings it.
            let arrived = self.arrived.notified();
            if let Some(oldest) = self.ready().pop_front() {
                return oldest;
            }
            arrived.await;
        }
    }

    /// Puts back, in their order and before all others, what a consumer didn't ack. They were here before, so no bound refuses them:
    /// the queue exceeds [`READY_MAX`] by at most the prefetches of its consumers.
    fn give_back(&self, unacked: impl DoubleEndedIterator<Item = Waiting<T>>) {
        let mut ready = self.ready();
        for waiting in unacked.rev() {
            ready.push_front(Waiting { redelivered: true, ..waiting });
        }
        drop(ready);
        self.arrived.notify_waiters();
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<Waiting<T>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One consumer's loop: keeps at most `prefetch` out, forgets what is acked, gives back the rest at its end.
async fn deliver<T: Body>(queue: Arc<MemoryQueue<T>>, mut feed: Feed<T>, prefetch: usize, ledger: LedgerId) {
    let mut unacked = BTreeMap::new();
    let mut tag = 0;
    let mut taking = true;
    loop {
        tokio::select! {
            biased;
            () = feed.ended.cancelled() => break,
            () = feed.cancelled.cancelled(), if taking => taking = false,
            Some(ack) = feed.acks.recv() => {
                unacked.remove(&ack.tag);
            }
            waiting = queue.take(), if taking && unacked.len() < prefetch => {
                tag += 1;
                let delivery = Delivery {
                    body: waiting.envelope.body,
                    trace: waiting.envelope.trace.clone(),
                    ledger: Some(ledger),
                    redelivered: waiting.redelivered,
                    ack: AckTag { generation: 0, tag },
                };
                unacked.insert(tag, waiting);
                // It has a place for each unacked one, so it is never full; if it is closed, the consumer was dropped and takes no more.
                taking = feed.deliveries.try_send(delivery).is_ok();
            }
        }
    }
    while let Ok(ack) = feed.acks.try_recv() {
        unacked.remove(&ack.tag);
    }
    queue.give_back(unacked.into_values());
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn hints(count: usize) -> Vec<Envelope<Hint>> {
        (0..count).map(|_| Hint { message: MessageId(Uuid::now_v7()) }.into()).collect()
    }

    #[tokio::test]
    async fn f26g_what_does_not_fit_is_unconfirmed_and_publishing_never_waits() {
        let broker = MemoryBroker::new(LedgerId(Uuid::now_v7()));
        let batch = hints(READY_MAX + 3);
        let unconfirmed = broker.publish_hints(&batch).await.expect("tried");
        let rest: Vec<MessageId> = batch[READY_MAX..].iter().map(|hint| hint.body.message).collect();
        assert_eq!(unconfirmed, rest);
        assert_eq!(broker.ready_hints().await, Ok(READY_MAX as u64));
        assert_eq!(broker.publish_hints(&hints(2)).await.expect("tried").len(), 2);
    }
}
