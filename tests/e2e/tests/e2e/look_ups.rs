//! Look-ups: what was lost on its way back is found in the simulated Opa! Suite's talks; what never arrived isn't, and stays in doubt.

use regua_domain::ids::MessageId;
use regua_e2e::{House, Service, until};
use regua_simulators::{Fault, FaultKind};
use std::collections::BTreeSet;

/// `regua up`, with look-ups, after a day's sending of which so many requests got no answer; and whose they were.
async fn unanswered(count: u32, after_accept: bool) -> (House, Service, BTreeSet<MessageId>) {
    let token = "token_env = \"REGUA_DEMO_OPA_TOKEN\"";
    let house = House::build(150, &[(token.to_owned(), format!("{token}\nlook_up = true"))]).await;
    let up = house.up().await;
    let path = Some("/template/send".into());
    let fault = Fault { count: Some(count.into()), after_accept, path, ..Fault::always(FaultKind::CloseWithoutAnswer) };
    house.opa.faults(vec![fault]).unwrap();
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    house.settled().await;
    let doubted = house.database().texts("SELECT message_id FROM attempts WHERE outcome = 'doubt'").await;
    let doubted: BTreeSet<_> = doubted.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(doubted.len(), usize::try_from(count).unwrap());
    (house, up, doubted)
}

fn taken(house: &House) -> BTreeSet<MessageId> {
    house.requests().into_iter().filter_map(|request| request.message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_answer_was_lost_is_found_in_its_talk() {
    let (house, mut up, doubted) = unanswered(3, true).await;
    let database = house.database();
    until("no doubt is left", async || (database.count("messages WHERE state = 'in_doubt'").await == 0).then_some(())).await;
    let found = database.texts("SELECT message_id FROM receipts WHERE proved_by = 'look_up' AND status = 'sent'").await;
    let found: BTreeSet<MessageId> = found.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(found, doubted);
    assert!(found.is_subset(&taken(&house)));
    let counted = "regua_look_ups_total{outcome=\"found\"}";
    until("they are counted", async || (up.metric(counted).await == Some(3.0)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_never_arrived_is_not_found_and_stays_in_doubt() {
    let (house, mut up, doubted) = unanswered(2, false).await;
    until("they were looked for", async || {
        (up.metric("regua_look_ups_total{outcome=\"not_found\"}").await >= Some(2.0)).then_some(())
    })
    .await;
    let database = house.database();
    assert_eq!(database.count("messages WHERE state = 'in_doubt'").await, 2);
    assert_eq!(database.count("receipts").await, 0);
    assert!(doubted.is_disjoint(&taken(&house)));
}
