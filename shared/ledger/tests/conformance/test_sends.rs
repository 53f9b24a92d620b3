//! Notices sent to try them: within the channel's limit, never to who opted out, and never among the messages.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{LEAD, World};
use chrono::TimeDelta;
use regua_domain::admission::{HORIZON, PHONE_SPACING};
use regua_domain::consent::{OptOutScope, OptOutSource};
use regua_domain::message::DeferReason;
use regua_domain::phone::{self, PhoneKey};
use regua_domain::stop::StopScope;
use regua_ledger::people::{NewOptOut, OptOutOrigin};
use regua_ledger::start::StartAnswer;
use regua_ledger::stops::NewStop;
use regua_ledger::test_sends::{NewTest, TestEnd, TestStart};
use uuid::Uuid;

async fn world(f: Fixture, per_second: u32) -> World {
    World::new(f, &Setup { per_second, ..Setup::default() }).await
}

fn phone(last: u32) -> PhoneKey {
    phone::parse(&format!("11 9777{last:05}")).unwrap().key()
}

async fn begin(w: &World, last: u32) -> TestStart {
    w.ledger.begin_test(NewTest { notice: "Aviso".into(), phone: phone(last), by: "ana".into(), lead: LEAD }).await.unwrap()
}

async fn started(w: &World, last: u32) -> (Uuid, TimeDelta) {
    match begin(w, last).await {
        TestStart::Started { id, wait, channel_id } => {
            assert_eq!(channel_id, w.channel);
            (id, wait)
        }
        other => panic!("not started: {other:?}"),
    }
}

async fn refused(w: &World, last: u32) -> String {
    match begin(w, last).await {
        TestStart::Refused(why) => why,
        other => panic!("not refused: {other:?}"),
    }
}

async fn a_test_takes_a_slot_of_its_channel_as_a_message_does(f: Fixture) {
    let w = world(f, 1).await;
    let ids = w.queued(2).await;
    let (_, wait) = started(&w, 1).await;
    assert!(wait >= LEAD && wait <= HORIZON, "{wait}");
    assert!(matches!(w.start_one(ids[0]).await, StartAnswer::NoSlot { .. }), "the test has the second's only slot");
    assert!(matches!(begin(&w, 2).await, TestStart::NoSlot));
    w.f.advance(TimeDelta::milliseconds(1200)).await;
    w.started(ids[0]).await;
    assert!(matches!(begin(&w, 2).await, TestStart::NoSlot), "the message has the next one");
}

async fn a_test_keeps_its_distance_to_other_messages_of_its_phone(f: Fixture) {
    let w = world(f, 80).await;
    started(&w, 1).await;
    assert!(refused(&w, 1).await.contains("less than 6 s ago"));
    started(&w, 2).await;
    w.f.advance(PHONE_SPACING + TimeDelta::seconds(1)).await;
    started(&w, 1).await;
}

/// The platform counts whom a business writes to, whatever for.
async fn a_test_takes_a_place_in_the_budget_of_its_business(f: Fixture) {
    let w = World::new(f, &Setup { recipients_per_24h: "2", ..Setup::default() }).await;
    let ids = w.queued(1).await;
    for last in [1, 2] {
        started(&w, last).await;
        w.f.advance(TimeDelta::seconds(1)).await;
    }
    assert!(refused(&w, 3).await.contains("24 hours"));
    assert!(matches!(w.start_one(ids[0]).await, StartAnswer::Postponed { why: DeferReason::Budget }));
}

async fn who_opted_out_gets_no_test_and_a_stopped_channel_sends_none(f: Fixture) {
    let w = world(f, 80).await;
    let asked = NewOptOut { phone: phone(1), since_at: None, why: "pediu".into() };
    let origin = OptOutOrigin { scope: OptOutScope::All, source: OptOutSource::Command, added_by: "ana".into() };
    w.ledger.add_opt_outs(vec![asked], origin).await.unwrap();
    assert!(refused(&w, 1).await.contains("opted out"));
    let stop = NewStop {
        scope: StopScope::Channel,
        target: w.channel.to_string(),
        raised_by: "ana".into(),
        why: "why".into(),
        until_at: None,
    };
    w.ledger.raise_stop(stop).await.unwrap();
    assert!(refused(&w, 2).await.contains("stopped"));
    assert_eq!(w.ledger.test_counts().await.unwrap(), []);
}

async fn tests_are_counted_apart(f: Fixture) {
    let w = world(f, 80).await;
    let (id, _) = started(&w, 1).await;
    assert_eq!(w.ledger.test_counts().await.unwrap(), [(None, 1)], "one that nobody ended may have been sent");
    let end = |outcome: &str| TestEnd {
        outcome: outcome.into(),
        reason: None,
        http_status: Some(200),
        provider_code: None,
        provider_id: Some("p".into()),
    };
    w.ledger.finish_test(id, end("accepted")).await.unwrap();
    w.ledger.finish_test(id, end("doubt")).await.unwrap();
    assert_eq!(w.ledger.test_counts().await.unwrap(), [(Some("accepted".into()), 1)]);
    assert_eq!(w.ledger.counts().await.unwrap().total(), 0);
}

conformance! {
    a_test_takes_a_slot_of_its_channel_as_a_message_does
    a_test_keeps_its_distance_to_other_messages_of_its_phone
    a_test_takes_a_place_in_the_budget_of_its_business
    who_opted_out_gets_no_test_and_a_stopped_channel_sends_none
    tests_are_counted_apart
}
