//! The RabbitMQ adapter over servers of the tests' own, which are stopped, killed and starved under it.

use crate::harness::{connected, eventually, hints, ledger, messages, publish, seen, soon, tags, take};
use crate::namespace::Namespace;
use regua_broker::{Broker, Consumer, Hint, LinkRole, LinkState, Publishing, connect, inspect};
use regua_domain::ids::MessageId;
use regua_test_servers::RabbitMq;
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// Enough that something happens to the server long before the last is published.
const BATCH: usize = 100_000;

/// A server of the test's own.
async fn start() -> RabbitMq {
    let server = tokio::task::spawn_blocking(RabbitMq::start).await.expect("it ran");
    server.expect("RabbitMQ is installed: `cargo xtask test` sees to it")
}

/// Does something slow to the server, beside the runtime.
async fn on<T: Send + 'static>(
    mut server: RabbitMq,
    what: impl FnOnce(&mut RabbitMq) -> io::Result<T> + Send + 'static,
) -> RabbitMq {
    let done = tokio::task::spawn_blocking(move || what(&mut server).map(|_| server));
    done.await.expect("it ran").expect("the server obeyed")
}

async fn both_links_down(broker: &Arc<dyn Broker>) {
    eventually("both links down", async || {
        let problem = broker.status().problem().unwrap_or_default();
        problem.contains("publish: RabbitMQ at") && problem.contains("hints: RabbitMQ at")
    })
    .await;
}

/// Consumes and acks until each of `missing` has come.
async fn receive(consumer: &mut Consumer<Hint>, mut missing: BTreeSet<MessageId>) {
    while !missing.is_empty() {
        let batch = soon("delivery", consumer.next_batch(200)).await.expect("open");
        for message in seen(&batch) {
            missing.remove(&message);
        }
        consumer.ack(tags(batch));
    }
}

/// Takes the server away in the middle of a batch by `away` and brings it back by `back`.
async fn interrupt(away: fn(&mut RabbitMq) -> io::Result<()>, back: fn(&mut RabbitMq) -> io::Result<()>) {
    let server = start().await;
    let namespace = Namespace::on(server.amqp_url());
    let broker = namespace.broker(ledger());
    let mut consumer = broker.hints(200);
    connected(&broker).await;
    // RabbitMQ 3.10 writes its directory of quorum queues lazily: a queue whose server is killed within seconds of its declaration comes
    // back empty and without a leader. An orderly stop writes it, so that the test is of what was confirmed later.
    let server = on(server, |server| server.stop_app()).await;
    let server = on(server, |server| server.start_app()).await;
    connected(&broker).await;
    let batch = hints(BATCH);
    let publishing = tokio::spawn({
        let (broker, batch) = (broker.clone(), batch.clone());
        async move { broker.publish_hints(&batch).await }
    });
    let held = take(&mut consumer, 100).await;

    let server = on(server, away).await;
    let unconfirmed = soon("answer", publishing).await.expect("it ran").expect("tried");
    assert!((1..BATCH).contains(&unconfirmed.len()), "not in the middle: {} unconfirmed", unconfirmed.len());
    both_links_down(&broker).await;
    let refused = soon("answer", broker.publish_hints(&batch[..1])).await;
    assert!(refused.is_err(), "a server that is away took {refused:?}");
    consumer.ack(tags(held));

    let server = on(server, back).await;
    connected(&broker).await;
    let after = hints(10);
    publish(&*broker, &after).await;
    // What was confirmed comes, and so does what was held: acks of the lost link count for nothing.
    let unconfirmed = BTreeSet::from_iter(unconfirmed);
    let confirmed = messages(&batch).into_iter().filter(|message| !unconfirmed.contains(message));
    receive(&mut consumer, confirmed.chain(messages(&after)).collect()).await;
    soon("close", broker.close()).await;
    on(server, |_| Ok(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_stopped_and_started_in_the_middle_of_a_batch_loses_nothing_that_was_confirmed() {
    interrupt(|server| server.stop_app(), |server| server.start_app()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_of_a_batch_loses_nothing_that_was_confirmed() {
    interrupt(RabbitMq::kill, RabbitMq::restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_short_of_memory_is_told_and_consuming_goes_on() {
    let server = start().await;
    let url = SecretString::from(server.amqp_url());
    let publishing_of_a_look = async || soon("a look", inspect(&url)).await.expect("it is there").publishing;
    assert_eq!(publishing_of_a_look().await, Publishing::NoExchange);
    let broker = connect(&url, ledger()).expect("a good URL");
    let mut consumer = broker.hints(10);
    let before = hints(100);
    publish(&*broker, &before).await;
    assert_eq!(publishing_of_a_look().await, Publishing::Works);

    let server = on(server, |server| server.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"])).await;
    // The server blocks a connection at its first publish, whose confirm then never comes.
    let lost = hints(20);
    let blocked = || LinkState::Blocked;
    let publishing =
        async || broker.status().links.iter().find(|link| link.role == LinkRole::Publish).map(|link| link.state.clone());
    eventually("told as blocked", async || {
        let answer = soon("answer", broker.publish_hints(&lost)).await;
        assert!(!matches!(&answer, Ok(unconfirmed) if unconfirmed.is_empty()), "a blocked server confirmed");
        publishing().await == Some(blocked())
    })
    .await;
    assert!(soon("answer", broker.publish_hints(&lost)).await.is_err(), "while blocked nothing is tried");
    assert_eq!(publishing_of_a_look().await, Publishing::Blocked);
    receive(&mut consumer, messages(&before).into_iter().collect()).await;

    let server = on(server, |server| server.ctl(&["set_vm_memory_high_watermark", "0.8"])).await;
    connected(&broker).await;
    let after = hints(100);
    publish(&*broker, &after).await;
    receive(&mut consumer, messages(&after).into_iter().collect()).await;
    assert_eq!(publishing_of_a_look().await, Publishing::Works);
    soon("close", broker.close()).await;
    on(server, |_| Ok(())).await;
}
