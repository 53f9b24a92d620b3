//! The broker's tests: one suite of promises against both adapters, and what only RabbitMQ can do wrong.

mod harness;
mod namespace;
mod rabbitmq;
mod restart;
mod suite;

use regua_broker::connect;
use std::future::Future;
use suite::Subject;

async fn on_memory<F: Future<Output = ()>>(promise: impl FnOnce(Subject) -> F) {
    let ledger = harness::ledger();
    let broker = connect(&"memory:".into(), ledger).expect("no server to miss");
    assert!(broker.status().is_connected());
    promise(Subject { broker, ledger }).await;
}

async fn on_rabbitmq<F: Future<Output = ()>>(promise: impl FnOnce(Subject) -> F) {
    let namespace = namespace::Namespace::shared();
    let ledger = harness::ledger();
    let broker = namespace.broker(ledger);
    namespace.settle(&*broker).await;
    promise(Subject { broker: broker.clone(), ledger }).await;
    harness::soon("close", broker.close()).await;
    namespace.delete().await;
}

/// One test for each promise and adapter.
macro_rules! conformance {
    ($($promise:ident)+) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::on_memory(crate::suite::$promise).await;
            })+
        }
        mod amqp {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::on_rabbitmq(crate::suite::$promise).await;
            })+
        }
    };
}

conformance! {
    ticks_and_hints_arrive_as_they_were_published
    a_batch_is_what_is_there_and_never_more_than_asked
    consumers_compete_and_each_hint_goes_to_one
    no_more_than_the_prefetch_is_out_unacked
    what_a_dropped_consumer_did_not_ack_comes_again
    acks_come_from_any_task_in_any_order
    a_cancelled_consumer_takes_no_more_and_still_acks
    the_ready_count_is_of_what_nobody_holds
    an_empty_batch_is_published_by_doing_nothing
    a_closed_broker_ends_its_consumers_and_takes_nothing
}
