//! What every test here needs: hints to publish, ways to take them, and waits that end.

use regua_broker::{AckTag, Broker, Consumer, Delivery, Envelope, Hint};
use regua_domain::ids::{LedgerId, MessageId};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long a test waits for what must happen.
pub const DEADLINE: Duration = Duration::from_mins(1);
/// How often a predicate is asked.
pub const POLL_EVERY: Duration = Duration::from_millis(20);
/// How long a test watches that something doesn't happen.
pub const WATCH: Duration = Duration::from_millis(300);

/// Another ledger each time.
pub fn ledger() -> LedgerId {
    LedgerId(Uuid::now_v7())
}

/// Hints of messages that nobody else knows.
pub fn hints(count: usize) -> Vec<Envelope<Hint>> {
    (0..count).map(|_| Hint { message: MessageId(Uuid::now_v7()) }.into()).collect()
}

/// Their messages.
pub fn messages(hints: &[Envelope<Hint>]) -> Vec<MessageId> {
    hints.iter().map(|hint| hint.body.message).collect()
}

/// The result of `future`, which must come before the deadline.
#[track_caller]
pub fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let (what, caller) = (what.to_owned(), std::panic::Location::caller());
    async move { tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{caller}: no {what} within {DEADLINE:?}")) }
}

/// Asks `probe` until it says yes, until the deadline.
pub async fn eventually(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !probe().await {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// Waits until every link of the broker works.
pub async fn connected(broker: &Arc<dyn Broker>) {
    let started = Instant::now();
    while let Some(problem) = broker.status().problem() {
        assert!(started.elapsed() < DEADLINE, "not connected within {DEADLINE:?}: {problem}");
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// Publishes, all of it confirmed.
pub async fn publish(broker: &dyn Broker, hints: &[Envelope<Hint>]) {
    let unconfirmed = soon("confirms", broker.publish_hints(hints)).await.expect("published");
    assert_eq!(unconfirmed, [], "unconfirmed of {}; the link: {:?}", hints.len(), broker.status().problem());
}

/// Takes exactly `count` deliveries.
pub async fn take<T: Send + 'static>(consumer: &mut Consumer<T>, count: usize) -> Vec<Delivery<T>> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let batch = soon("delivery", consumer.next_batch(count - taken.len())).await;
        taken.extend(batch.expect("the consumer is open"));
    }
    taken
}

/// The messages of deliveries.
pub fn seen(deliveries: &[Delivery<Hint>]) -> Vec<MessageId> {
    deliveries.iter().map(|delivery| delivery.body.message).collect()
}

/// What acks deliveries.
pub fn tags<T>(deliveries: Vec<Delivery<T>>) -> Vec<AckTag> {
    deliveries.into_iter().map(|delivery| delivery.ack).collect()
}
