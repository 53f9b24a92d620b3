//! What changes between the decision and the sending.

use regua_domain::phone;
use regua_e2e::House;
use regua_simulators::ixc::Payment;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_cancelled_renegotiated_or_opted_out_meanwhile_is_not_sent() {
    let owed = (
        "variables = \"#cliente_razao#,#areceber_valor#,".to_owned(),
        "variables = \"#cliente_razao#,#areceber_valor_aberto#,".to_owned(),
    );
    let house = House::build(400, &[owed]).await;
    let _up = house.up().await;
    house.run("update-collections").await;
    let database = house.database();
    let held = database.texts("SELECT subject FROM messages WHERE state = 'held' ORDER BY subject").await;
    let titles: Vec<u64> = held.iter().map(|row| row[0].parse().unwrap()).collect();
    // A customer of one title, with a phone of his own.
    let alone = |title: &&u64| {
        let customer = house.ixc.title(**title).unwrap().customer;
        let provider = house.ixc.provider();
        let mobile = provider.mobile_of(customer);
        let others = titles.iter().filter(|other| provider.mobile_of(house.ixc.title(**other).unwrap().customer) == mobile);
        others.count() == 1 && house.ixc.title(**title).unwrap().odd.is_none()
    };
    let chosen: Vec<u64> = titles.iter().filter(alone).copied().take(6).collect();
    let [paid, half, cancelled, renegotiated, opted_out, untouched] = chosen[..] else { panic!("too few titles: {titles:?}") };
    house.ixc.pay(&[paid], Payment::Full).unwrap();
    house.ixc.pay(&[half], Payment::Half).unwrap();
    house.ixc.cancel(cancelled).unwrap();
    house.ixc.renegotiate(renegotiated).unwrap();
    let mobile = house.ixc.provider().mobile_of(house.ixc.title(opted_out).unwrap().customer).unwrap();
    assert!(phone::parse(&mobile).is_ok());
    house.cli.run(&["opt-out", "add", &mobile]).await.good();
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    house.settled().await;

    let requests = house.requests();
    for (title, state, reason) in [
        (paid, "skipped", "paid"),
        (half, "sent", ""),
        (cancelled, "skipped", "cancelled"),
        (renegotiated, "skipped", "renegotiated"),
        (opted_out, "skipped", "opted_out"),
        (untouched, "sent", ""),
    ] {
        let rows = database.texts(&format!("SELECT state, reason, id FROM messages WHERE subject = '{title}'")).await;
        assert_eq!((rows.len(), rows[0][0].as_str(), rows[0][1].as_str()), (1, state, reason), "title {title}: {rows:?}");
        let id = rows[0][2].parse().unwrap();
        let taken = requests.iter().filter(|request| request.message == Some(id)).count();
        assert_eq!(taken, usize::from(state == "sent"), "title {title}");
    }
    let id = database.texts(&format!("SELECT id FROM messages WHERE subject = '{half}'")).await[0][0].parse().unwrap();
    let request = requests.iter().find(|request| request.message == Some(id)).unwrap();
    let title = house.ixc.title(half).unwrap();
    let remaining = title.amount_cents - title.received_cents;
    assert_eq!(
        request.variables[1],
        format!("R${},{:02}", remaining / 100, remaining % 100),
        "what is still owed, not what was when it was decided"
    );
}
