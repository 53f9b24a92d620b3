//! A provider that is away, slow or out of patience: what several dispatchers do about it together.

use chrono::{TimeDelta, Utc};
use regua_e2e::{House, Service, World, WorldOptions, until};
use regua_simulators::opa::catalogue::CHANNEL_WHATSAPP_SECOND;
use regua_simulators::{Fault, FaultKind, OpaOptions, OpaSimulator};
use serde_json::json;

/// A certain fault of what is sent.
fn sending(kind: FaultKind) -> Fault {
    Fault { path: Some("/template/send".into()), ..Fault::always(kind) }
}

fn status(code: u16, retry_after: Option<&str>) -> FaultKind {
    FaultKind::Status { code, body: None, retry_after: retry_after.map(Into::into) }
}

/// A column of the one gate that isn't as it was made.
async fn gate(world: &World, column: &str) -> Option<i64> {
    world.database.number(&format!("SELECT {column} FROM gates ORDER BY trips DESC, paused_until DESC NULLS LAST LIMIT 1")).await
}

/// F26 e: three dispatchers and a provider that fails: one request per rest over all of them, none before.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_away_all_dispatchers_together_send_one_request_per_rest() {
    let world = World::set(WorldOptions::customers(600)).await;
    let _crew = world.crew(3).await;
    world.run("update-collections").await;
    world.opa.faults(vec![sending(status(500, None))]).unwrap();
    world.run("send-queued-messages").await;
    until("the breaker opens", async || gate(&world, "trips").await.filter(|trips| *trips > 0)).await;
    let on_the_wire = "messages WHERE state = 'sending'";
    until("nothing is on the wire", async || (world.database.count(on_the_wire).await == 0).then_some(())).await;
    let struck = || world.opa.stats().faults["status"];
    let before = struck();
    assert!(before <= 96, "no more than was in flight: {before}");
    for (trips, rest_s) in [(2, 66), (3, 126), (4, 246)] {
        world.database.pass(TimeDelta::seconds(rest_s)).await;
        until("the probe fails", async || gate(&world, "trips").await.filter(|now| *now >= trips)).await;
        until("nothing is on the wire", async || (world.database.count(on_the_wire).await == 0).then_some(())).await;
        assert_eq!(struck() - before, u64::try_from(trips).unwrap() - 1, "one request per rest");
    }
    world.opa.clear_faults();
    world.database.pass(TimeDelta::seconds(486)).await;
    world.settled().await;
    assert_eq!(gate(&world, "trips").await, Some(0), "the probe that was answered closed the breaker");
    assert_eq!(
        world.in_state("in_doubt").await,
        i64::try_from(struck()).unwrap(),
        "each failure is one doubt, none is sent again"
    );
    world.conserved().await;
}

/// A house whose messages all wait for Opa! Suite, which refuses whatever is asked.
async fn refused() -> (House, Service) {
    let house = House::build(150, &[]).await;
    let up = house.up().await;
    house.run("update-collections").await;
    house.opa.faults(vec![Fault::always(status(401, None))]).unwrap();
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    until("the stop is raised", async || (house.database().count(OPEN_STOPS).await == 1).then_some(())).await;
    (house, up)
}

const OPEN_STOPS: &str = "stops WHERE lifted_at IS NULL";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_stops_the_integration_until_a_check_finds_it_accepted() {
    let (house, mut up) = refused().await;
    let database = house.database();
    let told = until("/readyz tells", async || up.problem("stops").await).await;
    assert!(told.contains("integration Opa! Suite") && told.contains("lifted when its cause is gone"), "{told}");
    // The first check, after a minute: it is refused still.
    database.pass(TimeDelta::seconds(61)).await;
    until("it is checked", async || (database.count("stops WHERE checks = 1").await == 1).then_some(())).await;
    until("the check says so", async || up.log().contains("stop.checked").then_some(())).await;
    assert_eq!(database.count(OPEN_STOPS).await, 1);
    let status = house.cli.run(&["status"]).await.good().out;
    assert!(status.contains("STOPPED      integration Opa! Suite by answer since"), "{status}");
    house.opa.clear_faults();
    database.pass(TimeDelta::seconds(121)).await;
    until("the next one lifts it", async || (database.count(OPEN_STOPS).await == 0).then_some(())).await;
    until("and says so", async || up.log().contains("stop.lifted").then_some(())).await;
    for (metric, value) in [
        ("regua_stops{raised_by=\"automatic\",scope=\"integration\"}", 0.0),
        ("regua_stops_raised_total{scope=\"integration\"}", 1.0),
        ("regua_stops_lifted_total{scope=\"integration\"}", 1.0),
    ] {
        // The last sample may be ten seconds old.
        until("/metrics says the same", async || up.metric(metric).await.filter(|found| (found - value).abs() < 0.5)).await;
    }
    database.pass(TimeDelta::seconds(61)).await;
    house.settled().await;
    assert_eq!(database.count("messages WHERE state IN ('failed', 'in_doubt')").await, 0);
    assert!(house.opa.stats().accepted > 20);
}

/// F17: an operator's pause holds from the next start on, in every process, and ends by itself if it was given an end.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_within_a_second_and_ends_when_it_was_said_to() {
    let world = World::set(WorldOptions::customers(1500)).await;
    let _crew = world.crew(2).await;
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    world.accepted(50).await;
    let until_at = (world.ledger.now().await.unwrap() + TimeDelta::minutes(20)).to_rfc3339();
    world.cli().run(&["pause", "--everything", "--until", &until_at, "--why", "a test"]).await.good();
    let paused_at = world.ledger.now().await.unwrap();
    world
        .cli()
        .run(&["pause", "--channel", "Cobrança", "--until", "2020-01-01T00:00:00Z", "--why", "x"])
        .await
        .refused(1, "has passed");
    until("nothing is on the wire", async || (world.in_state("sending").await == 0).then_some(())).await;
    let waiting = "messages WHERE state IN ('held', 'scheduled', 'queued')";
    assert!(world.database.count(waiting).await > 100, "it came in mid-send");
    let last = world.database.number("SELECT MAX(slot_at) FROM attempts").await.unwrap();
    let late = last - paused_at.timestamp_micros();
    assert!(late < 1_000_000, "the last slot was {late} µs after the pause");
    world.database.pass(TimeDelta::minutes(21)).await;
    world.settled().await;
    world.conserved().await;
}

/// Contracts §5, rule 8: a template that is wrong doesn't fail thousands of messages one by one.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_opa_suite_keeps_rejecting_stops_and_its_messages_wait() {
    let house = House::build(700, &[]).await;
    let mut up = house.up().await;
    house.run("update-collections").await;
    let body = json!({ "status": "error", "code": 400, "data": { "message": "(#132000) Number of parameters does not match" } });
    let rejected = FaultKind::Status { code: 400, body: Some(body), retry_after: None };
    house.opa.faults(vec![sending(rejected)]).unwrap();
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    let database = house.database();
    let stopped = "stops WHERE lifted_at IS NULL AND scope = 'template' AND raised_by = 'answer'";
    until("each of the three templates is stopped", async || (database.count(stopped).await == 3).then_some(())).await;
    until("nothing is on the wire", async || (database.count("messages WHERE state = 'sending'").await == 0).then_some(())).await;
    let failed = database.count("messages WHERE state = 'failed' AND reason = 'parameter_count'").await;
    // Five of each, what had its slot already, and what started while the stop was written.
    assert!((15..=3 * (5 + 2 * 32)).contains(&failed), "{failed} failed");
    assert!(database.count("messages WHERE state IN ('held', 'scheduled', 'queued')").await > 100, "the others wait");
    let told = until("/readyz tells", async || up.problem("stops").await).await;
    assert!(told.contains("5 rejections in a row: parameter_count (132000)") && told.contains("no check does"), "{told}");
    house.opa.clear_faults();
    let targets = database.texts(&format!("SELECT target FROM {stopped}")).await;
    for target in targets {
        house.cli.run(&["resume", "--template", &target[0], "--why", "mended"]).await.good();
    }
    database.pass(TimeDelta::seconds(61)).await;
    house.settled().await;
    assert_eq!(database.count("messages WHERE state = 'failed'").await, failed, "those that failed stay for a person");
    assert_eq!(database.count("messages WHERE state = 'in_doubt'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_of_nothing_closes_the_channel_and_touches_no_message() {
    let house = House::build(150, &[]).await;
    let allowance = json!({ "messagesSent": 1000, "dailyLimit": 1000, "availableAmount": 0 });
    let body = Some(json!({ "status": "success", "code": 200, "data": allowance }));
    let used_up = FaultKind::Status { code: 200, body, retry_after: None };
    house.opa.faults(vec![Fault { path: Some("limites-diarios-envio".into()), ..Fault::always(used_up) }]).unwrap();
    let _up = house.up().await;
    let database = house.database();
    let closed = "gates WHERE pause_reason = 'allowance'";
    until("the channel is closed", async || (database.count(closed).await == 1).then_some(())).await;
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    let held = database.count("messages WHERE state = 'held'").await;
    assert!(held > 20, "{held}");
    // It says so again five minutes later.
    let asked = database.number("SELECT MAX(allowance_asked_at) FROM gates").await;
    database.pass(TimeDelta::minutes(5)).await;
    until("it is asked again", async || {
        (database.number("SELECT MAX(allowance_asked_at) FROM gates").await > asked).then_some(())
    })
    .await;
    assert_eq!(house.opa.stats().accepted, 0);
    assert_eq!(database.count("messages WHERE state = 'held'").await, held, "nothing was touched");
    house.opa.clear_faults();
    database.pass(TimeDelta::minutes(5)).await;
    until("no limit is reported: it opens", async || (database.count(closed).await == 0).then_some(())).await;
    house.settled().await;
    assert_eq!(database.count("messages WHERE state IN ('failed', 'in_doubt')").await, 0);
}

/// What `Retry-After` asks, in seconds, as a date and absurdly, holds for every dispatcher at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_of_any_form_pauses_the_channel_for_all_dispatchers() {
    let world = World::set(WorldOptions::customers(1500)).await;
    let _crew = world.crew(3).await;
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    world.accepted(20).await;
    let date = |seconds: i64| (Utc::now() + TimeDelta::seconds(seconds)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut pauses = Vec::new();
    for (asked, least_s, most_s) in [
        ("40".to_owned(), 38, 46),
        (date(40), 35, 46),
        ("99999999999999".to_owned(), 3595, 3606),
        (date(99_999_999), 3595, 3606),
        // What can't be understood is a wait of our own.
        ("-5".to_owned(), 28, 36),
    ] {
        world.opa.faults(vec![Fault { count: Some(1), ..sending(status(429, Some(&asked))) }]).unwrap();
        let until_us = until("the channel is paused", async || {
            gate(&world, "CASE WHEN pause_reason = 'throttled' AND paused_until > (SELECT MAX(slot_at) FROM attempts) THEN paused_until END").await
        })
        .await;
        let from_us = world.ledger.now().await.unwrap().timestamp_micros();
        let seconds = (until_us - from_us) / 1_000_000;
        assert!((least_s..=most_s).contains(&seconds), "{asked}: {seconds} s");
        pauses.push((from_us, until_us));
        until("nothing is on the wire", async || (world.in_state("sending").await == 0).then_some(())).await;
        world.opa.clear_faults();
        world.database.pass(TimeDelta::seconds(seconds + 1)).await;
        let before = world.opa.stats().accepted;
        world.accepted(before + 20).await;
    }
    for (from_us, until_us) in pauses {
        // A slot lies at most 200 ms ahead.
        let inside = format!("attempts WHERE slot_at > {from_us} + 200000 AND slot_at < {until_us}");
        assert_eq!(world.database.count(&inside).await, 0, "no dispatcher sent anything meanwhile");
    }
    assert_eq!(world.in_state("failed").await + world.in_state("in_doubt").await, 0);
}

/// What the channel of the base that answers may send per second.
const HEALTHY_PER_SECOND: i64 = 20;
/// What is compared of it: so long of the ledger's time while the other hangs, and as long after that. Both end long before a time-out.
const COMPARED_US: i64 = 10_000_000;

/// A house on PostgreSQL with two Opa! Suites, each with a channel of its own; nobody answers what is sent to the second.
async fn one_of_two_hangs() -> (House, OpaSimulator) {
    let second = format!(
        "[[integration]]\nname = \"Segunda base\"\nurl_env = \"SECOND_OPA_URL\"\ntoken_env = \"REGUA_DEMO_OPA_TOKEN\"\n\n\
         [[channel]]\nname = \"Segundo número\"\nintegration = \"Segunda base\"\nid = \"{CHANNEL_WHATSAPP_SECOND}\"\n\n\
         # One WhatsApp number."
    );
    let overdue = "name = \"Aviso de cobrança\"\nchannel = ";
    let replace = [
        ("# One WhatsApp number.".to_owned(), second),
        ("per_second = 200".to_owned(), format!("per_second = {HEALTHY_PER_SECOND}")),
        (format!("{overdue}\"Cobrança\""), format!("{overdue}\"Segundo número\"\nintegration = \"Segunda base\"")),
    ];
    let mut house = House::build_on_postgres(2000, &replace).await;
    let hangs = OpaSimulator::start(OpaOptions { token: house.opa.token().to_owned(), ..OpaOptions::default() }).await.unwrap();
    hangs.faults(vec![sending(FaultKind::HangAfterAccept)]).unwrap();
    house.cli = house.cli.with("SECOND_OPA_URL", &hangs.url());
    (house, hangs)
}

/// A channel's requests in a stretch of the ledger's time.
struct Stretch {
    used: i64,
    longest_gap_us: i64,
}

impl Stretch {
    async fn of(house: &House, channel: &str, from: i64) -> Self {
        let database = house.database();
        let through = from + COMPARED_US;
        let slots = format!("channel_id = {channel} AND slot_at >= {from} AND slot_at < {through}");
        let used =
            database.numbers(&format!("SELECT slot_at FROM attempts WHERE {slots} AND outcome <> 'given_back' ORDER BY 1")).await;
        let edges: Vec<i64> = [from].into_iter().chain(used.iter().copied()).chain([through]).collect();
        Self {
            used: i64::try_from(used.len()).unwrap(),
            longest_gap_us: edges.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap(),
        }
    }
}

/// F3, and that no channel blocks another: while one base hangs, the other's slots are used as if it weren't there.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_slows_no_other_and_leaves_no_more_than_its_places_in_doubt() {
    let (house, hangs) = one_of_two_hangs().await;
    let _up = house.up().await;
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    let database = house.database();
    let [healthy, hanging] =
        ["Cobrança", "Segundo número"].map(|name| format!("(SELECT id FROM channels WHERE name = '{name}')"));
    let breaker = format!("SELECT trips FROM gates WHERE channel_id = {hanging} AND trips > 0");
    until("the breaker opens", async || database.number(&breaker).await).await;
    let on_the_wire = format!("messages WHERE state = 'sending' AND channel_id = {hanging}");
    until("nothing hangs any more", async || (database.count(&on_the_wire).await == 0).then_some(())).await;
    let rests_since = house.ledger_now().await;
    let doubt = database.count(&format!("messages WHERE state = 'in_doubt' AND channel_id = {hanging}")).await;
    assert!((5..=32).contains(&doubt), "{doubt} in doubt");

    let hangs_since = database.number(&format!("SELECT MIN(slot_at) FROM attempts WHERE channel_id = {hanging}")).await.unwrap();
    let last =
        format!("SELECT MIN(slot_at) FROM attempts WHERE channel_id = {healthy} AND slot_at > {rests_since} + {COMPARED_US}");
    until("the other has gone on for as long", async || database.number(&last).await).await;
    let during = Stretch::of(&house, &healthy, hangs_since + 1_000_000).await;
    let after = Stretch::of(&house, &healthy, rests_since).await;
    // The interval is that of the limit and 1 % more.
    let allowed = COMPARED_US * 100 / 101 * HEALTHY_PER_SECOND / 1_000_000;
    // Measured by what the machine does with nobody hanging: it may be busy. Places that both shared would leave nothing.
    println!("{doubt} in doubt; {} of {allowed} slots used, {} with nobody hanging", during.used, after.used);
    assert!(
        after.used * 4 >= allowed,
        "the machine is too busy to tell: {} of {allowed} slots were used with nobody hanging",
        after.used
    );
    assert!(during.used * 2 >= after.used, "{} of {allowed} slots were used, {} with nobody hanging", during.used, after.used);
    assert!(during.longest_gap_us < COMPARED_US / 2, "nothing was sent for {} µs", during.longest_gap_us);
    assert_eq!(database.count(&format!("messages WHERE state IN ('failed', 'in_doubt') AND channel_id = {healthy}")).await, 0);
    assert_eq!(hangs.stats().accepted, 0);
}
