//! The last look at the ERP, just before messages start.

use chrono::TimeDelta;
use regua_e2e::{House, Service, configuration, until};
use regua_simulators::ixc::Payment;
use regua_simulators::{Fault, FaultKind};

/// A house whose messages are decided, and whose titles were looked at longer ago than their source wants.
async fn decided(unanswered: &str) -> (House, Service) {
    let look = format!("kind = \"ixc\"\nlast_look = \"1m\"\nlast_look_unanswered = \"{unanswered}\"");
    let house = House::build_with(100, &configuration(&[("kind = \"ixc\"".into(), look)])).await;
    let up = house.up().await;
    house.run("update-collections").await;
    house.database().pass(TimeDelta::minutes(1)).await;
    (house, up)
}

/// Messages in a state.
async fn number(house: &House, state: &str) -> i64 {
    house.database().count(&format!("messages WHERE state = '{state}'")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_paid_since_the_last_sync_is_not_written_to() {
    let (house, _up) = decided("hold").await;
    let held = house.database().texts("SELECT subject FROM messages WHERE state = 'held' ORDER BY subject").await;
    let paid: Vec<u64> = held[..5].iter().map(|row| row[0].parse().unwrap()).collect();
    house.ixc.pay(&paid, Payment::Full).unwrap();
    house.run("send-queued-messages").await;
    house.settled().await;
    let unsent =
        house.database().texts("SELECT subject, state, reason FROM messages WHERE reason = 'paid' ORDER BY subject").await;
    let expected: Vec<Vec<String>> = held[..5].iter().map(|row| vec![row[0].clone(), "skipped".into(), "paid".into()]).collect();
    assert!(expected.iter().all(|row| unsent.contains(row)), "{unsent:?}");
    let sent = number(&house, "sent").await;
    assert!(sent > 20 && house.opa.stats().accepted == u64::try_from(sent).unwrap(), "the others are: {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erp_that_cannot_be_asked_holds_its_messages_until_it_can() {
    let (house, mut up) = decided("hold").await;
    house.ixc.faults(vec![Fault::always(FaultKind::Status { code: 502, body: None, retry_after: None })]).unwrap();
    house.run("send-queued-messages").await;
    let why = until("the process says so", async || up.problem("last look at IXC Provedor").await).await;
    assert!(why.contains("can't be asked"), "{why}");
    assert_eq!((number(&house, "sent").await, house.opa.stats().accepted), (0, 0));
    house.ixc.clear_faults();
    house.database().pass(TimeDelta::minutes(1)).await;
    until("it goes on", async || (number(&house, "sent").await > 0).then_some(())).await;
    house.settled().await;
    assert_eq!(up.problem("last look at IXC Provedor").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_without_an_answer_where_the_configuration_says_so() {
    let (house, _up) = decided("send").await;
    house.ixc.faults(vec![Fault::always(FaultKind::Html200)]).unwrap();
    house.run("send-queued-messages").await;
    house.settled().await;
    assert!(number(&house, "sent").await > 20);
}
