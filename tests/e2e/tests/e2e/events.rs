//! What happened between two runs: told once to whom a notice reached, by whichever source it was seen.

use crate::import::files;
use regua_e2e::{House, configuration};
use regua_simulators::ixc::Payment;
use std::collections::BTreeMap;

/// The demo's configuration with a notice and a stage for every event.
fn telling(configuration: &str) -> String {
    let notices = [
        ("Baixa", "7004", "#cliente_razao#,#areceber_valor#"),
        ("Acordo", "7006", "#cliente_razao#,#renegociacao_vencimento#"),
        ("Negativação", "7007", ""),
    ]
    .map(|(name, id, variables)| {
        format!(
            "[[notice]]\nname = \"{name}\"\nchannel = \"Cobrança\"\ntemplate = \"64f1c0de0a1b2c3d4e5f{id}\"\nvariables = \"{variables}\"\n"
        )
    });
    let stages = [("settled", "Baixa"), ("cancelled", "Baixa"), ("renegotiated", "Acordo"), ("bureau_removed", "Negativação")]
        .map(|(stage, notice)| format!("[[policy.stage]]\nstage = \"{stage}\"\nnotice = \"{notice}\"\n"));
    configuration
        .replacen("[[policy]]", &format!("{}[[policy]]", notices.concat()), 1)
        .replacen("[[task]]", &format!("{}[[task]]", stages.concat()), 1)
        .replace("per_day = 2", "per_day = 50")
}

/// A day's two tasks, and all that they cause.
async fn day(house: &House) {
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    house.settled().await;
}

/// The event messages: subject and stage, with state and, where one was sent, what it said last.
async fn told(house: &House) -> BTreeMap<(String, String), (String, String)> {
    let rows = house.database().texts("SELECT id, subject, stage, state FROM messages WHERE due_on IS NULL").await;
    let requests = house.requests();
    let mut told = BTreeMap::new();
    for row in rows {
        let id = row[0].parse().unwrap();
        let taken: Vec<_> = requests.iter().filter(|request| request.message == Some(id)).collect();
        assert_eq!(taken.len(), usize::from(row[3] == "sent"), "{row:?}");
        let said = taken.first().and_then(|request| request.variables.last().cloned()).unwrap_or_default();
        assert!(told.insert((row[1].clone(), row[2].clone()), (row[3].clone(), said)).is_none(), "twice: {row:?}");
    }
    told
}

fn sent(subject: u64, stage: &str, said: &str) -> ((String, String), (String, String)) {
    ((subject.to_string(), stage.to_owned()), ("sent".to_owned(), said.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_a_cancellation_and_a_renegotiation_are_told_once_each() {
    let house = House::build_with(200, &telling(&configuration(&[]))).await;
    let _up = house.up().await;
    day(&house).await;
    assert_eq!(told(&house).await, BTreeMap::new(), "a first sync tells of nothing");
    let database = house.database();
    let titles = async |sql: &str| -> Vec<u64> { database.texts(sql).await.iter().map(|row| row[0].parse().unwrap()).collect() };
    let regular = |title: &u64| house.ixc.title(*title).is_some_and(|title| title.odd.is_none() && title.replaces.is_none());
    let mut noticed = titles("SELECT subject FROM messages WHERE state = 'sent' ORDER BY subject").await;
    noticed.retain(regular);
    let mut unnoticed =
        titles("SELECT id FROM invoices WHERE is_open AND id NOT IN (SELECT subject FROM messages) ORDER BY id").await;
    unnoticed.retain(regular);
    let [paid, half, cancelled, renegotiated] = noticed[..4] else { panic!("too few titles") };
    house.ixc.pay(&[paid, unnoticed[0]], Payment::Full).unwrap();
    house.ixc.pay(&[half], Payment::Half).unwrap();
    house.ixc.cancel(cancelled).unwrap();
    let new = house.ixc.renegotiate(renegotiated).unwrap();

    let (amount, due_on) = (|title| house.ixc.title(title).unwrap().amount_cents, house.ixc.title(new).unwrap().due_on);
    let money = |cents: i64| format!("R${},{:02}", cents / 100, cents % 100);
    let expected = BTreeMap::from([
        sent(paid, "settled", &money(amount(paid))),
        sent(cancelled, "cancelled", &money(amount(cancelled))),
        sent(renegotiated, "renegotiated", &due_on.format("%d/%m/%Y").to_string()),
    ]);
    let before = house.requests().len();
    for _ in 0..2 {
        day(&house).await;
        assert_eq!(told(&house).await, expected);
        assert_eq!(house.requests().len(), before + 3);
    }
    for (title, kind, outcome) in [(paid, "settled", "message"), (unnoticed[0], "settled", "not_noticed")] {
        let explained = house.cli.run(&["policy", "explain", &title.to_string(), "--json"]).await.good().json();
        let event = &explained["events"][0];
        assert_eq!((&event["kind"], &event["outcome"]), (&kind.into(), &outcome.into()), "{explained}");
    }
    house.cli.run(&["policy", "explain", &paid.to_string()]).await.good().refused(0, "settled on 2026-11-24: message");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_listing_of_an_import_is_told_once() {
    let house = House::build_with(1, &telling(&files())).await;
    let _up = house.up().await;
    let import = async |kind: &str, text: &str| {
        let file = house.write("arquivo.csv", text.as_bytes());
        house.cli.run(&["import", kind, &file, "--json"]).await.good();
    };
    let customers = |listed: &str| format!("id;razao;telefone_celular;ativo_serasa\n7;Ana Lima;(49) 98811-4455;{listed}\n");
    import("customers", &customers("1")).await;
    import("invoices", "id;id_cliente;valor;data_vencimento;status\n100;7;50,00;24/11/2026;A\n").await;
    day(&house).await;
    assert_eq!(house.requests().len(), 1, "the notice of the day");
    // A file that doesn't say it removes nothing.
    import("customers", "id;razao;telefone_celular\n7;Ana Lima;(49) 98811-4455\n").await;
    day(&house).await;
    assert_eq!(told(&house).await, BTreeMap::new());
    for _ in 0..2 {
        import("customers", &customers("0")).await;
        day(&house).await;
        assert_eq!(told(&house).await, BTreeMap::from([sent(7, "bureau_removed", "")]));
    }
}
