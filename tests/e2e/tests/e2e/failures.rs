//! Failures on the command line, while `regua up` holds the file.

use regua_e2e::House;
use regua_simulators::{Fault, FaultKind};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_listed_shown_set_aside_and_tried_again_and_nobody_gets_two() {
    let house = House::build(120, &[]).await;
    let up = house.up().await;
    house.run("update-collections").await;
    let too_large = FaultKind::Status { code: 413, body: None, retry_after: None };
    house.opa.faults(vec![Fault { count: Some(5), path: Some("/template/send".into()), ..Fault::always(too_large) }]).unwrap();
    house.run("send-queued-messages").await;
    house.settled().await;
    let failures = async |arguments: &[&str]| house.cli.run(&[&["failures"], arguments].concat()).await;

    let listed = failures(&["list", "--json"]).await.good().out;
    let lines: Vec<serde_json::Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]), (6, &json!({ "counts": { "too_large": 5 } })));
    assert_eq!((&lines[1]["http_status"], &lines[1]["channel"].is_string()), (&json!(413), &true));
    let ids: Vec<&str> = lines[1..].iter().map(|failure| failure["id"].as_str().unwrap()).collect();
    assert!(failures(&["list"]).await.good().out.starts_with("too_large          5\n"));
    assert!(failures(&["list", "--reason", "rejected"]).await.good().out.starts_with("no failures"));
    failures(&["list", "--reason", "tired"]).await.refused(2, "expected one of rejected, parameter_count");
    failures(&["list", "--stage", "tired"]).await.refused(2, "expected one of pre_due");
    failures(&["list", "--channel", "Nenhum"]).await.refused(2, "there is no such channel; expected one of ");

    let shown = failures(&["show", ids[0]]).await.good().out;
    assert!(shown.contains("replay       possible now") && shown.contains("413"), "{shown}");
    failures(&["replay", "--why", "because"]).await.refused(2, "say which");
    failures(&["replay", ids[0]]).await.refused(2, "--why is missing");
    let told = failures(&["replay", "--reason", "too_large", "--dry-run", "--json"]).await.good().json();
    assert_eq!((&told["done"], &told["dry_run"], &told["refused"]), (&json!(5), &json!(true), &json!({})));
    assert_eq!(house.database().count("messages WHERE state = 'failed'").await, 5, "nothing was written");

    failures(&["discard", ids[0], "--why", "o cliente mudou"]).await.good();
    failures(&["replay", ids[0], "--why", "talvez"]).await.refused(1, "a person set it aside for good");
    let accepted = house.opa.stats().accepted;
    let replayed = failures(&["replay", "--stage", lines[2]["stage"].as_str().unwrap(), "--why", "corrigido", "--json"]).await;
    assert!(replayed.good().json()["done"].as_u64().unwrap() >= 1);
    failures(&["replay", "--reason", "too_large", "--why", "corrigido"]).await.good();
    house.settled().await;
    assert!(failures(&["list"]).await.good().out.starts_with("no failures"));
    assert_eq!(house.database().count("messages WHERE state = 'failed'").await, 1);
    let stats = house.opa.stats();
    assert_eq!(stats.accepted, stats.distinct_messages, "nobody got two");
    assert!(stats.accepted > accepted && stats.accepted <= accepted + 4);
    assert!(!up.log().contains("corrigido"), "what a person wrote stays in the ledger");
}
