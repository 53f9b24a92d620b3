//! What a notice says, as an operator sees it before and while customers read it.

use crate::import::files;
use regua_e2e::House;
use regua_simulators::{Fault, FaultKind};
use serde_json::Value;
use std::time::Duration;

const CUSTOMERS: &str = "id;razao;telefone_celular;uf;cnpj_cpf\n\
    1;José da Conceição;(49) 98811-2233;SC;123.456.789-09\n\
    2;Padaria São João Ltda;(11) 97654-3210;SP;\n\
    3;Úrsula Gonçalves;(51) 99876-5432;RS;\n";
/// On 24/11/2026 they are due in three days, today, and three days ago.
const INVOICES: &str = "id;id_cliente;valor;data_vencimento;status\n\
    100;1;50,00;27/11/2026;A\n\
    101;2;1.299,90;24/11/2026;A\n\
    102;3;79,90;21/11/2026;A\n";

async fn house() -> House {
    House::build_with(1, &files()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_previewed_tried_and_stopped_alone_when_its_template_changes() {
    let house = house().await;
    let _up = house.up().await;
    house.cli.run(&["import", "customers", &house.write("clientes.csv", CUSTOMERS.as_bytes()), "--json"]).await.good();
    house.cli.run(&["import", "invoices", &house.write("boletos.csv", INVOICES.as_bytes()), "--json"]).await.good();
    let config = house.cli.environment["REGUA_CONFIG"].clone();
    let told = house.cli.run(&["config", "apply", &config]).await.good();
    assert!(told.out.contains("applied") && !told.out.contains("unverified"), "{told:?}");

    let preview = house.cli.run(&["preview", "Vence hoje", "--invoice", "101", "--json"]).await.good().json();
    let text = "Olá Padaria São João Ltda! Sua fatura com valor R$1.299,90 vence hoje, 24/11/2026.";
    assert_eq!(
        (&preview["text"], &preview["to"], &preview["missing"]),
        (&text.into(), &"…3210".into(), &serde_json::Value::Null)
    );
    house.cli.run(&["preview", "Nada", "--invoice", "101"]).await.refused(2, "no notice named \"Nada\"");

    let try_it = ["notice", "test", "Vence hoje", "--phone", "(49) 98800-0001", "--json"];
    let tried = house.cli.run(&try_it).await.good().json();
    assert_eq!(tried["outcome"], "accepted", "{tried}");
    house.cli.run(&["opt-out", "add", "(49) 98800-0001"]).await.good();
    house.cli.run(&try_it).await.refused(1, "opted out");
    let sent = house.requests();
    let [only] = &sent[..] else { panic!("one test is sent: {sent:?}") };
    assert_eq!((only.message, only.phone.as_str()), (None, "+5549988000001"));
    assert_eq!(only.variables, ["TESTE da Silva", "R$123,00", "21/11/2026"]);

    // Opa! Suite's text is another than what was accepted.
    let database = house.database();
    let changed = "UPDATE templates SET text = 'Olá {{1}}! Pague {{2}} até {{3}}.' WHERE name = 'vence_hoje'";
    assert_eq!(database.execute(changed).await, 1);
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    regua_e2e::within(Duration::from_mins(1), "the others go on", async || {
        (database.count("messages WHERE state = 'sent'").await == 2).then_some(())
    })
    .await;
    let status = house.cli.run(&["status", "--json"]).await.good().json();
    assert_eq!((&status["tests"]["accepted"], &status["stops"][0]["raised_by"]), (&1.into(), &"template-changed".into()));
    let differences = status["templates"][0]["differences"].to_string();
    assert!(differences.contains("- Olá {{1}}! Pague") && differences.contains("+ Olá {{nome_cliente}}!"), "{differences}");
    assert_eq!(database.count("messages WHERE stage = 'due_day' AND state IN ('held', 'scheduled', 'queued')").await, 1);
    house.cli.run(&["notice", "accept", "Vence hoje", "--why", "shorter is better"]).await.good();
    house.settled().await;
    assert_eq!((house.requests().len(), database.count("messages WHERE state = 'sent'").await), (4, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_does_not_fit_its_template_is_refused_and_an_opa_that_is_down_only_told() {
    let house = house().await;
    let up = house.up().await;
    drop(up);
    let ask = async |text: &str, dry_run: &[&str]| {
        let file = house.write("other.toml", text.as_bytes());
        house.cli.run(&[&["config", "apply", &file], dry_run].concat()).await
    };
    let apply = async |text: &str| ask(text, &[]).await;
    let valid = std::fs::read_to_string(&house.cli.environment["REGUA_CONFIG"]).unwrap();
    let short = valid.replacen("#cliente_razao#,#areceber_valor#,", "#cliente_razao#,", 1);
    let refused = apply(&short).await;
    refused.refused(1, "\"lembrete_vencimento\" has 3 placeholders, the notice has 2 variables");
    ask(&short, &["--dry-run"]).await.refused(1, "has 3 placeholders, the notice has 2 variables");
    let slower = valid.replacen("per_second = 200", "per_second = 100", 1);
    let told = ask(&slower, &["--dry-run"]).await.good();
    assert!(told.out.contains("  per_second: 200 -> 100\n") && told.out.contains("nothing was"), "{told:?}");
    let told = ask(&valid, &["--dry-run"]).await.good();
    assert!(told.out.contains("nothing changes"), "a dry run applied nothing: {told:?}");
    let gone = valid.replacen("64f1c0de0a1b2c3d4e5f7001", "64f1c0de0a1b2c3d4e5fffff", 1);
    apply(&gone)
        .await
        .refused(1, "isn't on its channel in Opa! Suite; its channel has 64f1c0de0a1b2c3d4e5f7001 (lembrete_vencimento)");
    let down = short.replace("url_env = \"REGUA_DEMO_OPA_URL\"", "url = \"http://127.0.0.1:9/api/v1\"");
    assert_ne!(down, short);
    let told = apply(&down).await.good();
    assert!(told.out.contains("unverified until the next update-collections"), "{told:?}");
}

/// The overdue notice, and the same saying a Pix.
fn overdue_with_pix() -> (String, String) {
    let overdue =
        "template = \"64f1c0de0a1b2c3d4e5f7003\"\nvariables = \"#cliente_razao#,#areceber_valor#,#areceber_data_vencimento#\"";
    (overdue.to_owned(), overdue.replace("#areceber_data_vencimento#", "#pix_copia_e_cola#"))
}

/// A house whose overdue notice says a Pix.
async fn house_with_pix() -> House {
    House::build(300, &[overdue_with_pix()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pix_question_without_an_answer_holds_up_no_run_and_is_asked_again_by_the_next() {
    let house = house_with_pix().await;
    let _up = house.up().await;
    let always = |kind| vec![Fault { path: Some("get_pix".into()), ..Fault::always(kind) }];
    house.ixc.faults(always(FaultKind::Html200)).unwrap();
    house.run("update-collections").await;
    let database = house.database();
    let overdue = async |rest: &str| database.count(&format!("messages WHERE stage = 'overdue' AND {rest}")).await;
    let unwritten = overdue("reason = 'missing_value'").await;
    assert!(unwritten > 20 && overdue("state = 'held'").await == 0, "{unwritten}");
    let invoice = &database.texts("SELECT subject FROM messages WHERE reason = 'missing_value' LIMIT 1").await[0][0];
    let explained = house.cli.run(&["policy", "explain", invoice]).await.good();
    assert!(explained.out.contains("overdue was not written: ") && explained.out.contains("pix_copia_e_cola"), "{explained:?}");
    assert!(database.count("messages WHERE stage <> 'overdue' AND state = 'held'").await > 0, "the others are written");
    assert_eq!(
        i64::try_from(house.ixc.stats().faults["html_200"]).unwrap(),
        unwritten,
        "a wrong answer costs its own title only"
    );
    house.ixc.clear_faults();
    let away = FaultKind::Status { code: 503, body: None, retry_after: None };
    house.ixc.faults(always(away)).unwrap();
    house.run("update-collections").await;
    let asked = house.ixc.stats().faults["status"];
    assert!((5..=13).contains(&asked), "it gives up after five, eight are asked at once: {asked}");
    house.ixc.clear_faults();
    house.run("update-collections").await;
    assert!(overdue("state = 'held'").await > 0, "they came back");
    assert_eq!(database.count("invoices WHERE pix_asked_at IS NOT NULL").await, asked_of(&house).await);
}

/// A stage is given a notice that says a Pix while its messages are held: the next run asks for what these will say by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_gets_its_pix_when_its_notice_comes_to_say_one() {
    let house = House::build(300, &[]).await;
    let _up = house.up().await;
    house.run("update-collections").await;
    let valid = std::fs::read_to_string(&house.cli.environment["REGUA_CONFIG"]).unwrap();
    let (before, after) = overdue_with_pix();
    let file = house.write("pix.toml", valid.replace(&before, &after).as_bytes());
    house.cli.run(&["config", "apply", &file]).await.good();
    let foreseen = house.cli.run(&["run", "update-collections", "--dry-run", "--json"]).await.good().json();
    house.run("update-collections").await;
    let asked = house.ixc.stats().by_resource["get_pix"];
    assert!(asked > 10, "{asked}");
    assert_eq!(foreseen["pix_asked"], asked, "the dry run foresaw it");
    house.run("send-queued-messages").await;
    house.settled().await;
    let codes = house.requests().into_iter().filter(|request| request.variables[2].starts_with("000201")).count();
    let database = house.database();
    let sent = database.count("messages WHERE stage = 'overdue' AND state = 'sent'").await;
    assert!(sent > 10 && i64::try_from(codes).unwrap() == sent, "{codes} of {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_erp_is_asked_for_a_pix_only_where_a_notice_says_it() {
    let house = house_with_pix().await;
    let _up = house.up().await;
    house.run("update-collections").await;
    let database = house.database();
    let (held, missing) = (
        database.count("messages WHERE stage = 'overdue' AND state = 'held'").await,
        database.count("messages WHERE stage = 'overdue' AND reason = 'missing_value'").await,
    );
    assert!(held > 0 && missing > 0, "of ten titles seven have a Pix: {held} {missing}");
    let asked = house.ixc.stats();
    assert_eq!((i64::try_from(asked.by_resource["get_pix"]).unwrap(), asked.inserts_attempted), (asked_of(&house).await, 0));
    assert_eq!(database.count("invoices WHERE pix_asked_at IS NOT NULL").await, asked_of(&house).await);
    house.run("send-queued-messages").await;
    house.settled().await;
    let codes = house.requests().into_iter().filter(|request| request.variables[2].starts_with("000201")).count();
    assert_eq!(i64::try_from(codes).unwrap(), held);
    house.run("update-collections").await;
    assert_eq!(house.ixc.stats().by_resource["get_pix"], asked.by_resource["get_pix"], "nobody is asked twice in a few hours");
}

/// The titles whose overdue message says a Pix and could otherwise be written.
async fn asked_of(house: &House) -> i64 {
    house.database().count("messages WHERE stage = 'overdue' AND reason IS NULL OR reason = 'missing_value'").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pix_payment_asks_the_erp_and_is_told_as_it_will_be_sent() {
    let overdue =
        "template = \"64f1c0de0a1b2c3d4e5f7003\"\nvariables = \"#cliente_razao#,#areceber_valor#,#areceber_data_vencimento#\"";
    let payment = "template = \"64f1c0de0a1b2c3d4e5f7f01\"\npayment = \"pix\"\npayment_amount = \"centavos\"";
    let provider = "[provider]\npix_key = \"11.222.333/0001-81\"\npix_key_type = \"cnpj\"\n\n[[source]]";
    let replaced = [(overdue.to_owned(), payment.to_owned()), ("[[source]]".to_owned(), provider.to_owned())];
    let house = House::build(300, &replaced).await;
    let _up = house.up().await;
    house.run("update-collections").await;
    let database = house.database();
    let held = database.count("messages WHERE stage = 'overdue' AND state = 'held'").await;
    assert!(held > 0 && house.ixc.stats().by_resource["get_pix"] > 0, "{held}");
    let kept = "message_texts t JOIN messages m ON m.id = t.message_id WHERE m.stage = 'overdue' AND t.variables LIKE '{%\"means\":\"pix\"%'";
    assert_eq!(database.count(kept).await, held);

    let messages = house.cli.run(&["messages", "--state", "held", "--json"]).await.good();
    let messages: Vec<Value> = messages.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let message = messages.iter().find(|message| message["stage"] == "overdue").expect("one is held");
    let (id, invoice) = (message["id"].as_str().unwrap(), message["subject"].as_str().unwrap());
    let told = house.cli.run(&["message", id, "--json"]).await.good().json();
    assert_eq!((&told["text"]["payment"], &told["text"]["media"]), (&"pix".into(), &false.into()), "{told}");
    let preview = house.cli.run(&["preview", "Aviso de cobrança", "--invoice", invoice]).await.good();
    let amount = told["text"]["amount"].to_string();
    for part in ["payment: Pix, R$", &format!("(sent as \"{amount}\"), code 000201")] {
        assert!(preview.out.contains(part), "{part}: {preview:?}");
    }
    let checked = house.cli.run(&["check", "--json"]).await;
    assert!(checked.out.contains("a payment by pix, its amount in centavos"), "{checked:?}");
}
