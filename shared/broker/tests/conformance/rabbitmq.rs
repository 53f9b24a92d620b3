//! What only the RabbitMQ adapter promises: poison, foreigners, and servers that refuse, say nothing or lose a queue.

use crate::harness::{WATCH, connected, eventually, hints, ledger, messages, publish, seen, soon, tags, take};
use crate::namespace::Namespace;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use regua_broker::{Broker, LinkRole, PoisonReason, PublishError, connect};
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// As the adapter would publish, with the parts that a test wants otherwise.
fn properties(kind: &str, schema: Option<AMQPValue>, ledger: Option<&str>) -> BasicProperties {
    let mut headers = FieldTable::default();
    if let Some(schema) = schema {
        headers.insert("schema".into(), schema);
    }
    if let Some(ledger) = ledger {
        headers.insert("ledger".into(), AMQPValue::LongString(LongString::from(ledger)));
    }
    BasicProperties::default().with_type(kind.into()).with_headers(headers).with_message_id("Maria da Silva".into())
}

/// What the status says once it says `part`.
async fn problem_with(broker: &Arc<dyn Broker>, part: &str) -> String {
    let problem = async || broker.status().problem().unwrap_or_default();
    eventually(&format!("a status with {part:?}"), async || problem().await.contains(part)).await;
    problem().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_dead_lettered_alone_and_counted_while_the_rest_flows() {
    let server = Namespace::shared();
    let broker = server.broker(ledger());
    connected(&broker).await;
    let raw = server.raw().await;
    let hint = format!("{{\"message\":\"{}\"}}", messages(&hints(1))[0]);
    let one = || Some(AMQPValue::LongInt(1));
    let before = hints(3);
    publish(&*broker, &before).await;
    raw.publish("hints", b"\xff\x00 not json", properties("hint", one(), None)).await;
    raw.publish("hints", hint.as_bytes(), properties("tick", one(), None)).await;
    raw.publish("hints", hint.as_bytes(), properties("hint", Some(AMQPValue::LongInt(2)), None)).await;
    raw.publish("hints", hint.as_bytes(), properties("hint", None, None)).await;
    raw.publish("hints", hint.as_bytes(), BasicProperties::default()).await;
    raw.publish("ticks", hint.as_bytes(), properties("tick", one(), None)).await;
    eventually("the poison is queued", async || raw.depth("hints").await == 8).await;
    let after = hints(3);
    publish(&*broker, &after).await;

    let mut consumer = broker.hints(2);
    let mut ticks = broker.ticks(2);
    let mut flowed = Vec::new();
    while flowed.len() < 6 {
        let batch = soon("delivery", consumer.next_batch(10)).await.expect("open");
        flowed.extend(seen(&batch));
        consumer.ack(tags(batch));
    }
    assert_eq!(flowed, [messages(&before), messages(&after)].concat());
    eventually("the poison is dead-lettered", async || raw.depth("hints.dead").await == 5 && raw.depth("ticks.dead").await == 1)
        .await;
    assert_eq!(raw.get("hints.dead").await.as_deref(), Some(&b"\xff\x00 not json"[..]), "byte for byte");
    assert_eq!(broker.status().poisoned, [(PoisonReason::Type, 2), (PoisonReason::Schema, 2), (PoisonReason::Body, 2)]);
    assert!(tokio::time::timeout(WATCH, ticks.next_batch(1)).await.is_err(), "poison reached the consumer");
    soon("close", broker.close()).await;
    assert_eq!((raw.depth("hints").await, raw.depth("ticks").await), (0, 0), "poison must not stay");
    server.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_of_another_ledger_or_of_none_says_so() {
    let server = Namespace::shared();
    let (ours, theirs) = (ledger(), ledger());
    let broker = server.broker(ours);
    let foreign = server.broker(theirs);
    publish(&*broker, &hints(1)).await;
    publish(&*foreign, &hints(1)).await;
    let body = format!("{{\"message\":\"{}\"}}", messages(&hints(1))[0]);
    let raw = server.raw().await;
    raw.publish("hints", body.as_bytes(), properties("hint", Some(AMQPValue::ShortInt(1)), None)).await;
    raw.publish("hints", body.as_bytes(), properties("hint", Some(AMQPValue::LongLongInt(1)), Some("yesterday's"))).await;
    let mut consumer = broker.hints(10);
    let mut ledgers: Vec<_> = take(&mut consumer, 4).await.iter().map(|delivery| delivery.ledger).collect();
    let mut expected = vec![None, None, Some(ours), Some(theirs)];
    ledgers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ledgers, expected);
    soon("close", broker.close()).await;
    soon("close", foreign.close()).await;
    server.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_deleted_under_its_consumer_is_declared_and_consumed_again() {
    let server = Namespace::shared();
    let broker = server.broker(ledger());
    let mut consumer = broker.hints(10);
    publish(&*broker, &hints(2)).await;
    let stale = take(&mut consumer, 2).await;
    server.raw().await.delete("hints").await;
    let after = hints(3);
    // A publish that meets no queue is returned and told as unconfirmed; the link that saw it declares the queue anew.
    let mut rest = messages(&after);
    eventually("every hint confirmed", async || {
        let batch: Vec<_> = after.iter().filter(|hint| rest.contains(&hint.body.message)).cloned().collect();
        if let Ok(unconfirmed) = soon("answer", broker.publish_hints(&batch)).await {
            rest = unconfirmed;
        }
        rest.is_empty()
    })
    .await;
    let again = take(&mut consumer, 3).await;
    assert_eq!(BTreeSet::from_iter(seen(&again)), BTreeSet::from_iter(messages(&after)));
    // Tags of the lost link acknowledge nothing on the new one, whatever their numbers.
    consumer.ack(tags(stale));
    consumer.close().await;
    eventually("nothing was acked", async || broker.ready_hints().await == Ok(3)).await;
    soon("close", broker.close()).await;
    server.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_message_that_no_queue_takes_is_unconfirmed_and_no_other() {
    let server = Namespace::shared();
    let broker = server.broker(ledger());
    connected(&broker).await;
    let raw = server.raw().await;
    raw.delete("hints").await;
    let batch = hints(2000);
    let unconfirmed = soon("answer", broker.publish_hints(&batch)).await.expect("tried");
    assert_eq!(unconfirmed, messages(&batch), "the server acks what it returns, so every one must be told");
    eventually("published again", async || soon("answer", broker.publish_hints(&batch)).await == Ok(vec![])).await;
    eventually("all queued", async || broker.ready_hints().await == Ok(2000)).await;
    soon("close", broker.close()).await;
    server.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_purge_consuming_goes_on() {
    let server = Namespace::shared();
    let broker = server.broker(ledger());
    publish(&*broker, &hints(10)).await;
    let mut consumer = broker.hints(4);
    let held = take(&mut consumer, 4).await;
    assert_eq!(server.raw().await.purge("hints").await, 6);
    consumer.ack(tags(held));
    let after = hints(4);
    publish(&*broker, &after).await;
    assert_eq!(seen(&take(&mut consumer, 4).await), messages(&after));
    soon("close", broker.close()).await;
    server.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_told_without_the_password_and_close_at_once() {
    let server = Namespace::shared();
    let (scheme, rest) = server.url.expose_secret().split_once("://").expect("a URL");
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let broker = connect(&format!("{scheme}://regua-nobody:s3cret-pass@{place}").into(), ledger()).expect("a good URL");
    let mut consumer = broker.hints(1);
    let problem = problem_with(&broker, "ACCESS_REFUSED").await;
    assert!(!problem.contains("s3cret"), "{problem}");
    let refused = soon("answer", broker.publish_hints(&hints(1))).await.expect_err("nothing can be published");
    assert!(matches!(&refused, PublishError::Unavailable { problem } if problem.contains("ACCESS_REFUSED")), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("s3cret"), "{refused}");
    soon("close", broker.close()).await;
    assert!(consumer.next_batch(1).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_virtual_host_is_told() {
    let server = Namespace::shared();
    let url = server.url.expose_secret();
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let place = rest.split('/').next().expect("never empty");
    let broker = connect(&format!("{scheme}://{place}/regua-nowhere").into(), ledger()).expect("a good URL");
    problem_with(&broker, "virtual host").await;
    soon("close", broker.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_told_and_waited_for() {
    let place = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = place.local_addr().expect("bound");
    drop(place);
    let broker = connect(&format!("amqp://{address}").into(), ledger()).expect("a good URL");
    let mut consumer = broker.hints(1);
    let problem = problem_with(&broker, "connection refused").await;
    assert!(problem.contains(&address.to_string()), "{problem}");
    assert_eq!(broker.status().links.len(), 2);
    let refused = soon("answer", broker.ready_hints()).await;
    assert!(refused.is_err(), "{refused:?}");
    consumer.cancel();
    assert!(soon("end", consumer.next_batch(1)).await.is_none());
    soon("close", consumer.close()).await;
    assert_eq!(broker.status().links.iter().map(|link| link.role).collect::<Vec<_>>(), [LinkRole::Publish]);
    soon("close", broker.close()).await;
}

/// A listener that accepts and says nothing, and what its callers sent first.
async fn mute() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (heard, hearing) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut first = vec![0; 8];
                if caller.read_exact(&mut first).await.is_ok() && heard.send(first).is_ok() {
                    // Stays open until the caller hangs up, which is the second thing to be heard.
                    let mut rest = Vec::new();
                    let ended = caller.read_to_end(&mut rest).await;
                    drop((ended, heard.send(Vec::new())));
                }
            });
        }
    });
    (address, hearing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_accepts_and_says_nothing_is_given_up_and_its_socket_closed() {
    let (address, mut hearing) = mute().await;
    let broker = connect(&format!("amqp://{address}").into(), ledger()).expect("a good URL");
    assert_eq!(soon("first bytes", hearing.recv()).await.as_deref(), Some(&b"AMQP\x00\x00\x09\x01"[..]));
    problem_with(&broker, "took longer than").await;
    assert_eq!(soon("hang-up", hearing.recv()).await.as_deref(), Some(&b""[..]), "the socket leaked");
    soon("close", broker.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqps_speaks_tls() {
    let (address, mut hearing) = mute().await;
    let broker = connect(&format!("amqps://{address}").into(), ledger()).expect("a good URL");
    let first = soon("first bytes", hearing.recv()).await.expect("a caller");
    assert_eq!(first[..2], [0x16, 0x03], "a TLS handshake record, not {first:?}");
    soon("close", broker.close()).await;
}
