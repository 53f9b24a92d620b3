//! Whom a policy speaks for, as an operator sees it; and a run that waits until a person agrees to it.

use crate::import::files;
use regua_e2e::{Done, House};

const CUSTOMERS: &str = "id;razao;telefone_celular;uf;filial_id\n\
    1;José da Conceição;(49) 98811-2233;SC;1\n\
    2;Padaria São João Ltda;(11) 97654-3210;SP;2\n\
    3;Úrsula Gonçalves;(51) 99876-5432;RS;2\n\
    4;Ana Lima;(49) 98811-4455;SC;3\n";
/// On 24/11/2026 they are due in three days, today, three days ago, and today.
const INVOICES: &str = "id;id_cliente;valor;data_vencimento;status\n\
    100;1;50,00;27/11/2026;A\n\
    101;2;99,90;24/11/2026;A\n\
    102;3;79,90;21/11/2026;A\n\
    103;4;59,90;24/11/2026;A\n";

async fn explain(house: &House, invoice: &str) -> Done {
    house.cli.run(&["policy", "explain", invoice, "--json"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_explained_and_a_run_larger_than_usual_waits_for_a_person() {
    let configuration = files()
        .replace("# [policy.filters]\n# branch = [1, 2]", "[policy.filters]\nbranch = [1, 2]")
        .replace("above = 100000", "above = 2");
    let house = House::build_with(1, &configuration).await;
    let _up = house.up().await;
    house.cli.run(&["import", "customers", &house.write("clientes.csv", CUSTOMERS.as_bytes()), "--json"]).await.good();
    house.cli.run(&["import", "invoices", &house.write("boletos.csv", INVOICES.as_bytes()), "--json"]).await.good();

    let before = explain(&house, "101").await.good().json();
    assert_eq!((&before["policy"], &before["considered"][0]["decides"]), (&"Todos os clientes".into(), &true.into()));
    assert!(
        before["decision"].as_str().unwrap().starts_with("due_day is due since 2026-11-24: its message is written"),
        "{before}"
    );
    let outside = explain(&house, "103").await.good().json();
    let kept_out = &outside["considered"][0];
    assert_eq!((&outside["policy"], &kept_out["kept_out_by"]), (&serde_json::Value::Null, &"branch".into()));
    assert_eq!((&kept_out["wants"], &kept_out["has"]), (&"1 or 2".into(), &"3".into()));
    explain(&house, "999").await.refused(1, "no source has an invoice 999");
    house
        .cli
        .run(&["policy", "explain", "103"])
        .await
        .good()
        .refused(0, "kept out by branch: it wants 1 or 2, the invoice has 3");

    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    let database = house.database();
    assert_eq!(database.count("messages WHERE state = 'held'").await, 3, "released, but three are more than two");
    let status = house.cli.run(&["status", "--json"]).await.good().json();
    let run = &status["unapproved"][0];
    assert_eq!((&run["held"], &run["no_policy"], &run["approval"]), (&3.into(), &1.into(), &"waiting".into()));
    let after = explain(&house, "101").await.good().json();
    assert!(after["decision"].as_str().unwrap().starts_with("its due_day message is held"), "{after}");

    let id = run["run"].as_str().unwrap();
    house.cli.run(&["runs", "approve", id, "--why", "a second branch"]).await.good();
    house.cli.run(&["runs", "approve", id, "--why", "again"]).await.refused(1, "waits for no approval");
    house.settled().await;
    assert_eq!(house.requests().len(), 3);
}
