//! The diagram as a table against the ledger: every transition tried from every state.

use crate::databases::Fixture;
use crate::receipts::receipt;
use crate::setup::Setup;
use crate::world::{World, by, sent};
use chrono::TimeDelta;
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::message::{DeferReason, DoubtReason, FailReason, State, Transition};
use regua_domain::receipt::ReceiptStatus;
use regua_domain::settlement::Settlement;
use regua_domain::stop::StopScope;
use regua_ledger::doubt::Resolution;
use regua_ledger::evaluation::EvaluationBatch;
use regua_ledger::failures::Intervention;
use regua_ledger::queries::MessageView;
use regua_ledger::stops::NewStop;
use regua_ledger::{LedgerError, new_id};

/// One message that is put into each state in turn.
struct Subject {
    w: World,
    message: MessageView,
    /// The batch that wrote it, for bringing it back.
    batch: EvaluationBatch,
    /// A message of another invoice, that was sent.
    other: MessageId,
}

impl Subject {
    async fn new(f: Fixture) -> Self {
        let w = World::new(f, &Setup { per_second: 0, per_day: 50, ..Setup::default() }).await;
        w.customers(1, 1, crate::world::due_for("overdue")).await;
        let run = w.leased_run().await;
        let mut batch = w.decide(&run).await;
        w.ledger.commit_evaluation(batch.clone()).await.unwrap();
        w.release().await;
        batch.messages[0].revives = true;
        let message = w.message_of(1).await;
        let other = w.released(2, 1, "overdue").await[0];
        w.top_up(10).await;
        w.send(other).await;
        w.send(message.id).await;
        Self { w, message, batch, other }
    }

    /// Puts the message into a state with all that its checks ask for, and a new attempt.
    async fn put(&self, state: State) -> AttemptId {
        let (w, id, attempt) = (&self.w, self.message.id, AttemptId(new_id()));
        let now = w.now().await.timestamp_micros();
        let lease = now + 60_000_000;
        w.f.execute(format!(
            "INSERT INTO attempts (id, message_id, number, channel_id, dispatcher, slot_at, lease_expires_at, recipient_before)
             VALUES ('{attempt}', '{id}', 1, '{}', 'd', {now}, {now}, '{{\"last_start_at\":null,\"counted_at\":null}}')",
            w.channel
        ))
        .await;
        let only_if = |applies: bool, value: String| if applies { value } else { "NULL".into() };
        let why = match state {
            State::Skipped => Some("expired"),
            State::Failed => Some("rejected"),
            State::InDoubt => Some("timed_out"),
            _ => None,
        };
        let sets = [
            format!("state = '{state}'"),
            format!("reason = {}", only_if(why.is_some(), format!("'{}'", why.unwrap_or_default()))),
            format!("next_attempt_at = {}", only_if(state == State::Scheduled, now.to_string())),
            format!("queued_at = {}", only_if(state == State::Queued, now.to_string())),
            format!("lease_expires_at = {}", only_if(state == State::Sending, lease.to_string())),
            format!(
                "attempt_id = '{attempt}', attempts = 1, expires_at = {}, phone_slot_at = NULL",
                self.message.expires_at.timestamp_micros()
            ),
        ];
        assert_eq!(w.f.execute(format!("UPDATE messages SET {} WHERE id = '{id}'", sets.join(", "))).await, 1);
        w.f.execute("UPDATE recipients SET last_start_at = NULL, reserved_at = NULL").await;
        w.f.execute("DELETE FROM people").await;
        attempt
    }

    /// Asks the ledger for a transition; whether the ledger may say no is its own affair, what became of the message is ours.
    async fn ask(&self, transition: Transition, attempt: AttemptId) {
        let (w, id) = (&self.w, self.message.id);
        let at = w.now().await + TimeDelta::seconds(1);
        let settle = async |settlement| {
            w.finish(id, attempt, settlement).await;
        };
        match transition {
            Transition::Queue => {
                w.top_up(10).await;
            }
            Transition::Unqueue => {
                w.ledger.unqueue(TimeDelta::zero()).await.unwrap();
            }
            Transition::Start => {
                w.start_one(id).await;
            }
            Transition::Postpone => self.postpone().await,
            Transition::GiveBack => settle(Settlement::GiveBack).await,
            Transition::Retry => settle(Settlement::Retry { at }).await,
            Transition::Defer => settle(Settlement::Defer { until: at, why: DeferReason::Throttled }).await,
            Transition::Accept => settle(sent("p")).await,
            Transition::Fail => settle(Settlement::Fail { why: FailReason::Rejected }).await,
            Transition::Doubt => settle(Settlement::Doubt { why: DoubtReason::TimedOut }).await,
            Transition::Rescue => {
                w.ledger.rescue_orphans().await.unwrap();
            }
            Transition::Restore => {
                w.ledger.restored(w.now().await - TimeDelta::days(90), "ana".into()).await.unwrap();
                w.f.execute("DELETE FROM settings WHERE name = 'lost_period'").await;
            }
            Transition::Skip => {
                w.f.execute(format!("UPDATE messages SET expires_at = 1 WHERE id = '{id}'")).await;
                w.ledger.expire().await.unwrap();
            }
            Transition::Revive => {
                w.ledger.commit_evaluation(self.batch.clone()).await.unwrap();
            }
            Transition::ResolveSent => self.resolve(Resolution::Sent).await,
            Transition::ResolveResend => self.resolve(Resolution::Resend).await,
            Transition::ResolveDrop => self.resolve(Resolution::Drop).await,
            Transition::ExpireDoubt => {
                w.f.execute(format!("UPDATE messages SET expires_at = 1 WHERE id = '{id}'")).await;
                w.ledger.expire_doubt().await.unwrap();
            }
            Transition::Overtake => {
                // Of another invoice, until it is said to be a later stage of the same one's.
                let (subject, other) = (&self.message.subject, self.other);
                let be = async |subject: &str, stage: &str| {
                    w.f.execute(format!("UPDATE messages SET subject = '{subject}', stage = '{stage}' WHERE id = '{other}'"))
                        .await
                };
                if w.state(id).await.0 == State::InDoubt {
                    be(subject, "pending_query").await;
                    settle(Settlement::GiveBack).await;
                    be("2", "overdue").await;
                }
            }
            Transition::Replay => {
                w.f.execute(format!("DELETE FROM attempts WHERE message_id = '{id}'")).await;
                w.f.execute("DELETE FROM resolutions").await;
                w.f.execute("DELETE FROM receipts").await;
                let who = Intervention { by: "ana".into(), why: "teste".into() };
                w.ledger.replay(vec![id], who).await.unwrap();
            }
            Transition::AcceptLate => {
                let failed = format!("UPDATE messages SET reason = 'doubt_expired' WHERE id = '{id}' AND state = 'failed'");
                if w.f.execute(failed).await == 1 {
                    settle(sent("p")).await;
                }
            }
            Transition::ReceiptSent => self.receive(ReceiptStatus::Sent, attempt).await,
            Transition::ReceiptDelivered => self.receive(ReceiptStatus::Delivered, attempt).await,
            Transition::ReceiptRead => self.receive(ReceiptStatus::Read, attempt).await,
        }
    }

    async fn postpone(&self) {
        let (scope, target) = (StopScope::Everything, String::new());
        let stop = NewStop { scope, target: target.clone(), raised_by: "ana".into(), why: "teste".into(), until_at: None };
        self.w.ledger.raise_stop(stop).await.unwrap();
        self.w.start_one(self.message.id).await;
        self.w.ledger.resume(scope, target, by("ana")).await.unwrap();
    }

    async fn receive(&self, status: ReceiptStatus, attempt: AttemptId) {
        self.w.ledger.receive(vec![receipt(&self.w, self.message.id, Some(attempt), status)]).await.unwrap();
    }

    async fn resolve(&self, how: Resolution) {
        // The attempt's lease ended long ago.
        self.w.f.execute("UPDATE attempts SET lease_expires_at = 1").await;
        match self.w.ledger.resolve_doubt(self.message.id, how, "ana".into(), "teste".into()).await {
            Ok(()) | Err(LedgerError::Refused(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn every_transition_from_every_state_does_what_the_table_says(f: Fixture) {
    let subject = Subject::new(f).await;
    let mut differences = Vec::new();
    for &transition in Transition::ALL {
        for &from in State::ALL {
            let attempt = subject.put(from).await;
            subject.ask(transition, attempt).await;
            let (is, should) = (subject.w.state(subject.message.id).await.0, from.after(transition).unwrap_or(from));
            if is != should {
                differences.push(format!("{from} --{transition}--> {is}, the table says {should}"));
            }
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

/// The other functions that move messages agree with the same table.
async fn a_second_way_of_a_transition_does_the_same(f: Fixture) {
    let subject = Subject::new(f).await;
    let (w, id) = (&subject.w, subject.message.id);
    for &from in State::ALL {
        subject.put(from).await;
        w.ledger.unqueue_unpublished(vec![id]).await.unwrap();
        assert_eq!(w.state(id).await.0, from.after(Transition::Unqueue).unwrap_or(from), "{from}: unqueue_unpublished");

        subject.put(from).await;
        w.f.advance(TimeDelta::seconds(61)).await;
        w.ledger.rescue().await.unwrap();
        assert_eq!(w.state(id).await.0, from.after(Transition::Rescue).unwrap_or(from), "{from}: rescue");

        subject.put(from).await;
        w.f.execute("UPDATE invoices SET record = REPLACE(record, '\"A\"', '\"R\"')").await;
        w.start_one(id).await;
        let skips = matches!(from, State::Queued | State::Scheduled);
        let should = if skips { from.after(Transition::Skip) } else { None };
        assert_eq!(w.state(id).await.0, should.unwrap_or(from), "{from}: start of a paid invoice");

        subject.put(from).await;
        w.top_up(10).await;
        let skips = matches!(from, State::Held | State::Scheduled);
        let should = if skips { from.after(Transition::Skip) } else { None };
        assert_eq!(w.state(id).await.0, should.unwrap_or(from), "{from}: top-up of a paid invoice");
        w.f.execute("UPDATE invoices SET record = REPLACE(record, '\"R\"', '\"A\"')").await;
    }
}

conformance! {
    every_transition_from_every_state_does_what_the_table_says
    a_second_way_of_a_transition_does_the_same
}
