//! From the broker's queue into the lanes.

use crate::Dispatcher;
use crate::finisher::Finisher;
use crate::lane::{Lane, Waiting};
use regua_broker::{Acker, Consumer, Delivery, Hint};
use regua_domain::ids::{ChannelId, MessageId};
use regua_telemetry::logging::Chain;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Hints that are looked up at once.
const BATCH_MAX: usize = 256;
/// How long a ledger that can't be asked is waited for before the next try.
const LOCATE_AGAIN: Duration = Duration::from_millis(200);

/// Takes hints until the shutdown begins, then lets the lanes and the finisher end.
pub async fn run(dispatcher: &Arc<Dispatcher>, mut hints: Consumer<Hint>, finisher: Finisher, finishing: JoinHandle<()>) {
    let acker = hints.acker();
    let mut lanes = Lanes { dispatcher, finisher: &finisher, acker: &acker, senders: HashMap::new(), tasks: JoinSet::new() };
    loop {
        let batch = tokio::select! {
            () = dispatcher.process.shutdown.begun() => break,
            batch = hints.next_batch(BATCH_MAX) => match batch {
                Some(batch) => batch,
                None => break,
            },
        };
        lanes.sort(batch).await;
    }
    hints.cancel();
    lanes.end().await;
    drop(finisher);
    if let Err(error) = finishing.await {
        tracing::error!(%error, "finisher.panicked: its attempts will be in doubt when their leases expire");
    }
    hints.close().await;
}

struct Lanes<'a> {
    dispatcher: &'a Arc<Dispatcher>,
    finisher: &'a Finisher,
    acker: &'a Acker,
    senders: HashMap<ChannelId, mpsc::UnboundedSender<Waiting>>,
    tasks: JoinSet<()>,
}

impl Lanes<'_> {
    /// Puts each hint into the lane of its channel.
    async fn sort(&mut self, batch: Vec<Delivery<Hint>>) {
        let (ours, foreign): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|hint| hint.ledger == Some(self.dispatcher.pipeline.ledger_id));
        if !foreign.is_empty() {
            self.dispatcher.events.foreign_hints(foreign.len());
            self.acker.ack(foreign.into_iter().map(|hint| hint.ack));
        }
        if ours.is_empty() {
            return;
        }
        let Some(channels) = self.locate(&ours).await else { return };
        for hint in ours {
            if let Some(channel) = channels.get(&hint.body.message) {
                self.enter(*channel, hint);
            } else {
                // Our own ledger doesn't have a message that it once committed.
                let (pipeline, shutdown) = (&self.dispatcher.pipeline, &self.dispatcher.process.shutdown);
                regua_pipeline::ledger_went_back(pipeline, shutdown, &format!("message {}", hint.body.message)).await;
                self.acker.ack([hint.ack]);
            }
        }
    }

    /// The channels of the hinted messages; `None` when the shutdown began before the ledger answered: the hints go back to the queue.
    async fn locate(&self, hints: &[Delivery<Hint>]) -> Option<HashMap<MessageId, ChannelId>> {
        let ids: Vec<MessageId> = hints.iter().map(|hint| hint.body.message).collect();
        loop {
            match self.dispatcher.pipeline.ledger.locate(&ids).await {
                Ok(found) => return Some(found.into_iter().collect()),
                Err(error) => tracing::debug!(error = %Chain(&error), "dispatcher.hints_not_located"),
            }
            tokio::select! {
                () = self.dispatcher.process.shutdown.begun() => return None,
                () = tokio::time::sleep(LOCATE_AGAIN) => {}
            }
        }
    }

    fn enter(&mut self, channel: ChannelId, hint: Delivery<Hint>) {
        let waiting = Waiting { message: hint.body.message, trace: hint.trace, ack: hint.ack, since: Instant::now() };
        let Err(mpsc::error::SendError(waiting)) = self.lane(channel).send(waiting) else { return };
        // The lane has panicked, which was logged where it was joined; its messages are found as lost hints.
        self.senders.remove(&channel);
        if self.lane(channel).send(waiting).is_err() {
            tracing::error!(%channel, "lane.gone: the hint goes back to the queue when this dispatcher ends");
        }
    }

    /// The lane of a channel, begun with its first hint.
    fn lane(&mut self, channel: ChannelId) -> &mpsc::UnboundedSender<Waiting> {
        let (dispatcher, finisher, acker, tasks) = (self.dispatcher, self.finisher, self.acker, &mut self.tasks);
        self.senders.entry(channel).or_insert_with(|| {
            // Unbounded in type: the prefetch bounds what all lanes hold together.
            let (sender, receiver) = mpsc::unbounded_channel();
            tasks.spawn(Lane::new(Arc::clone(dispatcher), channel, receiver, finisher.clone(), acker.clone()).run());
            sender
        })
    }

    /// Lets the lanes give back what they hold and end.
    async fn end(&mut self) {
        self.senders.clear();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "lane.panicked");
            }
        }
    }
}
