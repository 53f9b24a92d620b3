//! One consumer's loop over RabbitMQ: subscribe, decode, hand out, write acks; rebuild from scratch when anything fails.

use super::acks::AckBook;
use super::link::{LIVENESS_EVERY, Link, LinkError, Server, Step, reconnect_delay, within};
use crate::consumer::{AckTag, Feed};
use crate::message::{BODY_MAX, Body, Delivery, Wire, decode};
use crate::status::{LinkReporter, LinkState};
use futures::{StreamExt, future};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// Acks are written when this many wait…
const ACKS_MAX: usize = 100;
/// …or the first has waited this long.
const ACK_EVERY: Duration = Duration::from_millis(5);

/// Serves a consumer until it is cancelled and ended.
pub(super) async fn run<T: Body>(server: Arc<Server>, mut feed: Feed<T>, prefetch: u16, reporter: LinkReporter) {
    let cancelled = feed.cancelled.clone();
    let mut attempt = 0;
    loop {
        let subscription = tokio::select! {
            biased;
            () = cancelled.cancelled() => return,
            subscription = Subscription::open::<T>(&server, prefetch, &feed, &reporter) => subscription,
        };
        let error = match subscription {
            Ok(subscription) => {
                attempt = 0;
                reporter.set(&LinkState::Connected);
                match subscription.serve(&mut feed, &reporter).await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        // From here on nothing of the lost link is handed out or acked: the server has it back.
        feed.generation.fetch_add(1, Ordering::AcqRel);
        attempt += 1;
        reporter.set(&LinkState::Down { problem: server.problem(&error) });
        tokio::select! {
            biased;
            () = cancelled.cancelled() => return,
            () = sleep(reconnect_delay(attempt)) => {}
        }
    }
}

/// A link with a running subscription.
struct Subscription {
    link: Link,
    stream: lapin::Consumer,
    generation: u64,
    book: AckBook,
    /// When the pending acks are written at the latest.
    flush_at: Option<Instant>,
}

impl Subscription {
    async fn open<T: Body>(server: &Server, prefetch: u16, feed: &Feed<T>, reporter: &LinkReporter) -> Result<Self, LinkError> {
        let link = server.link(reporter.role()).await?;
        within(Step::Open, link.channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let (queue, options) = (server.topology.queue(T::QUEUE), BasicConsumeOptions::default());
        let consume = link.channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let stream = within(Step::Subscribe, consume).await?;
        let generation = feed.generation.load(Ordering::Acquire);
        Ok(Self { link, stream, generation, book: AckBook::default(), flush_at: None })
    }

    /// Hands out and acks until the consumer ends (`Ok`) or the link fails.
    async fn serve<T: Body>(mut self, feed: &mut Feed<T>, reporter: &LinkReporter) -> Result<(), LinkError> {
        let Feed { deliveries, acks, cancelled, ended, .. } = feed;
        let mut liveness = interval(LIVENESS_EVERY);
        liveness.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut consuming = true;
        let mut tags = Vec::with_capacity(ACKS_MAX);
        loop {
            let flush_at = self.flush_at;
            tokio::select! {
                biased;
                () = ended.cancelled() => break,
                () = cancelled.cancelled(), if consuming => {
                    consuming = false;
                    self.unsubscribe().await?;
                }
                _ = acks.recv_many(&mut tags, ACKS_MAX) => self.note(tags.drain(..)).await?,
                () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => self.flush().await?,
                next = next(deliveries, &mut self.stream), if consuming => {
                    let (place, delivery) = next?;
                    self.hand_out(place, delivery, reporter).await?;
                }
                _ = liveness.tick() => if !self.link.is_alive() {
                    return Err(LinkError::Lost);
                }
            }
        }
        while let Ok(tag) = acks.try_recv() {
            tags.push(tag);
        }
        self.note(tags.drain(..)).await?;
        self.flush().await?;
        self.settle(consuming).await?;
        self.link.close().await;
        Ok(())
    }

    /// Decodes one delivery and hands it out; poison is dead-lettered alone.
    async fn hand_out<T: Body>(
        &mut self,
        place: mpsc::Permit<'_, Delivery<T>>,
        delivery: lapin::message::Delivery,
        reporter: &LinkReporter,
    ) -> Result<(), LinkError> {
        let tag = delivery.delivery_tag;
        match decode::<T>(wire(&delivery)) {
            Ok(decoded) => {
                self.book.delivered(tag);
                place.send(Delivery {
                    body: decoded.body,
                    trace: decoded.trace,
                    ledger: decoded.ledger,
                    redelivered: delivery.redelivered,
                    ack: AckTag { generation: self.generation, tag },
                });
                Ok(())
            }
            Err(reason) => {
                let message_id = delivery.properties.message_id().as_ref().map(lapin::types::ShortString::as_str);
                reporter.board().poisoned(reporter.role(), reason, message_id);
                let dead_letter = BasicRejectOptions { requeue: false };
                within(Step::Ack, self.link.channel.basic_reject(tag, dead_letter)).await
            }
        }
    }

    /// Takes acks into the book, and writes them if enough wait.
    async fn note(&mut self, tags: impl Iterator<Item = AckTag>) -> Result<(), LinkError> {
        for tag in tags.filter(|tag| tag.generation == self.generation) {
            self.book.ack(tag.tag);
        }
        let pending = self.book.pending();
        if pending >= ACKS_MAX || (pending > 0 && self.book.is_all_pending()) {
            return self.flush().await;
        }
        if pending > 0 {
            self.flush_at.get_or_insert_with(|| Instant::now() + ACK_EVERY);
        }
        Ok(())
    }

    /// Writes every pending ack: the oldest run as one `multiple`, the others concurrently, since each awaited alone costs 0.1 ms.
    async fn flush(&mut self) -> Result<(), LinkError> {
        self.flush_at = None;
        let plan = self.book.take();
        let up_to = plan.up_to.map(|tag| (tag, BasicAckOptions { multiple: true }));
        let singles = plan.singles.into_iter().map(|tag| (tag, BasicAckOptions { multiple: false }));
        let writes = up_to.into_iter().chain(singles).map(|(tag, options)| self.link.channel.basic_ack(tag, options));
        within(Step::Ack, future::try_join_all(writes)).await?;
        Ok(())
    }

    /// Waits until the acks that were written have reached the queue.
    ///
    /// RabbitMQ keeps acks back in the channel beyond 32 commands that the queue has not committed (`quorum_commands_soft_limit`), and
    /// forgets those when the channel closes. What it answers only once the queue has committed all before it lets them through: ending
    /// the subscription, or, where that is done already, taking one message (which closing returns).
    async fn settle(&self, consuming: bool) -> Result<(), LinkError> {
        if consuming {
            return self.unsubscribe().await;
        }
        within(Step::Ack, self.link.channel.basic_get(self.stream.queue(), BasicGetOptions { no_ack: false })).await.map(drop)
    }

    /// Ends the subscription and keeps the channel, so that what is out can still be acked.
    async fn unsubscribe(&self) -> Result<(), LinkError> {
        within(Step::Subscribe, self.link.channel.basic_cancel(self.stream.tag(), BasicCancelOptions::default())).await
    }
}

/// A place to put a delivery, then the delivery. Dropping the future loses neither.
async fn next<'a, T>(
    deliveries: &'a mpsc::Sender<Delivery<T>>,
    stream: &mut lapin::Consumer,
) -> Result<(mpsc::Permit<'a, Delivery<T>>, lapin::message::Delivery), LinkError> {
    let Ok(place) = deliveries.reserve().await else {
        // The consumer was dropped, which also ends the loop that awaits this.
        return future::pending().await;
    };
    match stream.next().await {
        Some(Ok(delivery)) => Ok((place, delivery)),
        Some(Err(error)) => Err(LinkError::Failed { step: Step::Subscribe, error }),
        None => Err(LinkError::Unsubscribed),
    }
}

/// The parts of a delivery that say what it is.
fn wire(delivery: &lapin::message::Delivery) -> Wire<'_> {
    let headers = delivery.properties.headers().as_ref().map(FieldTable::inner);
    let header = |name: &str| headers.and_then(|headers| headers.get(name));
    Wire {
        kind: delivery.properties.kind().as_ref().map(lapin::types::ShortString::as_str),
        schema: header("schema").and_then(integer),
        ledger: header("ledger").and_then(bytes),
        trace: header("traceparent").and_then(bytes),
        body: delivery.data.get(..=BODY_MAX).unwrap_or(&delivery.data),
    }
}

/// A header's whole number, whichever of AMQP's widths the publisher chose.
fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortShortUInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortUInt(value) => Some(i64::from(*value)),
        AMQPValue::LongInt(value) => Some(i64::from(*value)),
        AMQPValue::LongUInt(value) => Some(i64::from(*value)),
        AMQPValue::LongLongInt(value) => Some(*value),
        _ => None,
    }
}

fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        _ => None,
    }
}
