//! Scheduler and dispatchers: release, top-up, start, finish and what people decide of doubt, by the ledger's own functions.

use crate::operations::End;
use crate::player::{Attempt, Player};
use crate::wire::{Entry, Fate};
use chrono::TimeDelta;
use regua_domain::admission::HORIZON;
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::message::{DeferReason, DoubtReason, FailReason, State};
use regua_domain::settlement::Settlement;
use regua_ledger::doubt::Resolution;
use regua_ledger::finish::{FinishAnswer, Finished};
use regua_ledger::start::{StartAnswer, StartBatch, Started};
use regua_ledger::{LedgerError, new_id};

const LEAD: TimeDelta = TimeDelta::milliseconds(20);
const LEASE: TimeDelta = TimeDelta::seconds(60);

impl Player {
    /// *send-queued-messages*.
    pub async fn release(&self) {
        self.ledger.release_through(self.now().await).await.unwrap();
    }

    /// Tops up; some hints are lost, one may come twice. How many messages were looked at.
    pub async fn top_up(&self, lost: usize, twice: bool) -> u64 {
        let top_up = self.ledger.top_up(self.channel, None).await.unwrap();
        let again = top_up.queued.first().copied().filter(|_| twice);
        let queued = top_up.queued.len() as u64;
        self.seen().hints.extend(top_up.queued.into_iter().skip(lost).chain(again));
        queued + top_up.skipped + top_up.rendered_again
    }

    /// Sees to it that there are hints, if anything may go.
    pub async fn hint(&self) {
        if self.seen().hints.is_empty() {
            self.top_up(0, false).await;
        }
    }

    /// Sees to it that attempts are open, if anything may go.
    pub async fn begin(&self, attempts: usize) {
        if self.seen().open.is_empty() {
            self.hint().await;
            self.start(attempts, false).await;
        }
    }

    /// Starts the first hints; how many began.
    pub async fn start(&self, hints: usize, redelivered: bool) -> usize {
        let hinted = {
            let mut seen = self.seen();
            let number = hints.min(seen.hints.len());
            let hinted: Vec<MessageId> = seen.hints.drain(..number).collect();
            if redelivered {
                let rest = std::mem::replace(&mut seen.hints, hinted.clone());
                seen.hints.extend(rest);
            }
            hinted
        };
        if hinted.is_empty() {
            return 0;
        }
        let requests = hinted.iter().map(|id| (*id, AttemptId(new_id()))).collect();
        let batch = StartBatch { dispatcher: "d".into(), requests, lead: LEAD, horizon: HORIZON, lease: LEASE };
        let mut started = 0;
        for (id, answer) in self.ledger.start(batch).await.unwrap().answers {
            match answer {
                StartAnswer::Started(begun) => {
                    self.note_start(id, *begun).await;
                    started += 1;
                }
                StartAnswer::NoSlot { .. } => self.seen().hints.push(id),
                StartAnswer::Postponed { .. } | StartAnswer::Skipped { .. } | StartAnswer::NotWaiting => {}
                StartAnswer::Unknown => panic!("{id} is unknown"),
            }
        }
        started
    }

    async fn note_start(&self, message: MessageId, begun: Started) {
        let facts = self.facts();
        let row = self.ledger.message(message).await.unwrap().expect("it was started").0;
        let mut seen = self.seen();
        seen.open.push(Attempt { message, id: begun.attempt_id, took: false });
        let (resent, last_day) = (seen.resent.get(&message).copied().unwrap_or(0), seen.last_days.get(&message).copied());
        seen.wire.push(Entry {
            message,
            attempt: begun.attempt_id,
            subject: row.subject,
            stage: row.stage,
            due_on: row.due_on,
            slot_at: begun.slot_at,
            expires_at: begun.expires_at,
            text: begun.text,
            facts,
            resent,
            last_day,
            fate: Fate::Open,
            keeps_place: false,
        });
    }

    /// Ends the first attempts all alike, and reports it, or not, or twice.
    pub async fn finish(&self, attempts: usize, end: End, twice: bool) {
        let (ended, now) = {
            let now = self.now().await;
            let mut seen = self.seen();
            let number = attempts.min(seen.open.len());
            (seen.open.drain(..number).collect::<Vec<_>>(), now)
        };
        let settlement = match end {
            End::Sent => None,
            End::Doubt { .. } => Some((Settlement::Doubt { why: DoubtReason::TimedOut }, Fate::Doubt)),
            End::Lost { .. } => Some((Settlement::GiveBack, Fate::Open)),
            End::Retry => Some((Settlement::Retry { at: now + TimeDelta::seconds(5) }, Fate::Unsent)),
            End::Defer => {
                let (until, why) = (now + TimeDelta::seconds(30), DeferReason::Throttled);
                Some((Settlement::Defer { until, why }, Fate::Unsent))
            }
            End::Fail => Some((Settlement::Fail { why: FailReason::Rejected }, Fate::Refused)),
            End::GiveBack => Some((Settlement::GiveBack, Fate::Unsent)),
        };
        let mut report = Vec::new();
        for attempt in ended {
            let took = matches!(end, End::Sent | End::Doubt { took: true } | End::Lost { took: true });
            let attempt = Attempt { took, ..attempt };
            let (settlement, fate) = settlement.clone().unwrap_or_else(|| (sent(attempt), Fate::Sent));
            self.note_end(attempt, fate, took);
            if !matches!(end, End::Lost { .. }) {
                report.push(finished(attempt, settlement));
            }
        }
        if twice {
            self.report(report.clone()).await;
        }
        self.report(report).await;
    }

    async fn report(&self, results: Vec<Finished>) {
        let answers = self.ledger.finish(results).await.unwrap();
        let mut seen = self.seen();
        for (attempt, _) in answers.into_iter().filter(|(_, answer)| *answer == FinishAnswer::Late) {
            seen.entry(attempt).keeps_place = true;
        }
    }

    fn note_end(&self, attempt: Attempt, fate: Fate, took: bool) {
        let mut seen = self.seen();
        if took {
            seen.taken.push(attempt.message);
        }
        if matches!(fate, Fate::Doubt | Fate::Open) {
            seen.doubtful.push(attempt);
        }
        seen.entry(attempt.id).fate = fate;
    }

    /// What is known of doubtful attempts after all: sent, or the proof of the opposite.
    pub async fn late_evidence(&self) {
        let at = self.now().await + TimeDelta::seconds(5);
        let doubtful = std::mem::take(&mut self.seen().doubtful);
        let mut report = Vec::new();
        for attempt in doubtful {
            let (settlement, fate) =
                if attempt.took { (sent(attempt), Fate::Sent) } else { (Settlement::Retry { at }, Fate::Unsent) };
            self.note_end(attempt, fate, false);
            report.push(finished(attempt, settlement));
        }
        self.report(report).await;
    }

    /// A person looks at the provider and settles the first doubt that the choice fits; what may still report is refused.
    pub async fn resolve(&self, how: usize) {
        let how = [Resolution::Sent, Resolution::Resend, Resolution::Drop][how];
        let found = {
            let seen = self.seen();
            let took = |id: &MessageId| seen.taken.contains(id);
            let fits = |id: &&MessageId| match how {
                Resolution::Sent => took(id),
                Resolution::Resend => true,
                Resolution::Drop => !took(id),
            };
            let doubtful = seen.rows.values().filter(|row| row.state == State::InDoubt).map(|row| &row.id);
            doubtful.into_iter().find(fits).copied()
        };
        let Some(message) = found else { return };
        match self.ledger.resolve_doubt(message, how, "ana".into(), "conferido".into()).await {
            Ok(()) if how == Resolution::Resend => *self.seen().resent.entry(message).or_default() += 1,
            Ok(()) | Err(LedgerError::Refused(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn sent(attempt: Attempt) -> Settlement {
    Settlement::Sent { provider_id: attempt.id.to_string() }
}

fn finished(attempt: Attempt, settlement: Settlement) -> Finished {
    let (message_id, attempt_id) = (attempt.message, attempt.id);
    Finished { message_id, attempt_id, settlement, http_status: None, provider_code: None, latency_ms: 12 }
}
