//! Doubtful messages looked for at the provider: a hit proves, once; no hit proves nothing.

use crate::databases::Fixture;
use crate::setup::{OTHER_TEMPLATE, Setup, TEMPLATE};
use crate::world::{LEASE, World, sent};
use chrono::TimeDelta;
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::look_up::Sought;
use regua_domain::message::{DoubtReason, State};
use regua_domain::receipt::Proof;
use regua_domain::settlement::Settlement;
use regua_domain::template::TemplateText;
use regua_ledger::doubt::{DOUBT_GRACE, Resolution};
use regua_ledger::look_ups::{LOOK_MAX, LookUp, SOUGHT_MAX, Searched};
use regua_ledger::receipts::{ReceiptAnswer, Received};
use regua_ledger::templates::SeenTemplate;

const TEXT: &str = "Olá {{1}}! Não identificamos o pagamento de {{2}}, vencido em {{3}}.";
const REST: TimeDelta = TimeDelta::seconds(31);

async fn world(f: Fixture) -> World {
    let w = World::new(f, &Setup { per_second: 0, per_day: 50, open_windows: 10, max_age: "30d", ..Setup::default() }).await;
    assert_eq!(w.f.execute("UPDATE integrations SET look_up = true").await, 1);
    accept(&w, TEXT).await;
    w
}

async fn accept(w: &World, text: &str) {
    let now = Some(TemplateText { name: "aviso".into(), text: text.into() });
    let seen = SeenTemplate { integration: "Opa! Suite".into(), template_id: TEMPLATE.into(), now };
    w.ledger.note_templates(vec![seen]).await.unwrap();
}

/// Messages in doubt, with their attempts.
async fn doubtful(w: &World, count: u32) -> Vec<(MessageId, AttemptId)> {
    let mut doubtful = Vec::new();
    for id in w.queued(count).await {
        let attempt = w.started(id).await.attempt_id;
        w.finish(id, attempt, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
        doubtful.push((id, attempt));
    }
    doubtful
}

async fn take(w: &World) -> Option<LookUp> {
    w.ledger.take_look_up(&[w.integration]).await.unwrap()
}

async fn taken(w: &World) -> Vec<MessageId> {
    take(w).await.map_or_else(Vec::new, |look_up| look_up.sought.iter().map(|sought| sought.message).collect())
}

fn hit(sought: &Sought, record: &str) -> Searched {
    Searched { message: sought.message, attempt: sought.attempt, record: Some(record.into()) }
}

/// Notes that none of it was found.
async fn finds_nothing(w: &World, look_up: LookUp) {
    let searched = look_up.sought.iter().map(|sought| Searched { record: None, ..hit(sought, "") }).collect();
    assert!(w.ledger.note_look_up(look_up, searched).await.unwrap().answers.is_empty());
}

/// Notes that the first one was found.
async fn finds_first(w: &World, look_up: LookUp, record: &str) -> Received {
    let searched = vec![hit(&look_up.sought[0], record)];
    w.ledger.note_look_up(look_up, searched).await.unwrap()
}

async fn a_hit_settles_doubt_as_a_receipt_does(f: Fixture) {
    let w = world(f).await;
    let (id, attempt) = doubtful(&w, 1).await[0];
    let look_up = take(&w).await.unwrap();
    let [sought] = look_up.sought.as_slice() else { panic!() };
    assert_eq!((sought.message, sought.attempt, sought.phone.as_str()), (id, attempt, crate::world::phone_key(1).as_str()));
    assert!(sought.text.starts_with("Olá ") && !sought.text.contains('{'), "{}", sought.text);
    let received = finds_first(&w, look_up, "r1").await;
    let moved = ReceiptAnswer::Moved { message: id, from: State::InDoubt, to: State::Sent, contradicts: false };
    assert_eq!(received.answers, [moved]);
    let record = w.ledger.receipts(id).await.unwrap().remove(0);
    assert_eq!((record.proved_by, record.attempt), (Proof::LookUp, Some(attempt)));
    assert_eq!((w.state(id).await, w.message(id).await.provider_id.as_deref()), ((State::Sent, None), Some("r1")));
    w.f.advance(TimeDelta::hours(1)).await;
    assert_eq!(taken(&w).await, []);
}

async fn no_hit_proves_nothing_and_is_looked_for_again_ever_later(f: Fixture) {
    let w = world(f).await;
    let (id, _) = doubtful(&w, 1).await[0];
    let mut minutes_between = Vec::new();
    let mut minutes = 0;
    while minutes < 24 * 60 {
        if let Some(look_up) = take(&w).await {
            finds_nothing(&w, look_up).await;
            minutes_between.push(minutes);
            minutes = 0;
        }
        w.f.advance(TimeDelta::minutes(1)).await;
        minutes += 1;
    }
    assert_eq!(minutes_between, [0, 1, 5, 15, 60, 600]);
    assert_eq!(w.state(id).await.0, State::InDoubt);
}

async fn of_many_who_look_one_has_the_look_until_its_time_is_over(f: Fixture) {
    let w = world(f).await;
    let (id, _) = doubtful(&w, 1).await[0];
    let looks = futures::future::join_all((0..8).map(|_| take(&w))).await;
    assert_eq!(looks.into_iter().flatten().count(), 1);
    w.f.advance(LOOK_MAX - TimeDelta::seconds(10)).await;
    assert_eq!(taken(&w).await, []);
    w.f.advance(TimeDelta::seconds(10)).await;
    assert_eq!(taken(&w).await, [id], "whoever took it may have died");
}

async fn nobody_is_asked_for_an_integration_that_does_not_want_it(f: Fixture) {
    let w = world(f).await;
    let (id, _) = doubtful(&w, 1).await[0];
    for off in ["look_up = false", "enabled = false"] {
        w.f.execute(format!("UPDATE integrations SET {off}")).await;
        assert_eq!(taken(&w).await, [], "{off}");
        w.f.execute("UPDATE integrations SET look_up = true, enabled = true").await;
    }
    assert!(w.ledger.take_look_up(&[]).await.unwrap().is_none(), "whoever has no way to it");
    assert_eq!(taken(&w).await, [id]);
}

/// F1: its dispatcher may still tell what became of it.
async fn an_attempt_that_may_still_report_is_not_looked_for(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    w.started(id).await;
    assert_eq!(taken(&w).await, [], "it is being sent");
    w.f.advance(LEASE).await;
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 1);
    w.f.advance(REST).await;
    assert_eq!(taken(&w).await, [id]);
}

/// Makes a message say what another says, to the same phone.
async fn alike(w: &World, message: MessageId, other: MessageId) {
    w.f.execute(format!(
        "UPDATE message_texts SET phone = (SELECT phone FROM message_texts WHERE message_id = '{other}'),
            variables = (SELECT variables FROM message_texts WHERE message_id = '{other}') WHERE message_id = '{message}'"
    ))
    .await;
}

/// One record would show either of two messages with the same words to one phone.
async fn a_message_with_a_twin_is_not_looked_for(f: Fixture) {
    let w = world(f).await;
    let doubtful = doubtful(&w, 3).await;
    alike(&w, doubtful[1].0, doubtful[0].0).await;
    assert_eq!(taken(&w).await, [doubtful[2].0]);
}

/// It started after the look was taken, and before the talk was read.
async fn a_twin_of_meanwhile_takes_the_proof_away(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(2).await;
    let attempt = w.started(ids[0]).await.attempt_id;
    w.finish(ids[0], attempt, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    let look_up = take(&w).await.unwrap();
    w.started(ids[1]).await;
    alike(&w, ids[1], ids[0]).await;
    assert!(finds_first(&w, look_up, "r1").await.answers.is_empty());
    assert_eq!(w.state(ids[0]).await.0, State::InDoubt);
}

/// Its words may have been others before.
async fn what_was_sent_again_to_the_same_phone_is_a_twin(f: Fixture) {
    let w = world(f).await;
    let doubtful = doubtful(&w, 2).await;
    let phone = "UPDATE message_texts SET phone = (SELECT phone FROM message_texts WHERE message_id =";
    w.f.execute(format!("{phone} '{}') WHERE message_id = '{}'", doubtful[0].0, doubtful[1].0)).await;
    w.f.advance(LEASE + DOUBT_GRACE).await;
    w.ledger.resolve_doubt(doubtful[0].0, Resolution::Resend, "ana".into(), "não está lá".into()).await.unwrap();
    assert_eq!(taken(&w).await, []);
}

async fn a_hit_of_what_a_person_let_go_contradicts_them(f: Fixture) {
    let w = world(f).await;
    let (id, _) = doubtful(&w, 1).await[0];
    let look_up = take(&w).await.unwrap();
    w.ledger.resolve_doubt(id, Resolution::Drop, "ana".into(), "não está lá".into()).await.unwrap();
    let moved = ReceiptAnswer::Moved { message: id, from: State::Failed, to: State::Sent, contradicts: true };
    assert_eq!(finds_first(&w, look_up, "r1").await.answers, [moved]);
}

/// A look that nobody answered to its end.
async fn what_a_look_did_not_come_to_is_due_still(f: Fixture) {
    let w = world(f).await;
    let doubtful = doubtful(&w, 2).await;
    let look_up = take(&w).await.unwrap();
    let first = look_up.sought[0].message;
    let searched = vec![Searched { record: None, ..hit(&look_up.sought[0], "") }];
    w.ledger.note_look_up(look_up, searched).await.unwrap();
    w.f.advance(REST).await;
    let rest: Vec<_> = doubtful.iter().map(|(id, _)| *id).filter(|id| *id != first).collect();
    assert_eq!(taken(&w).await, rest);
}

/// Whoever was too slow doesn't send a third one while the second looks.
async fn a_late_note_leaves_the_next_ones_time_alone(f: Fixture) {
    let w = world(f).await;
    doubtful(&w, 2).await;
    let late = take(&w).await.unwrap();
    w.f.advance(LOOK_MAX).await;
    let second = take(&w).await.unwrap();
    finds_nothing(&w, late).await;
    w.f.advance(TimeDelta::minutes(2)).await;
    assert_eq!(taken(&w).await, []);
    finds_nothing(&w, second).await;
}

/// What a restored backup doubts may have had other attempts, and a template accepted anew said something else.
async fn doubt_of_the_lost_time_and_of_another_text_is_not_looked_for(f: Fixture) {
    let w = world(f).await;
    let (id, _) = doubtful(&w, 1).await[0];
    w.f.execute("UPDATE messages SET reason = 'restored'").await;
    assert_eq!(taken(&w).await, []);
    w.f.execute("UPDATE messages SET reason = 'timed_out'").await;
    let now = w.now().await.timestamp_micros();
    w.f.execute(format!("UPDATE templates SET accepted_at = {now} + 1, accepted_by = 'ana', accepted_why = 'teste'")).await;
    w.f.advance(REST).await;
    assert_eq!(taken(&w).await, []);
    w.f.execute("UPDATE templates SET accepted_at = 1").await;
    w.f.advance(REST).await;
    assert_eq!(taken(&w).await, [id]);
}

async fn what_nobody_accepted_or_the_pilot_got_is_not_looked_for(f: Fixture) {
    let w = world(f).await;
    let (id, _) = doubtful(&w, 1).await[0];
    w.f.execute("UPDATE templates SET text = NULL").await;
    assert_eq!(taken(&w).await, [], "nobody accepted it");
    w.f.execute(format!("UPDATE templates SET text = '{TEXT}'")).await;
    w.f.execute("UPDATE messages SET redirected = true").await;
    w.f.advance(REST).await;
    assert_eq!(taken(&w).await, [], "it went to the pilot's phone");
    w.f.execute("UPDATE messages SET redirected = false").await;
    w.f.advance(REST).await;
    assert_eq!(taken(&w).await, [id]);
}

/// How often a repeated name is filled is unknown.
async fn messages_whose_text_is_not_certain_are_not_looked_for_and_stand_in_nobodys_way(f: Fixture) {
    let w = world(f).await;
    let doubtful = doubtful(&w, SOUGHT_MAX + 1).await;
    let now = Some(TemplateText { name: "outro".into(), text: "{{nome}}, {{nome}}: {{valor}}".into() });
    let seen = SeenTemplate { integration: "Opa! Suite".into(), template_id: OTHER_TEMPLATE.into(), now };
    w.ledger.note_templates(vec![seen]).await.unwrap();
    let last = doubtful[SOUGHT_MAX as usize].0;
    w.f.execute(format!("UPDATE message_texts SET template_id = '{OTHER_TEMPLATE}' WHERE message_id <> '{last}'")).await;
    assert_eq!(taken(&w).await, []);
    w.f.advance(REST).await;
    assert_eq!(taken(&w).await, [last]);
}

async fn a_record_proves_one_message_and_no_second_one(f: Fixture) {
    let w = world(f).await;
    let doubtful = doubtful(&w, 3).await;
    let look_up = take(&w).await.unwrap();
    let twice: Vec<_> = look_up.sought.iter().take(2).map(|sought| hit(sought, "r1")).collect();
    assert!(w.ledger.note_look_up(look_up, twice).await.unwrap().answers.is_empty(), "which of them is it?");
    w.f.advance(TimeDelta::minutes(2)).await;
    let look_up = take(&w).await.unwrap();
    assert_eq!(finds_first(&w, look_up, "r1").await.answers.len(), 1);
    w.f.advance(TimeDelta::minutes(6)).await;
    let look_up = take(&w).await.unwrap();
    assert!(finds_first(&w, look_up, "r1").await.answers.is_empty(), "it is the first one's");
    let states: Vec<_> = futures::future::join_all(doubtful.iter().map(|(id, _)| w.state(*id))).await;
    assert_eq!(states.iter().filter(|(state, _)| *state == State::InDoubt).count(), 2);
}

async fn the_record_of_a_message_that_was_answered_proves_no_other(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(2).await;
    let attempts = [w.started(ids[0]).await.attempt_id, w.started(ids[1]).await.attempt_id];
    w.finish(ids[0], attempts[0], sent("opa-1")).await;
    w.finish(ids[1], attempts[1], Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    let look_up = take(&w).await.unwrap();
    assert!(finds_first(&w, look_up, "opa-1").await.answers.is_empty());
    assert_eq!(w.state(ids[1]).await.0, State::InDoubt);
}

async fn a_look_is_for_so_many_and_the_next_for_the_others(f: Fixture) {
    let w = world(f).await;
    let doubtful = doubtful(&w, SOUGHT_MAX + 1).await;
    let first = take(&w).await.unwrap();
    assert_eq!(first.sought.len(), SOUGHT_MAX as usize);
    finds_nothing(&w, first).await;
    assert_eq!(taken(&w).await, [], "the integration rests");
    w.f.advance(REST).await;
    assert_eq!(taken(&w).await, [doubtful[SOUGHT_MAX as usize].0]);
}

conformance! {
    a_hit_settles_doubt_as_a_receipt_does
    no_hit_proves_nothing_and_is_looked_for_again_ever_later
    of_many_who_look_one_has_the_look_until_its_time_is_over
    nobody_is_asked_for_an_integration_that_does_not_want_it
    an_attempt_that_may_still_report_is_not_looked_for
    a_message_with_a_twin_is_not_looked_for
    a_twin_of_meanwhile_takes_the_proof_away
    what_was_sent_again_to_the_same_phone_is_a_twin
    a_hit_of_what_a_person_let_go_contradicts_them
    what_a_look_did_not_come_to_is_due_still
    a_late_note_leaves_the_next_ones_time_alone
    doubt_of_the_lost_time_and_of_another_text_is_not_looked_for
    what_nobody_accepted_or_the_pilot_got_is_not_looked_for
    messages_whose_text_is_not_certain_are_not_looked_for_and_stand_in_nobodys_way
    a_record_proves_one_message_and_no_second_one
    the_record_of_a_message_that_was_answered_proves_no_other
    a_look_is_for_so_many_and_the_next_for_the_others
}
