//! What a run would do, told before it does it.

use crate::import::files;
use regua_e2e::House;
use serde_json::json;

/// `filial_id` 3 has no policy here; 5 asks for nothing; 6 has no phone.
const CUSTOMERS: &str = "id;razao;telefone_celular;uf;filial_id\n\
    1;José da Conceição;(49) 98811-2233;SC;1\n\
    2;Padaria São João Ltda;(11) 97654-3210;SP;2\n\
    3;Úrsula Gonçalves;(51) 99876-5432;RS;2\n\
    4;Ana Lima;(49) 98811-4455;SC;3\n\
    6;Caio Reis;;SC;1\n";
/// On 24/11/2026, a Tuesday: a reminder, the due day twice, an overdue notice, nobody's, one due too late, one without a phone.
const INVOICES: &str = "id;id_cliente;valor;data_vencimento;status\n\
    100;1;50,00;27/11/2026;A\n\
    101;2;99,90;24/11/2026;A\n\
    102;3;79,90;21/11/2026;A\n\
    103;4;59,90;24/11/2026;A\n\
    104;1;59,90;24/12/2026;A\n\
    106;6;10,00;24/11/2026;A\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_the_run_then_does_and_writes_nothing() {
    let configuration = files()
        .replace("# [policy.filters]\n# branch = [1, 2]", "[policy.filters]\nbranch = [1, 2]")
        .replace("[approval]", "[price]\nper_message = \"0,05\"\n\n[approval]");
    let house = House::build_with(1, &configuration).await;
    let _up = house.up().await;
    house.cli.run(&["import", "customers", &house.write("clientes.csv", CUSTOMERS.as_bytes()), "--json"]).await.good();
    house.cli.run(&["import", "invoices", &house.write("boletos.csv", INVOICES.as_bytes()), "--json"]).await.good();

    let dry = |on: &'static str| {
        let house = &house;
        async move { house.cli.run(&["run", "update-collections", "--dry-run", "--on", on, "--json"]).await.good().json() }
    };
    let told = dry("2026-11-24").await;
    let stage = |stage: &str, erp: &str, to_send: u64, skipped: u64| json!({"stage": stage, "erp": erp, "to_send": to_send, "skipped": skipped});
    let stages = json!([
        stage("pre_due", "Pré-cobrança/Lembrete", 1, 0),
        stage("due_day", "No vencimento", 1, 1),
        stage("overdue", "Aviso de cobrança", 1, 0)
    ]);
    assert_eq!((&told["stages"], &told["skipped"]), (&stages, &json!({"no_valid_phone": 1})), "{told}");
    assert_eq!((&told["no_policy"], &told["cost"]), (&json!(1), &json!("R$0,15")), "{told}");
    let channel = &told["channels"][0];
    let late = (&channel["messages"], &channel["recipients"], &channel["ending"]);
    assert_eq!(
        late,
        (&json!(0), &json!(0), &json!(3)),
        "at ten the next send-queued-messages is tomorrow's, and the window ends today"
    );
    let sample = &told["samples"][1];
    assert_eq!((&sample["stage"], &sample["values"][0]), (&json!("due_day"), &json!("Padaria São João Ltda")));
    let later = dry("2026-12-24").await;
    assert_eq!(
        later["stages"],
        json!([stage("due_day", "No vencimento", 1, 0)]),
        "another day, looked at from its beginning: {later}"
    );
    let channel = &later["channels"][0];
    assert_eq!((&channel["messages"], &channel["recipients"], &channel["binds"]), (&json!(1), &json!(1), &json!("per_second")));
    assert_eq!((&channel["ending"], &channel["unsent"]), (&json!(0), &json!(0)));
    house.cli.run(&["run", "send-queued-messages", "--dry-run"]).await.refused(2, "update-collections only");
    let database = house.database();
    assert_eq!((database.count("messages").await, database.count("runs").await), (0, 0));

    let told = house.cli.run(&["run", "update-collections", "--dry-run", "--on", "2026-12-24"]).await.good();
    assert!(told.out.contains("the limit of 200 per second binds"), "{told:?}");
    house.run("update-collections").await;
    assert_eq!(database.count("messages WHERE state = 'held'").await, 3);
    assert_eq!(database.count("messages WHERE reason = 'no_valid_phone'").await, 1);
    let after = dry("2026-11-24").await;
    assert_eq!((&after["to_send"], &after["not_due"]["said"]), (&json!(0), &json!(3)), "{after}");
    assert_eq!((&after["channels"][0]["ending"], &after["not_due"]["ended"]), (&json!(3), &json!(1)));
}
