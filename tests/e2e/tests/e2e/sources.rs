//! Sources that are slow or down, beside others that aren't.

use chrono::TimeDelta;
use regua_e2e::{House, configuration, until};
use regua_simulators::{Fault, FaultKind};

/// Its evaluator works and says so: a run is taken for an orphan by how long nobody spoke for it, never by how long it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_outlasts_its_lease_stays_with_its_evaluator() {
    let house = House::build(100, &[]).await;
    house.ixc.faults(vec![Fault { count: Some(2), ..Fault::always(FaultKind::LatencyMs { ms: 14_000 }) }]).unwrap();
    let _up = house.up().await;
    house.cli.run(&["run", "update-collections", "--no-wait"]).await.good();
    let database = house.database();
    let lease = async || {
        let running = "SELECT lease_owner, CAST(lease_expires_at AS TEXT) FROM runs WHERE state = 'running'";
        let row = database.texts(running).await.pop()?;
        Some((row[0].clone(), row[1].parse::<i64>().unwrap()))
    };
    let (owner, first) = until("the run is begun", &lease).await;
    let mut lasts = first;
    for _ in 0..2 {
        database.pass(TimeDelta::seconds(15)).await;
        let prolonged = until("somebody speaks for it", async || lease().await.filter(|(_, at)| *at > lasts)).await;
        assert_eq!(prolonged.0, owner, "nobody else took it up");
        lasts = prolonged.1;
    }
    assert!(lasts - first > TimeDelta::seconds(30).num_microseconds().unwrap(), "the first lease would be over by then");
    until("the run is done", async || (database.count("runs WHERE state = 'done'").await == 1).then_some(())).await;
    assert!(database.count("messages").await > 20);
}

/// Messages that wait for a source that is too old are told of, with what ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_too_old_to_send_from_is_told_until_it_is_read() {
    let house = House::build(20, &[]).await;
    let mut up = house.up().await;
    let told = until("/readyz tells", async || up.problem("scheduler/sources").await).await;
    assert!(told.contains("IXC Provedor was never read whole") && told.contains("update-collections"), "{told}");
    house.run("update-collections").await;
    until("it is content", async || up.problem("scheduler/sources").await.is_none().then_some(())).await;
    house.ixc.faults(vec![Fault::always(FaultKind::Status { code: 502, body: None, retry_after: None })]).unwrap();
    house.database().pass(TimeDelta::hours(7)).await;
    let told = until("it tells again", async || up.problem("scheduler/sources").await).await;
    assert!(told.contains("was last read whole at 2026-11-24T13:") && told.contains("max_age"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_down_keeps_no_other_sources_customers_waiting() {
    let files = "\n[[source]]\nname = \"Arquivos\"\nkind = \"files\"\n";
    let house = House::build_with(100, &(configuration(&[]) + files)).await;
    house.ixc.faults(vec![Fault::always(FaultKind::Status { code: 502, body: None, retry_after: None })]).unwrap();
    let _up = house.up().await;
    for (kind, rows) in [
        ("customers", "id;razao;telefone_celular\n1;Ana;(49) 98811-2233\n"),
        ("invoices", "id;id_cliente;valor;data_vencimento;status\n100;1;59,90;24/11/2026;A\n"),
    ] {
        let file = house.write(kind, rows.as_bytes());
        house.cli.run(&["import", kind, &file]).await.good();
    }
    house.cli.run(&["run", "update-collections", "--no-wait"]).await.good();
    let database = house.database();
    until("the other source is decided from", async || {
        (database.count("messages WHERE state = 'held'").await == 1).then_some(())
    })
    .await;
    house.run("send-queued-messages").await;
    until("its message is sent", async || (database.count("messages WHERE state = 'sent'").await == 1).then_some(())).await;
    until("the run waits for the source that is down", async || {
        let waiting = database.texts("SELECT note FROM runs WHERE state = 'planned'").await;
        waiting.first().filter(|row| row[0].contains("IXC Provedor")).map(drop)
    })
    .await;
    assert_eq!((database.count("messages").await, house.opa.stats().accepted), (1, 1));
}
