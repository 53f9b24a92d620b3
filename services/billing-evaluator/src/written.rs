//! What one try of a run writes, batch by batch.
//!
//! A message that the schema refuses must not hold up the others (F26): its batch is halved until it is alone, and it is left out, by name.

use regua_domain::ids::MessageId;
use regua_domain::stage::Stage;
use regua_ledger::evaluation::{EvaluationBatch, EvaluationCounts, NewMessage};
use regua_ledger::events::EventDecision;
use regua_ledger::{Ledger, LedgerError};
use regua_pipeline::story;
use regua_telemetry::logging::Chain;
use regua_telemetry::spans::{self, note};
use std::collections::HashSet;
use std::sync::Arc;
use tracing::Instrument as _;

/// Messages that one try leaves out, at most: more are no fault of theirs, and the run fails.
const REFUSED_MAX: usize = 20;

/// What one try of a run has written.
#[derive(Debug, Default)]
pub struct Written {
    /// The counts of what is in the ledger.
    pub counts: EvaluationCounts,
    /// What the ledger refused, by name: the next run decides it again.
    pub refused: Vec<String>,
}

impl Written {
    /// Commits a batch; what the schema refuses of it is left out.
    ///
    /// # Errors
    /// As [`Ledger::commit_evaluation`], and a refusal that no message explains, or one too many.
    pub(crate) async fn commit(&mut self, ledger: &Ledger, batch: EvaluationBatch) -> Result<(), LedgerError> {
        // The last one has its turn next.
        let mut waiting = vec![batch];
        while let Some(batch) = waiting.pop() {
            let batch = Arc::new(batch);
            let span = story::batch(batch.messages.len(), batch.events.len());
            let committed = ledger.commit_evaluation(Arc::clone(&batch)).instrument(span.clone()).await;
            let error = match committed {
                Ok(counts) => {
                    note(&span, "regua.batch.held", story::count(counts.held));
                    note(&span, "regua.batch.skipped", story::count(counts.skipped));
                    note(&span, "regua.batch.superseded", story::count(counts.superseded));
                    self.counts.add(counts);
                    continue;
                }
                Err(error) => error,
            };
            spans::fail(&span, if error.is_violation() { "refused" } else { "ledger" });
            if !error.is_violation() || batch.messages.is_empty() || self.refused.len() == REFUSED_MAX {
                return Err(error);
            }
            let ([first, second], rest) = halve(Arc::unwrap_or_clone(batch));
            waiting.extend(rest);
            if let ([], [refused]) = (&first.messages[..], &second.messages[..]) {
                let name = named(refused);
                tracing::error!(refused = name, error = %Chain(&error), "evaluation.refused: it is left out, and decided again by the next run");
                self.refused.push(name);
            } else {
                tracing::warn!(messages = second.messages.len() + first.messages.len(), error = %Chain(&error), "evaluation.halved");
                waiting.extend([second, first]);
            }
        }
        Ok(())
    }

    /// What a person should know of it, if anything.
    pub(crate) fn note(&self) -> Option<String> {
        (!self.refused.is_empty()).then(|| format!("left out, for the ledger refused it: {}", self.refused.join("; ")))
    }
}

/// The halves of a batch, each with the events that its messages tell; and what is to be written once both are: the cursor, and what belongs to no
/// message.
fn halve(mut batch: EvaluationBatch) -> ([EvaluationBatch; 2], Option<EvaluationBatch>) {
    let second = batch.messages.split_off(batch.messages.len() / 2);
    let first = std::mem::take(&mut batch.messages);
    let halves = [first, second].map(|messages| {
        let ids: HashSet<MessageId> = messages.iter().map(|message| message.id).collect();
        let is_told = |event: &EventDecision| event.message.is_some_and(|message| ids.contains(&message));
        let events;
        (events, batch.events) = std::mem::take(&mut batch.events).into_iter().partition(is_told);
        EvaluationBatch { cursor: None, no_policy: 0, messages, events, ..batch }
    });
    let says_something = batch.cursor.is_some() || batch.no_policy > 0 || !batch.events.is_empty();
    (halves, says_something.then_some(batch))
}

fn named(message: &NewMessage) -> String {
    let subject = if message.stage == Stage::BureauRemoved { "customer" } else { "invoice" };
    format!("{subject} {} ({})", message.subject, message.stage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, NaiveDate};
    use regua_domain::events::EventOutcome;
    use regua_domain::ids::{ChannelId, NoticeId, PolicyId, RunId, SourceId};
    use regua_domain::message::SkipReason;
    use regua_ledger::evaluation::Occasion;
    use regua_ledger::runs::Cursor;
    use uuid::Uuid;

    fn message(number: u128) -> NewMessage {
        NewMessage {
            id: MessageId(Uuid::from_u128(number)),
            revives: false,
            subject: number.to_string(),
            stage: Stage::Settled,
            occasion: Occasion::Event("paid".into()),
            policy_id: PolicyId(Uuid::nil()),
            notice_id: NoticeId(Uuid::nil()),
            channel_id: ChannelId(Uuid::nil()),
            stage_day: NaiveDate::default(),
            opens_at: DateTime::UNIX_EPOCH,
            expires_at: DateTime::UNIX_EPOCH,
            text: Err(SkipReason::OptedOut),
        }
    }

    fn event(number: u128, message: Option<u128>) -> EventDecision {
        let message = message.map(|number| MessageId(Uuid::from_u128(number)));
        EventDecision { id: Uuid::from_u128(number), outcome: EventOutcome::NoPolicy, message }
    }

    /// What is committed, in order, of a batch that is halved to the end.
    fn all_parts(batch: EvaluationBatch) -> Vec<EvaluationBatch> {
        if batch.messages.len() <= 1 {
            return vec![batch];
        }
        let (halves, rest) = halve(batch);
        halves.into_iter().flat_map(all_parts).chain(rest).collect()
    }

    #[test]
    fn f26a_a_batch_in_halves_is_the_same_batch_and_its_cursor_comes_last() {
        let batch = EvaluationBatch {
            run_id: RunId(Uuid::nil()),
            owner: Uuid::nil(),
            planned_at: DateTime::UNIX_EPOCH,
            source_id: SourceId(Uuid::nil()),
            cursor: Some(Cursor { source_id: SourceId(Uuid::nil()), due_on: NaiveDate::default(), invoice_id: "7".into() }),
            messages: (1..=7).map(message).collect(),
            events: vec![event(10, Some(2)), event(11, None), event(12, Some(7)), event(13, Some(2))],
            no_policy: 3,
        };
        let mut parts = all_parts(batch.clone());
        let last = parts.pop().expect("something is left");
        assert_eq!((last.messages.len(), last.cursor, last.no_policy), (0, batch.cursor, 3));
        assert_eq!(last.events.iter().map(|event| event.message).collect::<Vec<_>>(), [None]);
        assert!(parts.iter().all(|part| part.cursor.is_none() && part.no_policy == 0 && part.messages.len() == 1));
        let subjects: Vec<_> = parts.iter().map(|part| part.messages[0].subject.clone()).collect();
        assert_eq!(subjects, ["1", "2", "3", "4", "5", "6", "7"]);
        let events: Vec<_> = parts.iter().map(|part| part.events.len()).collect();
        assert_eq!(events, [0, 2, 0, 0, 0, 0, 1], "each event goes with its message");
    }
}
