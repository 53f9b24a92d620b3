//! Whom the ERP's switches and our own holds keep silent, as an operator sees it.

use regua_e2e::{House, today};
use regua_simulators::ixc::OddTitle;
use regua_simulators::{Fault, FaultKind};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_set_between_the_decision_and_the_sending_stops_the_message() {
    let house = House::build(100, &[]).await;
    let up = house.up().await;
    house.run("update-collections").await;
    let database = house.database();
    let decided = database.texts("SELECT subject, id FROM messages WHERE state = 'held' ORDER BY subject").await;
    let (invoice, customer) = (&decided[0][0], house.ixc.title(decided[1][0].parse().unwrap()).unwrap().customer.to_string());
    let hold = async |arguments: &[&str]| house.cli.run(&[&["hold"], arguments].concat()).await;
    let why = ["--until", "2026-11-24", "--why", "promised to pay"];
    hold(&[&["invoice", "987654321"][..], &why].concat())
        .await
        .refused(1, "no source has invoice 987654321: check the id in the ERP");
    hold(&["invoice", invoice, "--until", "2026-11-23", "--why", "late"])
        .await
        .refused(1, "--until 2026-11-23 is past: today is 2026-11-24");
    hold(&["invoice", invoice, "--until", "2026-11-24", "--why", " "]).await.refused(1, "--why is empty");
    hold(&[&["invoice", invoice][..], &why].concat()).await.good();
    hold(&[&["customer", &customer][..], &why].concat()).await.good();
    house.run("send-queued-messages").await;
    house.settled().await;

    let stopped = database.texts("SELECT subject, id FROM messages WHERE state = 'skipped' AND reason = 'on_hold'").await;
    assert!(stopped.iter().any(|row| row[0] == *invoice) && stopped.iter().any(|row| row[0] == decided[1][0]), "{stopped:?}");
    let requests = house.requests();
    let sent = |id: &str| requests.iter().any(|request| request.message == id.parse().ok());
    assert!(stopped.iter().all(|row| !sent(&row[1])), "nothing of what is on hold was sent");
    assert_eq!(requests.len(), decided.len() - stopped.len(), "and all the rest was");

    let told = house.cli.run(&["policy", "explain", invoice, "--json"]).await.good().json();
    let told = &told["holds"][0];
    assert_eq!(
        (&told["kind"], &told["until"], &told["why"]),
        (&json!("invoice"), &json!("2026-11-24"), &json!("promised to pay"))
    );
    house.cli.run(&["policy", "explain", invoice]).await.refused(0, "ON HOLD: invoice");
    let holds = house.cli.run(&["status", "--json"]).await.good().json()["holds"].clone();
    assert_eq!(holds, json!({ "customer": 1, "invoice": 1 }));
    assert!(hold(&["list"]).await.good().out.contains("promised to pay"));
    hold(&["remove", "invoice", invoice, "--why", "paid at the counter"]).await.good();
    hold(&["remove", "invoice", invoice, "--why", "again"]).await.refused(1, "nothing holds invoice");
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    house.settled().await;
    assert_eq!(house.requests().len(), requests.len() + 1, "it came back and went out");
    assert!(!up.log().contains("promised to pay"), "what a person wrote stays in the ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn titles_and_contracts_are_silent_by_the_erps_switches_and_contracts_that_may_not_be_listed_stop_no_sync() {
    let house = House::build(1000, &[]).await;
    let up = house.up().await;
    let refused = json!({ "type": "error", "message": "Recurso cliente_contrato não está disponível!" });
    let refusal = Fault {
        path: Some("cliente_contrato".into()),
        ..Fault::always(FaultKind::Status { code: 200, body: Some(refused), retry_after: None })
    };
    // Before anything is read: whoever is held by force is held from the first decision on.
    let due = (1..10_000).filter_map(|id| house.ixc.title(id)).find(|title| title.is_open() && title.due_on == today()).unwrap();
    let customer = due.customer.to_string();
    let hold = ["hold", "customer", &customer, "--until", "2026-11-24", "--why", "moves house"];
    house.cli.run(&hold).await.refused(1, "--force");
    house.cli.run(&[&hold[..], &["--force"]].concat()).await.good();
    house.run("update-collections").await;
    let decided = "SELECT subject, stage, COALESCE(reason, '') FROM messages";
    let silent = ["on_hold", "protested", "forecast", "no_notice_until", "overdue_notices_off"];
    let mut met = [0; 5];
    for row in house.database().texts(decided).await {
        let title = house.ixc.title(row[0].parse().unwrap()).unwrap();
        let (warns, until) = house.ixc.provider().warnings_of(title.contract).unwrap();
        let says_no = [
            title.customer == due.customer && title.odd != Some(OddTitle::WithoutCustomer),
            title.odd == Some(OddTitle::Protested),
            title.odd == Some(OddTitle::Forecast),
            until.is_some_and(|until| today() <= until),
            !warns && row[1] == "overdue",
        ];
        match says_no.iter().position(|says_no| *says_no) {
            Some(why) => {
                assert_eq!(row[2], silent[why], "{row:?}");
                met[why] += 1;
            }
            None => assert!(!silent.contains(&row[2].as_str()), "{row:?}"),
        }
    }
    assert!(met.iter().all(|number| *number > 0), "{met:?}");

    house.ixc.faults(vec![refusal]).unwrap();
    house.run("update-collections").await;
    assert_eq!(up.log().matches("sync.contracts_refused").count(), 1, "told once per sync: {}", up.log());
    let left = format!("messages WHERE reason IN ('{}', '{}')", silent[3], silent[4]);
    assert_eq!(house.database().count(&left).await, 0, "what isn't known restricts nothing, and all came back");
    house.cli.run(&["check"]).await.refused(1, "allow `cliente_contrato` in the ERP's user group");
}
