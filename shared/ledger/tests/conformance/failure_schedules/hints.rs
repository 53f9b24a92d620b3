//! F5: hints that nobody takes, hints that come too late, and how many there may be.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, due_for, invoice, paid};
use chrono::TimeDelta;
use regua_domain::message::State;
use regua_domain::stop::StopScope;
use regua_ledger::release::COUNTS_FOR;
use regua_ledger::start::StartAnswer;
use regua_ledger::stops::NewStop;
use regua_ledger::sweeps::HINT_LOST_AFTER;

/// What a scheduler does in each period: it finds lost hints, then tops up. How many hints it publishes.
async fn period(w: &World, bound: u32) -> usize {
    w.ledger.unqueue(HINT_LOST_AFTER).await.unwrap();
    w.top_up(bound).await.len()
}

/// A day's queue is deeper than a hint's patience, with twenty sent every ten seconds: who waits behind the bound has no hint that could go
/// stale.
async fn f5_a_deep_queue_is_hinted_at_once_per_message(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 0, ..Setup::default() }).await;
    let (messages, bound) = (200, 20);
    w.released(1, messages, "overdue").await;
    let mut hints = 0;
    while w.ledger.counts().await.unwrap().of(State::Sent) < u64::from(messages) {
        hints += period(&w, bound).await;
        let queued = w.ledger.messages(Some(State::Queued), None, None, 1000).await.unwrap();
        for message in queued.iter().take(bound as usize) {
            w.send(message.id).await;
        }
        w.f.advance(COUNTS_FOR).await;
    }
    assert_eq!(hints, messages as usize);
}

async fn f5_a_paused_channel_is_not_hinted_at_again_and_again(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.released(1, 30, "overdue").await;
    assert_eq!(period(&w, 4).await, 4);
    let target = w.channel.to_string();
    let stop = NewStop { scope: StopScope::Channel, target, raised_by: "ana".into(), why: "texto errado".into(), until_at: None };
    w.ledger.raise_stop(stop).await.unwrap();
    for _ in 0..10 {
        w.f.advance(HINT_LOST_AFTER).await;
        assert_eq!(period(&w, 4).await, 0);
    }
    assert_eq!(w.ledger.queued().await.unwrap(), 0);
}

/// In weaker designs each stale hint takes a second's place from a message that may go.
async fn f5_a_stale_hint_costs_no_slot(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 1, ..Setup::default() }).await;
    let ids = w.queued(4).await;
    w.send(ids[0]).await;
    w.f.advance(TimeDelta::seconds(2)).await;
    w.sync(&[], &[2, 3].map(|number| paid(&invoice(number, number, due_for("overdue"))))).await;
    let answers = w.start(&ids).await;
    assert!(
        matches!(
            answers[..],
            [StartAnswer::NotWaiting, StartAnswer::Skipped { .. }, StartAnswer::Skipped { .. }, StartAnswer::Started(_)]
        ),
        "{answers:?}"
    );
}

conformance! {
    f5_a_deep_queue_is_hinted_at_once_per_message
    f5_a_paused_channel_is_not_hinted_at_again_and_again
    f5_a_stale_hint_costs_no_slot
}
