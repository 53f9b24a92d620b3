//! (c) raw: hints in, start rows, request, finish rows, ack; lanes and places as in the dispatcher, so that as many requests are under way.

use super::hints::{Acker, Consumer, Taken};
use super::{Batch, Ended, Plan, Planned, Raw, http};
use crate::world::World;
use anyhow::Context as _;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Messages of one channel and dispatcher under way at once, as the dispatcher's `IN_FLIGHT_MAX`.
pub(crate) const PLACES: usize = 32;
/// Results that one transaction writes.
const FINISH_MAX: usize = 256;

/// A result with its hint and its place.
struct Result {
    ended: Ended,
    tag: u64,
    _place: OwnedSemaphorePermit,
}

/// A message that waits in its lane.
type Waiting = (Arc<Planned>, u64);

/// Sends every message of the plan with so many raw dispatchers, and returns when all are written as sent.
pub(crate) async fn dispatch(world: &World, plan: &Plan, dispatchers: usize) -> anyhow::Result<()> {
    let messages: HashMap<Uuid, Arc<Planned>> = plan.messages.iter().map(|message| (message.id, Arc::clone(message))).collect();
    let (messages, raw) = (Arc::new(messages), world.raw.clone());
    let (sent, mut counted) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for _ in 0..dispatchers {
        let (consumer, acker) = world.hints.consumer().await?;
        let (results, finished) = mpsc::unbounded_channel();
        tasks.spawn(finish(raw.clone(), finished, acker, sent.clone()));
        tasks.spawn(sort(consumer, Arc::clone(&messages), raw.clone(), results));
    }
    let mut missing = plan.messages.len();
    while missing > 0 {
        tokio::select! {
            Some(count) = counted.recv() => missing -= count,
            Some(ended) = tasks.join_next() => ended??,
        }
    }
    Ok(())
}

/// Takes hints into lanes, one per channel.
async fn sort(
    mut consumer: Consumer,
    messages: Arc<HashMap<Uuid, Arc<Planned>>>,
    raw: Raw,
    results: mpsc::UnboundedSender<Result>,
) -> anyhow::Result<()> {
    let client = http::client()?;
    let mut lanes: HashMap<Uuid, mpsc::UnboundedSender<Waiting>> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let hints: Option<Vec<Taken>> = tokio::select! {
            hints = consumer.next() => hints?,
            Some(ended) = tasks.join_next() => {
                let ended: anyhow::Result<()> = ended?;
                ended?;
                continue;
            }
        };
        let Some(hints) = hints else { break };
        for (id, tag) in hints {
            let message = messages.get(&id).context("a hint of this plan")?;
            let lane = lanes.entry(message.channel).or_insert_with(|| {
                let (sender, waiting) = mpsc::unbounded_channel();
                tasks.spawn(lane(waiting, raw.clone(), client.clone(), results.clone()));
                sender
            });
            lane.send((Arc::clone(message), tag)).ok().context("the lane is there")?;
        }
    }
    drop(lanes);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Starts what waits as places come free.
async fn lane(
    mut waiting: mpsc::UnboundedReceiver<Waiting>,
    raw: Raw,
    client: reqwest::Client,
    results: mpsc::UnboundedSender<Result>,
) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(PLACES));
    let mut attempts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let mut batch = Vec::with_capacity(PLACES);
    loop {
        // At least one place, then as many as are free.
        drop(places.acquire().await?);
        if waiting.recv_many(&mut batch, places.available_permits().max(1)).await == 0 {
            break;
        }
        raw.write(Batch::Start { rows: batch.iter().map(|(message, _)| Arc::clone(message)).collect() }).await?;
        for (message, tag) in batch.drain(..) {
            let place = Arc::clone(&places).acquire_owned().await?;
            let (client, results) = (client.clone(), results.clone());
            attempts.spawn(async move {
                let ended = http::send(&client, message).await?;
                results.send(Result { ended, tag, _place: place }).ok().context("the finisher is there")
            });
        }
        while let Some(ended) = attempts.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = attempts.join_next().await {
        ended??;
    }
    Ok(())
}

/// Writes what came in since the last transaction, acks, frees the places.
async fn finish(
    raw: Raw,
    mut results: mpsc::UnboundedReceiver<Result>,
    acker: Acker,
    sent: mpsc::UnboundedSender<usize>,
) -> anyhow::Result<()> {
    let mut batch = Vec::with_capacity(FINISH_MAX);
    while results.recv_many(&mut batch, FINISH_MAX).await > 0 {
        raw.write(Batch::Finish { rows: batch.iter().map(|result| result.ended.clone()).collect() }).await?;
        let tags: Vec<u64> = batch.iter().map(|result| result.tag).collect();
        acker.ack(&tags).await?;
        sent.send(batch.len()).ok().context("somebody counts")?;
        batch.clear();
    }
    Ok(())
}
