//! `regua audit`: who changed what, when and why, as an operator reads it.

use regua_e2e::{House, until};
use serde_json::Value;

/// The lines of `regua audit --json` with these arguments.
async fn audit(house: &House, arguments: &[&str]) -> Vec<Value> {
    let done = house.cli.run(&[&["audit", "--json"], arguments].concat()).await.good();
    done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_something_is_found_with_why_and_what_it_was() {
    let mut house = House::build(20, &[]).await;
    house.cli = house.cli.clone().with("USER", "ana");
    let _up = house.up().await;
    let applied = audit(&house, &[]).await;
    assert_eq!(
        (applied.len(), &applied[0]["by"], &applied[0]["action"]),
        (1, &"REGUA_CONFIG".into(), &"configuration_applied".into())
    );
    // Through the row of a command, as everything while `up` holds the file.
    let run = async |arguments: &[&str]| house.cli.run(arguments).await.good();
    run(&["pause", "--stage", "due_day", "--why", "the text is wrong"]).await;
    run(&["resume", "--stage", "due_day", "--why", "it was right"]).await;
    let config = std::fs::read_to_string(&house.cli.environment["REGUA_CONFIG"]).unwrap();
    let changed = house.write("changed.toml", config.replace("per_second = 200", "per_second = 40").as_bytes());
    run(&["config", "apply", &changed, "--why", "the number is new"]).await;
    run(&["opt-out", "add", "11987654321", "--why", "asked by phone"]).await;
    run(&["opt-out", "remove", "11987654321", "--why", "asked again"]).await;
    run(&["run", "update-collections", "--no-wait", "--why", "the ERP was late"]).await;

    let actions = [
        ("run_planned", "the ERP was late"),
        ("opt_out_removed", "asked again"),
        ("opt_out_added", "asked by phone"),
        ("configuration_applied", "the number is new"),
        ("stop_lifted", "it was right"),
        ("stop_raised", "the text is wrong"),
    ];
    let log = audit(&house, &["--by", "ana"]).await;
    let told: Vec<_> = log.iter().map(|entry| (entry["action"].as_str().unwrap(), entry["why"].as_str().unwrap())).collect();
    assert_eq!(told, actions);
    assert!(log[3]["was"].to_string().contains("200") && log[3]["became"].to_string().contains("40"), "{}", log[3]);
    assert!(log.iter().all(|entry| !entry.to_string().contains("87654321")), "no phone: {log:?}");
    assert_eq!(audit(&house, &["-n", "2"]).await, log[..2]);
    assert_eq!(audit(&house, &["--action", "stop_raised"]).await, log[5..]);
    assert_eq!(audit(&house, &["--target", "stage due_day", "--since", log[4]["at"].as_str().unwrap()]).await, log[4..5]);
    assert!(audit(&house, &["--since", "2030-01-01T00:00:00Z"]).await.is_empty());
    let table = house.cli.run(&["audit"]).await.good().out;
    assert!(table.starts_with("at ") && table.contains("the text is wrong"), "{table}");
    let refused = house.cli.run(&["audit", "--action", "pause"]).await;
    refused.refused(2, "--action pause is no action; expected one of configuration_applied, imported, run_planned");
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_drifted_are_told_in_the_log_and_mended_by_whoever_recounts() {
    let house = House::build(20, &[]).await;
    let mut up = house.up().await;
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    house.settled().await;
    assert!(house.database().execute("UPDATE message_counts SET messages = -2 WHERE state = 'sent'").await > 0);
    until("the log tells", async || {
        up.get("/metrics").await?;
        up.log().contains("counts.below_zero").then_some(())
    })
    .await;
    let told = house.cli.run(&["recount", "--why", "the panel says 0"]).await.good().out;
    assert!(told.contains("sent, ") && told.contains(": -2 were counted, there are "), "{told}");
    let again = house.cli.run(&["recount", "--json"]).await.good().json();
    assert_eq!(again["differed"], Value::Array(vec![]));
    let log = audit(&house, &["--action", "counts_mended"]).await;
    assert_eq!((log.len(), &log[0]["why"]), (1, &"the panel says 0".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_one_entry_with_its_counts() {
    let source = "[[source]]\nname = \"Files\"\nkind = \"files\"\n".to_owned();
    let house = House::build(1, &[("[[source]]".into(), format!("{source}[[source]]"))]).await;
    let config = house.cli.environment["REGUA_CONFIG"].clone();
    house.cli.run(&["config", "apply", &config]).await.good();
    let file = house.write("customers.csv", b"id;razao;telefone_celular\n1;Maria;11987654321\n2;Jose;11987654322\n");
    house.cli.run(&["import", "customers", &file, "--why", "first load"]).await.good();
    house.cli.run(&["import", "customers", &house.write("bad.csv", b"x;y\n1;2\n")]).await.refused(1, "");
    let log = audit(&house, &["--action", "imported"]).await;
    assert_eq!(log.len(), 1, "what fails is not written down: {log:?}");
    let became = &log[0]["became"];
    assert_eq!((&log[0]["target"], &log[0]["why"]), (&"Files".into(), &"first load".into()));
    assert_eq!((&became["file"], &became["good"], &became["bad"]), (&"customers.csv".into(), &2.into(), &0.into()));
}
