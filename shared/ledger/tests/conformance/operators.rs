//! What operators ask and leave: counts, lists, opt-outs, commands.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, due_for, paid};
use regua_domain::ids::RunId;
use regua_domain::message::State;
use regua_ledger::new_id;

async fn world(f: Fixture) -> World {
    World::new(f, &Setup { per_second: 0, ..Setup::default() }).await
}

async fn counts_know_every_state_and_every_reason_to_skip(f: Fixture) {
    let w = world(f).await;
    let empty = w.ledger.counts().await.unwrap();
    assert_eq!(empty.by_state.keys().copied().collect::<Vec<_>>(), State::ALL);
    assert_eq!((empty.total(), empty.evaluated, empty.live(), empty.skipped.len()), (0, 0, 0, 0));
    let ids = w.queued(5).await;
    w.send(ids[0]).await;
    w.sync(
        &[],
        &[paid(&crate::world::invoice(2, 2, due_for("overdue"))), paid(&crate::world::invoice(3, 3, due_for("overdue")))],
    )
    .await;
    w.opt_out(&[4], "ana").await;
    w.start(&ids[1..4]).await;
    let counts = w.ledger.counts().await.unwrap();
    assert_eq!([State::Sent, State::Skipped, State::Queued].map(|state| counts.of(state)), [1, 3, 1]);
    assert_eq!((counts.total(), counts.evaluated, counts.live()), (5, 5, 1));
    assert_eq!(counts.skipped.into_iter().collect::<Vec<_>>(), [("opted_out".into(), 1), ("paid".into(), 2)]);
}

async fn a_days_table_is_by_stage_state_and_reason(f: Fixture) {
    let w = world(f).await;
    assert!(w.ledger.counts_by_stage().await.unwrap().is_empty());
    let ids = w.queued(3).await;
    w.released(11, 2, "pre_due").await;
    w.send(ids[0]).await;
    w.opt_out(&[2], "ana").await;
    w.start_one(ids[1]).await;
    let table = w.ledger.counts_by_stage().await.unwrap();
    let rows: Vec<_> =
        table.iter().map(|row| (row.stage.as_str(), row.state.as_str(), row.reason.as_deref(), row.messages)).collect();
    let expected = [
        ("pre_due", "held", None, 2),
        ("overdue", "queued", None, 1),
        ("overdue", "sent", None, 1),
        ("overdue", "skipped", Some("opted_out"), 1),
    ];
    assert_eq!(rows, expected);
    assert_eq!(w.ledger.mirror_size().await.unwrap(), (5, 5));
}

async fn a_ledger_is_busy_while_anything_is_on_its_way(f: Fixture) {
    let w = world(f).await;
    assert!(!w.ledger.is_busy().await.unwrap());
    let run = w.leased_run().await;
    assert!(w.ledger.is_busy().await.unwrap(), "a run works");
    w.ledger.finish_run(run.run.id, run.owner, None).await.unwrap();
    assert!(!w.ledger.is_busy().await.unwrap());
    let ids = w.queued(1).await;
    assert!(w.ledger.is_busy().await.unwrap());
    w.send(ids[0]).await;
    assert!(!w.ledger.is_busy().await.unwrap());
}

async fn messages_are_listed_by_state_and_run_page_by_page(f: Fixture) {
    let w = world(f).await;
    let first = w.queued(3).await;
    w.send(first[1]).await;
    let second = w.released(11, 2, "overdue").await;
    let runs: Vec<RunId> = vec![w.message(first[0]).await.run_id, w.message(second[0]).await.run_id];
    let list = async |state, run, after, limit| {
        let page = w.ledger.messages(state, run, after, limit).await.unwrap();
        page.iter().map(|message| message.id).collect::<Vec<_>>()
    };
    // With and without a run in turn: the statement is one.
    for _ in 0..2 {
        assert_eq!(list(None, None, None, 2).await, first[..2]);
        assert_eq!(list(None, Some(runs[1]), None, 10).await, second);
        assert_eq!(list(None, None, Some(first[1]), 2).await, [first[2], second[0]]);
        assert_eq!(list(Some(State::Queued), Some(runs[0]), None, 10).await, [first[0], first[2]]);
        assert_eq!(list(Some(State::Sent), None, None, 10).await, [first[1]]);
        assert!(list(None, Some(RunId(new_id())), None, 10).await.is_empty());
    }
}

async fn a_message_shown_to_people_holds_no_personal_data(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    w.send(id).await;
    let shown = format!("{:?} {}", w.ledger.message(id).await.unwrap(), serde_json::to_string(&w.message(id).await).unwrap());
    for personal in ["98000", "80000001", "Cliente"] {
        assert!(!shown.contains(personal), "{personal} in {shown}");
    }
}

async fn commands_are_done_oldest_first_and_answered_once(f: Fixture) {
    let w = world(f).await;
    assert!(w.ledger.next_command().await.unwrap().is_none());
    let first = w.ledger.ask("{\"stop\":\"everything\"}".into()).await.unwrap();
    let second = w.ledger.ask("{\"run\":\"update-collections\"}".into()).await.unwrap();
    let next = w.ledger.next_command().await.unwrap().unwrap();
    assert_eq!((next.id, next.command.as_str()), (first, "{\"stop\":\"everything\"}"));
    assert_eq!(w.ledger.answer_to(first).await.unwrap(), None);
    w.ledger.answer(first, "ok".into()).await.unwrap();
    w.ledger.answer(first, "again".into()).await.unwrap();
    assert_eq!(w.ledger.answer_to(first).await.unwrap().as_deref(), Some("ok"));
    assert_eq!(w.ledger.next_command().await.unwrap().unwrap().id, second);
    w.ledger.answer(second, "ok".into()).await.unwrap();
    assert!(w.ledger.next_command().await.unwrap().is_none());
    assert_eq!(w.ledger.answer_to(new_id()).await.unwrap(), None);
}

conformance! {
    counts_know_every_state_and_every_reason_to_skip
    a_days_table_is_by_stage_state_and_reason
    a_ledger_is_busy_while_anything_is_on_its_way
    messages_are_listed_by_state_and_run_page_by_page
    a_message_shown_to_people_holds_no_personal_data
    commands_are_done_oldest_first_and_answered_once
}
