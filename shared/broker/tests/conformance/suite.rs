//! What both adapters promise, each promise a function that `main.rs` runs on a fresh broker of each.

use crate::harness::{DEADLINE, POLL_EVERY, WATCH, hints, messages, publish, seen, soon, tags, take};
use regua_broker::{AckTag, Broker, BrokerError, Consumer, Envelope, Hint, PublishError, Tick};
use regua_domain::ids::{LedgerId, MessageId, RunId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// A fresh broker of one adapter and the ledger that it speaks for.
pub struct Subject {
    pub broker: Arc<dyn Broker>,
    pub ledger: LedgerId,
}

/// Nothing is delivered while the test watches.
async fn assert_silent<T: Send + 'static>(consumer: &mut Consumer<T>) {
    let batch = tokio::time::timeout(WATCH, consumer.next_batch(1)).await;
    assert!(batch.is_err(), "a delivery or an end that should not be: {}", batch.ok().flatten().map_or(0, |batch| batch.len()));
}

/// Exactly `count` hints become ready.
async fn ready(broker: &dyn Broker, count: u64) {
    let mut last = broker.ready_hints().await;
    let started = Instant::now();
    while last != Ok(count) {
        assert!(started.elapsed() < DEADLINE, "not {count} ready hints within {DEADLINE:?} but {last:?}");
        tokio::time::sleep(POLL_EVERY).await;
        last = broker.ready_hints().await;
    }
}

pub async fn ticks_and_hints_arrive_as_they_were_published(Subject { broker, ledger }: Subject) {
    let trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let run = Tick { run: RunId(Uuid::now_v7()) };
    let hint = Hint { message: MessageId(Uuid::now_v7()) };
    soon("confirms", broker.publish_ticks(&[Envelope { body: run, trace: trace.clone() }])).await.expect("published");
    publish(&*broker, &[hint.into()]).await;

    let mut ticks = broker.ticks(10);
    let tick = take(&mut ticks, 1).await.remove(0);
    assert_eq!((tick.body, &tick.trace, tick.ledger, tick.redelivered), (run, &trace, Some(ledger), false));
    ticks.ack([tick.ack]);
    let mut consumer = broker.hints(10);
    let delivery = take(&mut consumer, 1).await.remove(0);
    assert_eq!((delivery.body, &delivery.trace, delivery.ledger, delivery.redelivered), (hint, &None, Some(ledger), false));
    consumer.ack([delivery.ack]);
    soon("close", ticks.close()).await;
    soon("close", consumer.close()).await;
    // What was acked is gone: the next consumers get the next ones.
    let (run, hint) = (Tick { run: RunId(Uuid::now_v7()) }, Hint { message: MessageId(Uuid::now_v7()) });
    soon("confirms", broker.publish_ticks(&[run.into()])).await.expect("published");
    publish(&*broker, &[hint.into()]).await;
    assert_eq!(take(&mut broker.ticks(10), 1).await[0].body, run);
    assert_eq!(take(&mut broker.hints(10), 1).await[0].body, hint);
}

pub async fn a_batch_is_what_is_there_and_never_more_than_asked(Subject { broker, .. }: Subject) {
    let published = hints(2500);
    publish(&*broker, &published).await;
    let mut consumer = broker.hints(300);
    let mut taken = Vec::new();
    while taken.len() < published.len() {
        let batch = soon("delivery", consumer.next_batch(64)).await.expect("open");
        assert!((1..=64).contains(&batch.len()), "a batch of {}", batch.len());
        taken.extend(seen(&batch));
        consumer.ack(tags(batch));
    }
    assert_eq!(taken, messages(&published), "in the order of publishing");
    assert_silent(&mut consumer).await;
}

pub async fn consumers_compete_and_each_hint_goes_to_one(Subject { broker, .. }: Subject) {
    let (mut left, mut right) = (broker.hints(10), broker.hints(10));
    // Each takes its first before either acks, so both must be served.
    publish(&*broker, &hints(20)).await;
    let first = [take(&mut left, 10).await, take(&mut right, 10).await];
    let mut all: Vec<MessageId> = first.iter().flat_map(|batch| seen(batch)).collect();
    let [first_left, first_right] = first;
    left.ack(tags(first_left));
    right.ack(tags(first_right));
    let more = hints(500);
    publish(&*broker, &more).await;
    while all.len() < 520 {
        let (consumer, batch) = tokio::select! {
            batch = left.next_batch(10) => (&left, batch),
            batch = right.next_batch(10) => (&right, batch),
            () = tokio::time::sleep(DEADLINE) => panic!("only {} of 520", all.len()),
        };
        let batch = batch.expect("open");
        all.extend(seen(&batch));
        consumer.ack(tags(batch));
    }
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 520, "each once");
}

pub async fn no_more_than_the_prefetch_is_out_unacked(Subject { broker, .. }: Subject) {
    publish(&*broker, &hints(20)).await;
    let mut consumer = broker.hints(5);
    let mut out = take(&mut consumer, 5).await;
    ready(&*broker, 15).await;
    assert_silent(&mut consumer).await;
    consumer.ack([out.remove(2).ack, out.remove(0).ack]);
    out.extend(take(&mut consumer, 2).await);
    ready(&*broker, 13).await;
    assert_silent(&mut consumer).await;
}

pub async fn what_a_dropped_consumer_did_not_ack_comes_again(Subject { broker, .. }: Subject) {
    let published = hints(6);
    publish(&*broker, &published).await;
    let mut consumer = broker.hints(10);
    let mut out = take(&mut consumer, 6).await;
    consumer.ack([out.remove(4).ack, out.remove(1).ack]);
    drop(consumer);
    let mut next = broker.hints(10);
    let again = take(&mut next, 4).await;
    let expected: BTreeSet<MessageId> = [0, 2, 3, 5].map(|index| published[index].body.message).into();
    assert_eq!(BTreeSet::from_iter(seen(&again)), expected);
    assert!(again.iter().all(|delivery| delivery.redelivered));
    assert_silent(&mut next).await;
}

pub async fn acks_come_from_any_task_in_any_order(Subject { broker, .. }: Subject) {
    let published = hints(400);
    publish(&*broker, &published).await;
    let mut consumer = broker.hints(400);
    let mut lanes: [Vec<AckTag>; 7] = Default::default();
    for (index, delivery) in take(&mut consumer, 400).await.into_iter().enumerate() {
        lanes[index % 7].push(delivery.ack);
    }
    // The lane that keeps its hints is spread over the whole order, so acks of the others are never one run.
    let kept = lanes[3].len();
    let tasks: Vec<_> = lanes
        .into_iter()
        .enumerate()
        .filter(|(lane, _)| *lane != 3)
        .map(|(_, tags)| {
            let acker = consumer.acker();
            tokio::spawn(async move {
                for tag in tags.into_iter().rev() {
                    acker.ack([tag]);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task ran");
    }
    soon("close", consumer.close()).await;
    ready(&*broker, kept as u64).await;
    let mut next = broker.hints(400);
    let again = seen(&take(&mut next, kept).await);
    let expected: BTreeSet<MessageId> = published.iter().skip(3).step_by(7).map(|hint| hint.body.message).collect();
    assert_eq!(BTreeSet::from_iter(again), expected);
}

pub async fn a_cancelled_consumer_takes_no_more_and_still_acks(Subject { broker, .. }: Subject) {
    let published = hints(400);
    publish(&*broker, &published).await;
    let mut consumer = broker.hints(350);
    let out = take(&mut consumer, 300).await;
    consumer.cancel();
    assert!(soon("end", consumer.next_batch(10)).await.is_none());
    let (settled, kept): (Vec<_>, Vec<_>) = out.into_iter().enumerate().partition(|(index, _)| index % 2 == 1);
    let gone: BTreeSet<MessageId> = settled.iter().map(|(_, delivery)| delivery.body.message).collect();
    let acker = consumer.acker();
    acker.ack(settled.into_iter().rev().map(|(_, delivery)| delivery.ack));
    soon("close", consumer.close()).await;
    // An ack after the end is nothing, and harms nobody.
    acker.ack(kept.into_iter().map(|(_, delivery)| delivery.ack));
    ready(&*broker, 250).await;
    let rest = BTreeSet::from_iter(seen(&take(&mut broker.hints(400), 250).await));
    assert_eq!(rest, messages(&published).into_iter().filter(|message| !gone.contains(message)).collect());
}

pub async fn the_ready_count_is_of_what_nobody_holds(Subject { broker, .. }: Subject) {
    ready(&*broker, 0).await;
    publish(&*broker, &hints(7)).await;
    ready(&*broker, 7).await;
    let mut consumer = broker.hints(3);
    let out = take(&mut consumer, 3).await;
    ready(&*broker, 4).await;
    consumer.cancel();
    consumer.ack(tags(out));
    soon("close", consumer.close()).await;
    ready(&*broker, 4).await;
}

pub async fn an_empty_batch_is_published_by_doing_nothing(Subject { broker, .. }: Subject) {
    assert_eq!(soon("answer", broker.publish_hints(&[])).await, Ok(vec![]));
    assert_eq!(soon("answer", broker.publish_ticks(&[])).await, Ok(()));
}

pub async fn a_closed_broker_ends_its_consumers_and_takes_nothing(Subject { broker, .. }: Subject) {
    publish(&*broker, &hints(4)).await;
    let mut consumer = broker.hints(2);
    let mut idle = broker.ticks(2);
    let out = take(&mut consumer, 2).await;
    consumer.ack(tags(out));
    soon("close", broker.close()).await;
    assert!(soon("end", consumer.next_batch(1)).await.is_none());
    assert!(soon("end", idle.next_batch(1)).await.is_none());
    assert_eq!(soon("answer", broker.publish_hints(&hints(1))).await, Err(PublishError::Closed));
    assert_eq!(
        soon("answer", broker.publish_ticks(&[Tick { run: RunId(Uuid::now_v7()) }.into()])).await,
        Err(PublishError::Closed)
    );
    assert_eq!(soon("answer", broker.ready_hints()).await, Err(BrokerError::Closed));
    assert!(soon("end", broker.hints(1).next_batch(1)).await.is_none());
    soon("second close", broker.close()).await;
}
