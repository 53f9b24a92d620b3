//! Opa! Suite: `POST /template/send` (contracts §1.5), its rates (§3.1), and what is kept of it.

use std::collections::HashSet;
use std::time::Duration;

use regua_simulators::OpaOptions;
use serde_json::{Value, json};

use crate::client::Connection;
use crate::opa::{Opa, order};

const PHONE: &str = "+5555987654321";

/// Contracts §1.5.
#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_send_answers_message_sent_id_and_is_logged() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let answer = opa.send(&order(PHONE, "0198c0de-0000-7000-8000-000000000001")).await?;
    let body = answer.json()?;
    assert_eq!((answer.status, &body["status"], &body["code"]), (200, &json!("success"), &json!(200)));
    let id = body["data"]["messageSentId"].as_str().unwrap_or_default();
    assert!(id.len() == 24 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    let entries = opa.simulator.log()?.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].phone.as_str(), entries[0].answered.as_str(), entries[0].message_sent_id.as_str()),
        (PHONE, "200", id)
    );
    assert_eq!(entries[0].variaveis.positional(), ["Ana", "R$99,90", "10/12/2026"]);
    assert_eq!(entries[0].alternative_media, None);
    assert_eq!(entries[0].metadata["message"], "0198c0de-0000-7000-8000-000000000001");
    assert_eq!(i64::from_str_radix(&id[..8], 16)?, entries[0].at_us / 1_000_000);
    Ok(())
}

/// Contracts §1.2: refused with 400 unless the flag is set; the text names the attendant.
#[tokio::test(flavor = "multi_thread")]
async fn a_contact_in_service_is_refused_unless_the_flag_is_set() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let in_service = |yes: bool| json!({ "phones": [PHONE], "in_service": yes }).to_string();
    assert_eq!(opa.admin("POST", "in-service", &in_service(true)).await?.status, 200);
    let refused = opa.send(&order(PHONE, "1")).await?;
    assert_eq!(refused.status, 400);
    assert!(
        refused.json()?["data"]["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("Este contato já está em atendimento com "))
    );
    let mut flagged = order(PHONE, "1");
    flagged["allowSendingToStartedCustomerService"] = json!(true);
    assert_eq!(opa.send(&flagged).await?.status, 200);
    assert_eq!(opa.admin("POST", "in-service", &in_service(false)).await?.status, 200);
    assert_eq!(opa.send(&order(PHONE, "2")).await?.status, 200);
    assert_eq!(opa.simulator.stats().rejected.get("in_service"), Some(&1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeded_share_of_phones_is_in_service() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions { in_service_share: 0.5, ..OpaOptions::default() }).await?;
    let mut refused = 0;
    for number in 0..100 {
        refused += u32::from(opa.send(&order(&format!("+55119000000{number:02}"), "m")).await?.status == 400);
    }
    assert!((30..=70).contains(&refused), "{refused}");
    Ok(())
}

/// Contracts §1.2 (wrong number of variables; newline, tab, four spaces are 132018), §3.2 (never empty), §1.5 (phone, ids).
#[tokio::test(flavor = "multi_thread")]
async fn each_broken_rule_is_refused_and_counted_and_never_logged() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let broken = |path: &str, value: Value| {
        let mut body = order(PHONE, "1");
        if let Some(place) = body.pointer_mut(path) {
            *place = value;
        }
        body
    };
    for (body, status, reason, text) in [
        (broken("/template/variaveis", json!(["a"])), 400, "variable_count", "132000"),
        (broken("/template/variaveis/0", json!("a\nb")), 400, "variable_text", "132018"),
        (broken("/template/variaveis/0", json!("")), 400, "variable_empty", "132012"),
        (broken("/contato/canalCliente", json!("5555987654321")), 400, "phone_format", "canalCliente"),
        (broken("/canal", json!("Cd5fGh9j")), 404, "unknown_channel", "NOT_FOUND_ERROR"),
        (broken("/template/_id", json!("64f1c0de0a1b2c3d4e5fffff")), 404, "unknown_template", "NOT_FOUND_ERROR"),
        (broken("/template/_id", json!(null)), 400, "missing_member", "template._id"),
    ] {
        let answer = opa.send(&body).await?;
        assert_eq!(answer.status, status, "{reason}");
        assert!(answer.text().contains(text), "{reason}: {}", answer.text());
        assert_eq!(opa.simulator.stats().rejected.get(reason), Some(&1), "{reason}");
    }
    assert_eq!(opa.ask("POST", "/template/send", "no json").await?.status, 400);
    assert_eq!(opa.simulator.log()?.count(), 0);
    Ok(())
}

/// Contracts §3.1: 130429.
#[tokio::test(flavor = "multi_thread")]
async fn over_the_throughput_of_a_channel_it_answers_429_with_130429() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions { per_second: Some(5), ..OpaOptions::default() }).await?;
    let mut connection = Connection::open(&opa.simulator.url()).await?;
    let mut statuses = Vec::new();
    for number in 0..200 {
        let body = order(&format!("+5511900000{number:03}"), &number.to_string()).to_string();
        let answer = connection.ask("POST", "/api/v1/template/send", &opa.headers(), &body).await?;
        if answer.status == 429 {
            assert!(answer.text().contains("130429"));
        }
        statuses.push(answer.status);
    }
    let sent_at: Vec<i64> = opa.simulator.log()?.map(|sent| sent.map(|sent| sent.at_us)).collect::<Result<_, _>>()?;
    assert!(statuses.contains(&429) && sent_at.len() >= 5);
    assert!(sent_at.windows(6).all(|six| six[5] - six[0] >= 1_000_000), "more than 5 in a second: {sent_at:?}");
    Ok(())
}

/// Contracts §3.1: 131056.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_message_to_one_phone_too_soon_is_429_with_131056() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions { pair_interval: Some(Duration::from_secs(6)), ..OpaOptions::default() }).await?;
    assert_eq!(opa.send(&order(PHONE, "1")).await?.status, 200);
    let soon = opa.send(&order(PHONE, "2")).await?;
    assert_eq!(soon.status, 429);
    assert!(soon.text().contains("131056"));
    assert_eq!(opa.send(&order("+5511987654321", "2")).await?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_twice_shows_in_the_statistics() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    for message in ["a", "b", "a"] {
        assert_eq!(opa.send(&order(PHONE, message)).await?.status, 200);
    }
    let mut nameless = order(PHONE, "x");
    nameless["metadata"] = Value::Null;
    assert_eq!(opa.send(&nameless).await?.status, 200);
    let stats = opa.admin("GET", "stats", "").await?.json()?;
    assert_eq!((&stats["accepted"], &stats["distinct_messages"], &stats["without_message"]), (&json!(4), &json!(2), &json!(1)));
    assert_eq!(stats["by_status"]["200"], 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_streams_every_accepted_send_once() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let mut connection = Connection::open(&opa.simulator.url()).await?;
    for number in 0..2000 {
        let body = order(PHONE, &number.to_string()).to_string();
        assert_eq!(connection.ask("POST", "/api/v1/template/send", &opa.headers(), &body).await?.status, 200);
    }
    let log = opa.admin("GET", "log", "").await?.text();
    let ids: HashSet<String> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).map(|entry| entry["messageSentId"].to_string()))
        .collect::<Result<_, _>>()?;
    assert_eq!((log.lines().count(), ids.len()), (2000, 2000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_simulator_refuses_connections() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let url = opa.simulator.url();
    let idle = Connection::open(&url).await?;
    opa.simulator.shutdown().await;
    assert!(Connection::open(&url).await.is_err());
    drop(idle);
    Ok(())
}
