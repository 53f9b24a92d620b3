//! The consumer's side that both adapters share: deliveries in, acks out, from any task and in any order.

use crate::message::Delivery;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The largest prefetch: RabbitMQ refuses more on a quorum queue.
pub const PREFETCH_MAX: u16 = 2000;

/// What acknowledges one delivery, once: it can't be copied, and handing it to an [`Acker`] uses it up.
///
/// A tag of a link that was lost meanwhile acknowledges nothing: its delivery has gone back to the queue and comes again.
/// Dropping a tag leaves its delivery unacked until the consumer ends, and so holds a place of the prefetch.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a delivery that is not acked comes again"]
pub struct AckTag {
    pub(crate) generation: u64,
    pub(crate) tag: u64,
}

/// Acknowledges deliveries of one consumer, from any task and in any order.
#[derive(Clone, Debug)]
pub struct Acker {
    /// Unbounded in type, bounded in fact: each delivery has one tag, and the prefetch bounds what is out on a link.
    acks: mpsc::UnboundedSender<AckTag>,
}

impl Acker {
    /// Hands tags over and returns at once; they are written in batches within milliseconds.
    ///
    /// After the consumer has ended it does nothing: what was not acked by then comes again, to another consumer.
    pub fn ack(&self, tags: impl IntoIterator<Item = AckTag>) {
        for tag in tags {
            if self.acks.send(tag).is_err() {
                return;
            }
        }
    }
}

/// A subscription to one queue. It outlives its link: a lost one is rebuilt inside, with backoff, for ever. What was handed out on a lost
/// link no longer counts towards the prefetch, since the queue has it back.
///
/// Dropping it, or [`Consumer::close`], writes the acks that were handed over; the rest returns to the queue.
#[derive(Debug)]
pub struct Consumer<T> {
    deliveries: mpsc::Receiver<Delivery<T>>,
    acker: Acker,
    generation: Arc<AtomicU64>,
    cancelled: CancellationToken,
    ended: DropGuard,
    task: tokio::task::JoinHandle<()>,
}

/// The adapter's end of a [`Consumer`].
pub(crate) struct Feed<T> {
    /// As many places as the prefetch.
    pub(crate) deliveries: mpsc::Sender<Delivery<T>>,
    pub(crate) acks: mpsc::UnboundedReceiver<AckTag>,
    /// The link's number, raised when a link is lost: what is older is neither handed out nor acked.
    pub(crate) generation: Arc<AtomicU64>,
    /// Take nothing more from the queue; acks still count.
    pub(crate) cancelled: CancellationToken,
    /// Write what was acked, return the rest, end.
    pub(crate) ended: CancellationToken,
}

impl<T: Send + 'static> Consumer<T> {
    /// Makes a consumer and starts its adapter's loop `run` among `tasks`; `closing` ends it.
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(
        prefetch: u16,
        closing: &CancellationToken,
        tasks: &TaskTracker,
        run: impl FnOnce(Feed<T>) -> F,
    ) -> Self {
        let (sender, deliveries) = mpsc::channel(usize::from(prefetch));
        let (acker, acks) = mpsc::unbounded_channel();
        let generation = Arc::new(AtomicU64::new(0));
        let ended = closing.child_token();
        let cancelled = ended.child_token();
        let feed = Feed {
            deliveries: sender,
            acks,
            generation: Arc::clone(&generation),
            cancelled: cancelled.clone(),
            ended: ended.clone(),
        };
        let task = tasks.spawn(run(feed));
        Self { deliveries, acker: Acker { acks: acker }, generation, cancelled, ended: ended.drop_guard(), task }
    }

    /// Waits for at least one delivery, then takes what is there without waiting, at most `max` (0 is read as 1).
    ///
    /// `None` once the consumer was cancelled or the broker closed, and only then. Dropping the future loses nothing.
    pub async fn next_batch(&mut self, max: usize) -> Option<Vec<Delivery<T>>> {
        loop {
            let mut batch = Vec::new();
            let taken = tokio::select! {
                biased;
                () = self.cancelled.cancelled() => return None,
                taken = self.deliveries.recv_many(&mut batch, max.max(1)) => taken,
            };
            if taken == 0 {
                return None;
            }
            let generation = self.generation.load(Ordering::Acquire);
            batch.retain(|delivery| delivery.ack.generation == generation);
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    /// What acknowledges this consumer's deliveries, to be cloned into tasks.
    pub fn acker(&self) -> Acker {
        self.acker.clone()
    }

    /// As [`Acker::ack`].
    pub fn ack(&self, tags: impl IntoIterator<Item = AckTag>) {
        self.acker.ack(tags);
    }

    /// Stops consuming: [`Consumer::next_batch`] returns `None` from now on. What is out can still be acked until the consumer ends.
    pub fn cancel(&self) {
        self.cancelled.cancel();
    }

    /// Ends the consumer and waits until its acks are written and the rest has been returned to the queue, within the adapter's time-outs.
    pub async fn close(self) {
        let Self { ended, task, deliveries, .. } = self;
        drop(ended);
        drop(deliveries);
        if let Err(panic) = task.await {
            tracing::error!(%panic, "broker.consumer_panicked");
        }
    }
}
