//! `regua support-bundle`: everything that whoever helps needs, and nobody's data.

use regua_e2e::{Database, House, until};
use serde_json::Value;

const NAME: &str = "Maria Aparecida Semente";
const PHONE: &str = "49988776655";
const TAX_ID: &str = "529.982.247-25";
const EMAIL: &str = "maria.semente@example.com";
const TOKEN: &str = "tok_semente_9f8e7d6c5b";
const PIX: &str = "00020126580014br.gov.bcb.pix0136semente5204000053039865802BR6304ABCD";
const LINE: &str = "34191790010104351004791020150008291070026000";
const HOST: &str = "interno.semente.example.net";
/// What is searched for: these, and the parts of them that would be enough.
const SEEDS: [&str; 12] = [NAME, "Aparecida", "emente", PHONE, "88776655", TAX_ID, "52998224725", EMAIL, TOKEN, PIX, LINE, HOST];

/// All of it in one text, as somebody may type it anywhere.
fn everything() -> String {
    [NAME, PHONE, TAX_ID, "52998224725", EMAIL, TOKEN, PIX, LINE, HOST].join(" ")
}

/// The demo's configuration with seeds wherever a file takes a text.
fn configuration() -> Vec<(String, String)> {
    let name = format!("{NAME} {PHONE}");
    let pieces = [
        ("\"Opa! Suite\"".to_owned(), format!("\"Opa {name}\"")),
        ("\"A base do provedor no Opa! Suite\"".to_owned(), format!("\"{}\"", everything())),
        ("\"Provedor Exemplo\"".to_owned(), format!("\"Provedor {name}\"")),
        ("\"Cobrança\"".to_owned(), format!("\"Canal {name}\"")),
        ("\"Aviso de cobrança\"".to_owned(), format!("\"Aviso {name}\"")),
        ("\"Todos os clientes\"".to_owned(), format!("\"Todos {name}\"")),
        ("\"IXC Provedor\"".to_owned(), format!("\"IXC {name}\"")),
        ("kind = \"send-queued-messages\"".to_owned(), format!("name = \"Envia {name}\"\nkind = \"send-queued-messages\"")),
        (
            "[window]".to_owned(),
            format!(
                "[provider]\nname = \"{NAME}\"\ntax_id = \"{TAX_ID}\"\naddress = \"{HOST}\"\nphone = \"{PHONE}\"\n\n[window]"
            ),
        ),
    ];
    pieces.into()
}

/// Puts seeds into every column of the ledger that may hold what somebody wrote or answered.
async fn seed(database: &Database) {
    let all = everything().replace('\'', "''");
    for (table, column) in [
        ("runs", "note"),
        ("stops", "why"),
        ("stops", "raised_by"),
        ("opt_outs", "why"),
        ("audit_log", "why"),
        ("audit_log", "by_whom"),
        ("attempts", "provider_code"),
        ("attempts", "dispatcher"),
        ("templates", "name"),
        ("templates", "seen_text"),
        ("message_texts", "variables"),
        ("message_texts", "phone"),
        ("customers", "record"),
        ("messages", "provider_id"),
        ("test_sends", "reason"),
    ] {
        database.execute(&format!("UPDATE {table} SET {column} = '{all}'")).await;
    }
    // One message each whose subject and reason are a stranger's text, one that failed, one in doubt; and a gate that is closed for a stranger's reason.
    let one = "(SELECT id FROM messages WHERE state = 'sent' LIMIT 1)";
    database
        .execute(&format!("UPDATE messages SET subject = '{all}', state = 'failed', reason = 'rejected' WHERE id = {one}"))
        .await;
    database.execute(&format!("UPDATE messages SET state = 'in_doubt', reason = '{all}' WHERE id = {one}")).await;
    database.execute(&format!("UPDATE messages SET state = 'skipped', reason = '{all}' WHERE id = {one}")).await;
    database.execute(&format!("UPDATE gates SET paused_until = 4000000000000000, pause_reason = '{all}'")).await;
}

#[track_caller]
fn nobodys_data(bundle: &str, others: &[String]) {
    for seed in SEEDS.into_iter().chain(others.iter().map(String::as_str)) {
        if let Some(at) = bundle.find(seed) {
            let start = bundle[..at].rfind('\n').unwrap_or(0);
            panic!("the bundle has {seed:?}: {}", bundle[start..].lines().take(3).collect::<String>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_support_bundle_tells_what_is_wrong_and_nobodys_data() {
    let house = House::build(120, &configuration()).await;
    let mut up = house.up().await;
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    house.settled().await;
    // Only now: one phone gets a message every six seconds.
    let file = std::fs::read_to_string(&house.cli.environment["REGUA_CONFIG"]).unwrap();
    let pilot = house.write("pilot.toml", format!("{file}\n[pilot]\nredirect_to = \"+55{PHONE}\"\n").as_bytes());
    house.cli.run(&["config", "apply", &pilot]).await.good();
    let channel = format!("Canal {NAME} {PHONE}");
    house.cli.run(&["pause", "--channel", &channel, "--why", &everything()]).await.good();
    house.cli.run(&["opt-out", "add", PHONE, "--why", NAME]).await.good();
    house.cli.run(&["hold", "invoice", "101", "--until", "2026-12-01", "--why", &everything()]).await;
    let database = house.database();
    seed(&database).await;
    until("the metrics are those of now", async || {
        let line = "regua_waiting_messages{channel=\"Canal";
        let (_, text) = up.get("/metrics").await?;
        (text.contains("state=\"sent\"") && text.contains(line)).then_some(())
    })
    .await;

    let address = format!("http://{}", up.address().await);
    let stranger = house.opa.url();
    let arguments = ["support-bundle", "--out", "bundle.json", "--from", &address, "--from", &stranger];
    let cli = house.cli.clone().with("SEMENTE_TOKEN", TOKEN);
    cli.run(&arguments).await.good();
    let text = std::fs::read_to_string(cli.folder.join("bundle.json")).unwrap();
    let provider = house.ixc.provider();
    let customers = (1..=120).filter_map(|id| provider.customer(id));
    let mut others: Vec<String> = customers.filter_map(|customer| provider.mobile_of(customer.id)).collect();
    others.extend([house.opa.token().to_owned(), house.ixc.token().to_owned(), "127.0.0.1".to_owned()]);
    nobodys_data(&text, &others);

    let bundle: Value = serde_json::from_str(&text).unwrap();
    assert!(bundle["status"]["messages"]["sent"].as_u64().unwrap() > 0, "{text}");
    assert_eq!(bundle["configuration"]["channels"][0]["channel"], "channel 1");
    assert_eq!(
        (&bundle["configuration"]["pilot"], &bundle["status"]["channels"][0]["channel"]),
        (&"redirect".into(), &"channel 1".into())
    );
    let stop = &bundle["status"]["stops"][0];
    assert_eq!((&stop["target"], &stop["raised_by"]), (&"channel 1".into(), &"a person".into()), "{stop}");
    assert_eq!(bundle["failures"]["by_reason"]["rejected"], 1);
    assert!(
        bundle["check"].as_array().unwrap().iter().any(|finding| finding["what"] == "SQLite" && finding["result"].is_string())
    );
    let process = &bundle["processes"][0];
    let samples: Vec<&str> = process["metrics"].as_array().unwrap().iter().map(|sample| sample.as_str().unwrap()).collect();
    let is_sent =
        |sample: &&str| sample.starts_with("regua_messages{reason=\"\",stage=\"") && sample.contains("state=\"sent\"} ");
    assert!(samples.iter().any(is_sent) && process["readyz"]["status"].is_number(), "{process}");
    assert!(samples.contains(&"regua_component_ready{component=\"ledger\"} 1"), "{process}");
    assert_eq!(bundle["processes"][1]["metrics"], serde_json::json!([]), "a stranger's page is none of ours");

    cli.run(&arguments).await.refused(2, "--out bundle.json");
    let printed = cli.run(&["support-bundle", "--out", "-"]).await.good();
    assert_eq!(printed.json()["configuration"], bundle["configuration"], "a container may have nowhere to write");
    cli.run(&["support-bundle", "--out", "other.json", "--from", "ftp://x"]).await.refused(2, "expected http://");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_support_bundle_of_a_ledger_that_cannot_be_reached_has_what_there_is() {
    let house = House::build(1, &[]).await;
    let away = house.cli.clone().with("REGUA_DATABASE_URL", "postgres://maria_semente:tok@127.0.0.1:1/semente");
    away.run(&["support-bundle"]).await.good();
    let text = std::fs::read_to_string(away.folder.join("regua-support.json")).unwrap();
    nobodys_data(&text, &["127.0.0.1".to_owned()]);
    let bundle: Value = serde_json::from_str(&text).unwrap();
    assert!(bundle["status"].is_null() && bundle["configuration"].is_null(), "{text}");
    assert!(
        bundle["check"].as_array().unwrap().iter().any(|finding| finding["what"] == "ledger" && finding["grade"] == "problem")
    );
}
