//! `regua check`: what an operator is told of everything that a day needs, each problem with its mend, without anything being changed.

use regua_e2e::{Cli, Database, Done, House, Program, World, WorldOptions, within};
use regua_simulators::ixc::OwnSender;
use regua_simulators::opa::catalogue::{CHANNEL_INACTIVE, CHANNEL_INSTAGRAM, CHANNEL_WHATSAPP, CHANNEL_WHATSAPP_SECOND};
use serde_json::Value;
use std::time::Duration;

/// How long a periodic duty may take to be seen.
const SEEN_WITHIN: Duration = Duration::from_mins(1);

/// The findings, one JSON object a line.
fn findings(done: &Done) -> Vec<Value> {
    done.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {done:?}"))).collect()
}

/// The finding about one thing.
#[track_caller]
fn of(done: &Done, what: &str) -> Value {
    let found = findings(done).into_iter().find(|finding| finding["what"] == what);
    found.unwrap_or_else(|| panic!("nothing about {what}: {done:?}"))
}

/// Applies the demo's configuration with pieces replaced, then checks one part. Whoever applies it has another token: what Opa! Suite
/// would say against it is found by the check alone, as it is when something changes there later.
async fn check(house: &House, part: &str, replace: &[(&str, &str)]) -> Done {
    let replace: Vec<_> = replace.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect();
    let file = house.write("checked.toml", regua_e2e::configuration(&replace).as_bytes());
    house.cli.clone().with("REGUA_DEMO_OPA_TOKEN", "another").run(&["config", "apply", &file]).await.good();
    house.cli.run(&["check", part, "--json"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_of_the_environment_is_taken() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let mut house = House::build(1, &[]).await;
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        house.cli = house.cli.clone().with(name, &format!("http://{}", proxy.local_addr().unwrap()));
    }
    check(&house, "opa", &[]).await.good();
    check(&house, "ixc", &[]).await.good();
    assert!(proxy.accept().is_err(), "nobody came");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_opa_tells_each_problem_with_its_mend_and_what_the_api_cannot_say() {
    let house = House::build(1, &[]).await;
    let good = check(&house, "opa", &[]).await.good();
    assert!(findings(&good).iter().all(|finding| finding["ok"] == true));
    let approval = of(&good, "templates of \"Opa! Suite\"");
    assert!(
        approval["result"].as_str().unwrap().contains("approved")
            && approval["mend"].as_str().unwrap().contains("regua notice test")
    );
    assert!(of(&good, "channel \"Cobrança\"")["result"].as_str().unwrap().contains("no daily limit reported"));
    assert!(findings(&good).iter().all(|finding| !finding["what"].as_str().unwrap().starts_with("IXC")), "only that part");

    for (channel, why) in [(CHANNEL_INACTIVE, "switched off"), (CHANNEL_INSTAGRAM, "no WhatsApp number")] {
        let done = check(&house, "opa", &[(CHANNEL_WHATSAPP, channel)]).await;
        let finding = of(&done, "channel \"Cobrança\"");
        assert!(done.code == Some(1) && finding["result"].as_str().unwrap().contains(why), "{finding}");
        let mend = finding["mend"].as_str().unwrap();
        assert!(mend.contains(CHANNEL_WHATSAPP) && mend.contains(CHANNEL_WHATSAPP_SECOND), "{mend}");
        assert!(!mend.contains(CHANNEL_INACTIVE) && !mend.contains(CHANNEL_INSTAGRAM), "only active WhatsApp numbers: {mend}");
    }
    let variables = "variables = \"#cliente_razao#,#areceber_valor#,#areceber_data_vencimento#\"";
    let done = check(
        &house,
        "opa",
        &[("64f1c0de0a1b2c3d4e5f7001", "64f1c0de0a1b2c3d4e5fffff"), (variables, "variables = \"#cliente_razao#\"")],
    )
    .await;
    assert!(of(&done, "notice \"Lembrete de vencimento\"")["mend"].as_str().unwrap().contains("64f1c0de0a1b2c3d4e5f7001"));
    assert!(
        of(&done, "notice \"Vence hoje\"")["result"].as_str().unwrap().contains("3 placeholders, the notice has 1 variables")
    );

    let stranger: Cli = house.cli.clone().with("REGUA_DEMO_OPA_TOKEN", "another");
    let refused = stranger.run(&["check", "opa", "--json"]).await;
    assert!(refused.code == Some(1) && of(&refused, "Opa! Suite \"Opa! Suite\"")["mend"].is_string(), "{refused:?}");
    let off = check(&house, "opa", &[("[[integration]]", "[[integration]]\nname = \"Antiga\"\nurl = \"https://x.example.com\"\ntoken_env = \"NO_TOKEN\"\nenabled = false\n\n[[integration]]")]).await;
    assert!(of(&off.good(), "Opa! Suite \"Antiga\"")["result"].as_str().unwrap().contains("switched off"));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_ixc_tells_whether_the_erp_itself_writes_to_the_same_customers() {
    let house = House::build(50, &[]).await;
    let senders = "own senders of IXC \"IXC Provedor\"";
    let unread = check(&house, "ixc", &[]).await.good();
    assert!(of(&unread, "titles of IXC \"IXC Provedor\"")["result"].as_str().unwrap().contains("open titles"));
    let finding = of(&unread, senders);
    assert!(finding["result"].as_str().unwrap().contains("could not be checked"), "{finding}");
    assert!(finding["mend"].as_str().unwrap().contains("Parâmetros da Cobrança"), "{finding}");

    let ours = format!("{}/atendente", house.opa.url());
    let other = "https://outra.example.com/api/v1".to_owned();
    for (settings, code, says) in [
        (OwnSender::default(), 0, "off"),
        (OwnSender { regua: true, ..OwnSender::default() }, 0, "no omnichannel gateway"),
        (
            OwnSender { regua: true, gateways: vec![other, ours], ..OwnSender::default() },
            1,
            "the Régua de Cobrança is on and may notify the same customers through the same Opa! Suite",
        ),
        (
            OwnSender { crm: true, gateways: vec!["https://outra.example.com".into()], ..OwnSender::default() },
            1,
            "another address",
        ),
    ] {
        house.ixc.set_own_sender(Some(settings));
        let done = house.cli.run(&["check", "ixc", "--json"]).await;
        let finding = of(&done, senders);
        assert_eq!((done.code, finding["ok"].as_bool()), (Some(code), Some(code == 0)), "{finding}");
        assert!(finding["result"].as_str().unwrap().contains(says), "{finding}");
    }
    assert_eq!(house.ixc.stats().inserts_attempted, 0, "it only reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_no_task_empties_is_told_wherever_somebody_looks() {
    let kind = "kind = \"send-queued-messages\"";
    let without = [(kind.to_owned(), format!("enabled = false\n{kind}"))];
    let house = House::build(50, &without).await;
    let mut up = house.up().await;
    let file = house.cli.environment["REGUA_CONFIG"].clone();
    let saved = house.cli.run(&["config", "apply", &file]).await.good();
    assert!(saved.err.contains("fila parada") && saved.err.contains("release = \"immediate\""), "{saved:?}");

    house.run("update-collections").await;
    let status = house.cli.run(&["status", "--json"]).await.good().json();
    let held = &status["messages"]["held"];
    assert!(held.as_u64().unwrap() > 0 && status["parked"]["messages"] == *held, "{status}");
    house.cli.run(&["status"]).await.good().refused(0, "PARKED");
    house.cli.run(&["check"]).await.refused(1, "fila parada");
    let metric =
        within(SEEN_WITHIN, "the scheduler sees it", async || up.metric("regua_queue_parked").await.filter(|n| *n > 0.0)).await;
    assert!((metric - held.as_f64().unwrap()).abs() < 0.5);
    assert!(up.log().contains("queue.parked") && up.problem("scheduler/queue").await.is_some(), "{}", up.log());

    house.run("send-queued-messages").await;
    house.settled().await;
    assert!(house.cli.run(&["status", "--json"]).await.good().json()["parked"].is_null());
}

/// How many rows there are wherever a check might leave one.
async fn rows(database: &Database) -> Vec<i64> {
    let mut rows = Vec::new();
    for table in
        ["settings", "runs", "messages", "attempts", "stops", "audit_log", "commands", "test_sends", "templates", "sources"]
    {
        rows.push(database.count(table).await);
    }
    rows
}

/// (what, grade) of every finding.
fn grades(done: &Done) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings(done).iter().map(|finding| (text(&finding["what"]), text(&finding["grade"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_lacks_nothing_is_told_in_a_fixed_order_and_nothing_is_changed_or_sent() {
    // What is decided after 08:30 is released today, before it ends unsent.
    let later = ("minute = 30\nhour = 8".to_owned(), "minute = 30\nhour = 17".to_owned());
    let house = House::build(50, &[later]).await;
    let _up = house.up().await;
    house.run("update-collections").await;
    house.ixc.set_own_sender(Some(OwnSender::default()));
    let (database, requests) = (house.database(), house.requests().len());
    let before = rows(&database).await;
    let done = house.cli.run(&["check", "--json"]).await.good();
    let told = grades(&done);
    assert!(told.iter().all(|(_, grade)| grade != "problem"), "{told:?}");
    let kinds = [
        "environment",
        "REGUA_CONFIG",
        "ledger",
        "SQLite",
        "writes",
        "integrity",
        "disk",
        "broker",
        "configuration",
        "secrets",
        "clock",
        "clock of Opa! Suite \"Opa! Suite\"",
        "clock of IXC \"IXC Provedor\"",
        "Opa! Suite \"Opa! Suite\"",
        "channel \"Cobrança\"",
        "notice \"Lembrete de vencimento\"",
        "notice \"Vence hoje\"",
        "notice \"Aviso de cobrança\"",
        "templates of \"Opa! Suite\"",
        "IXC \"IXC Provedor\"",
        "titles of IXC \"IXC Provedor\"",
        "contracts of IXC \"IXC Provedor\"",
        "own senders of IXC \"IXC Provedor\"",
        "mirror of \"IXC Provedor\"",
        "task plan",
        "update-collections",
        "send-queued-messages",
        "volume of channel \"Cobrança\"",
        "volume",
        "budget of business \"Provedor Exemplo\"",
        "webhooks",
        "stops",
        "doubt",
        "failures",
        "templates",
    ];
    assert_eq!(told.iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>(), kinds);
    let table = house.cli.run(&["check"]).await.good();
    assert_eq!(table.out.lines().count(), kinds.len() + 1, "one row each: {}", table.out);
    assert_eq!((rows(&database).await, house.requests().len()), (before, requests));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_or_was_never_made_is_a_problem_with_its_mend_and_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap();
    let nowhere = Cli { environment: [("PATH".to_owned(), path)].into(), folder: folder.path().to_owned() };
    let empty = nowhere.run(&["check", "--json"]).await;
    assert_eq!(empty.code, Some(1));
    assert!(of(&empty, "ledger")["mend"].as_str().unwrap().contains("regua config apply"), "{empty:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file is made");

    let secret = "postgres://regua:s3cret@127.0.0.1:1/regua";
    let away = nowhere.clone().with("REGUA_DATABASE_URL", secret).with("REGUA_BROKER_URL", "amqp://u:s3cret@127.0.0.1:1/");
    let away = away.with("REGUA_DATABSE_URL", "x");
    let done = away.run(&["check", "--json"]).await;
    assert!(done.code == Some(1) && !done.out.contains("s3cret"), "{done:?}");
    let graded: Vec<_> = grades(&done);
    let expected = [("environment", "warning"), ("ledger", "problem"), ("broker", "problem")];
    assert_eq!(graded, expected.map(|(what, grade)| (what.to_owned(), grade.to_owned())));
    assert!(of(&done, "ledger")["result"].as_str().unwrap().contains("refused"), "the reason, not a time-out: {done:?}");

    nowhere.with("REGUA_DATABASE_URL", "mysql://x").run(&["check"]).await.refused(2, "REGUA_DATABASE_URL");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_version_is_told_and_left_alone() {
    let house = House::build(1, &[]).await;
    let file = house.cli.environment["REGUA_CONFIG"].clone();
    house.cli.run(&["config", "apply", &file]).await.good();
    let database = house.database();
    let newest = database.number("SELECT MAX(version) FROM migrations").await.unwrap();
    database.execute(&format!("DELETE FROM migrations WHERE version = {newest}")).await;
    let done = house.cli.run(&["check", "--json"]).await;
    let told = of(&done, "ledger");
    assert!(
        done.code == Some(1) && told["result"].as_str().unwrap().contains(&format!("its schema is {}", newest - 1)),
        "{told}"
    );
    assert_eq!(
        database.number("SELECT MAX(version) FROM migrations").await,
        Some(newest - 1),
        "a check brings nothing up to date"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_may_forget_what_was_committed_is_told() {
    let house = House::build_on_postgres(1, &[]).await;
    let file = house.cli.environment["REGUA_CONFIG"].clone();
    house.cli.run(&["config", "apply", &file]).await.good();
    let url = format!("{}%20-c%20synchronous_commit%3Doff", house.database().url);
    let done = house.cli.clone().with("REGUA_DATABASE_URL", &url).run(&["check", "--json"]).await;
    let durability = of(&done, "durability");
    assert_eq!((&durability["grade"], done.code), (&"problem".into(), Some(1)), "{durability}");
    assert!(durability["result"].as_str().unwrap().contains("synchronous_commit is off"), "{durability}");
    for what in ["PostgreSQL", "connections", "time-outs", "writes"] {
        assert_ne!(of(&done, what)["grade"], "problem", "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_version_queues_and_dead_letters_are_told() {
    let world = World::set(WorldOptions::customers(1)).await;
    let mut scheduler = world.spawn(Program::Scheduler);
    scheduler.ready().await;
    let check = async || world.cli().run(&["check", "--json"]).await;
    let done = within(SEEN_WITHIN, "the queues are there", async || {
        let done = check().await;
        findings(&done).iter().any(|finding| finding["what"] == "queue").then_some(done)
    })
    .await;
    assert!(of(&done, "broker")["result"].as_str().unwrap().starts_with("reached, RabbitMQ "), "its version: {done:?}");
    assert!(of(&done, "queue")["result"].as_str().unwrap().contains("regua.ticks has"), "nobody consumes it yet: {done:?}");
    assert_eq!(of(&done, "dead letters")["result"], "none");

    let mut dispatcher = world.spawn(Program::Dispatcher);
    dispatcher.ready().await;
    world.queues.publish("hints", "hint", Some(1), None, b"no JSON").await;
    within(SEEN_WITHIN, "it is dead", async || (world.queues.ready("regua.hints.dead").await == 1).then_some(())).await;
    let done = check().await;
    assert_eq!((&of(&done, "dead letters")["result"], &of(&done, "dead letters")["grade"]), (&"1".into(), &"warning".into()));
    assert!(done.out.contains("regua.hints is a quorum queue"), "{done:?}");
}
