//! `regua status`: what runs and how far it is, what binds, what needs a person, who is alive.

use regua_e2e::{House, within};
use std::time::Duration;

/// How long a few hundred messages may take.
const DAY: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_how_far_the_day_is_what_holds_it_and_who_sends() {
    // What is decided after 08:30 is released today, before it ends unsent.
    let later = ("minute = 30\nhour = 8".to_owned(), "minute = 30\nhour = 17".to_owned());
    let house = House::build(200, &[later]).await;
    let _up = house.up().await;
    house.run("update-collections").await;
    let told = async || house.cli.run(&["status", "--json"]).await.good().json();

    let status = told().await;
    let (held, channel) = (status["messages"]["held"].as_u64().unwrap(), &status["channels"][0]);
    assert!(held > 10 && status["today"][0]["messages"]["held"] == held && status["runs"][0]["held"] == held, "{status}");
    assert_eq!(
        (&channel["waiting"], &channel["rate"], &channel["binds"]),
        (&held.into(), &0.0.into(), &"not_before".into()),
        "{channel}"
    );
    assert!(channel["begins_at"].as_str().unwrap().starts_with("2026-11-24T17:30"), "{channel}");
    assert!(channel["ends_at"].as_str().unwrap().starts_with("2026-11-24T17:30"), "the task releases it: {channel}");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["schema"].as_u64().unwrap() >= 18 && status["needs"]["stops"] == 0, "{status}");
    assert_eq!(status["sources"][0]["max_age_s"], 6 * 3600);

    house.cli.run(&["pause", "--channel", "Cobrança", "--why", "a look first"]).await.good();
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    let status = told().await;
    let channel = &status["channels"][0];
    assert_eq!((&channel["binds"], &channel["ends_at"]), (&"stop".into(), &serde_json::Value::Null), "{channel}");
    assert_eq!((&status["needs"]["stops"], &status["messages"]["sent"]), (&1.into(), &0.into()));
    house.cli.run(&["status"]).await.good().refused(0, "a stop holds it");
    let runs = house.cli.run(&["runs"]).await.good().out;
    let sending = runs.lines().find(|line| line.contains("send-queued-messages")).unwrap();
    assert_eq!(sending.matches(" - ").count() + usize::from(sending.ends_with(" -")), 4, "it decides nothing: {sending:?}");

    house.cli.run(&["resume", "--channel", "Cobrança", "--why", "seen"]).await.good();
    let status = within(DAY, "all are sent", async || {
        let status = told().await;
        let channel = &status["channels"][0];
        assert!(channel["begins_at"].is_null() && channel["unsent"] == 0, "what was released goes at once: {channel}");
        (status["messages"]["sent"] == held).then_some(status)
    })
    .await;
    let dispatcher = &status["dispatchers"][0];
    assert!(
        dispatcher["attempts"].as_u64().unwrap() >= held && status["dispatchers"].as_array().unwrap().len() == 1,
        "{dispatcher}"
    );
    assert!(status["channels"][0]["rate"].as_f64().unwrap() > 0.0, "{status}");
    let people = status["channels"][0]["recipients_used"].as_u64().unwrap();
    assert!(0 < people && people <= held, "{people}");
    let text = house.cli.run(&["status"]).await.good().out;
    assert!(text.contains(&format!("{held} sent, 0 waiting")) && text.contains("dispatcher   "), "{text}");
}
