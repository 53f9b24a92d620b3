//! Writes results in batches, then acks their hints and frees their places. A result is kept until the ledger has it (K4).

use crate::{Dispatcher, alarm};
use regua_broker::{AckTag, Acker};
use regua_domain::ids::AttemptId;
use regua_domain::settlement::Settlement;
use regua_ledger::finish::{BATCH_MAX, FinishAnswer, Finished};
use regua_telemetry::logging::Chain;
use regua_telemetry::retry::RetryPolicy;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

/// How a ledger that doesn't take results is tried again.
const AGAIN: RetryPolicy = RetryPolicy { initial: Duration::from_millis(100), multiplier: 2.0, max: Duration::from_secs(2) };

/// Takes results.
#[derive(Clone)]
pub struct Finisher(mpsc::UnboundedSender<Result>);

struct Result {
    finished: Finished,
    ack: Option<AckTag>,
    place: OwnedSemaphorePermit,
}

impl Finisher {
    /// Hands a result over; its hint is acked and its place freed when the ledger has it. Bounded by the places.
    pub fn finish(&self, finished: Finished, ack: Option<AckTag>, place: OwnedSemaphorePermit) {
        let attempt = finished.attempt_id;
        if self.0.send(Result { finished, ack, place }).is_err() {
            tracing::error!(%attempt, "finisher.gone: the attempt will be in doubt when its lease expires");
        }
    }
}

/// Starts the finisher; it ends when every [`Finisher`] is dropped and all results are written.
pub fn start(dispatcher: Arc<Dispatcher>, acker: Acker) -> (Finisher, JoinHandle<()>) {
    let (sender, results) = mpsc::unbounded_channel();
    (Finisher(sender), tokio::spawn(run(dispatcher, results, acker)))
}

async fn run(dispatcher: Arc<Dispatcher>, mut results: mpsc::UnboundedReceiver<Result>, acker: Acker) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while results.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let finished: Vec<Finished> = batch.iter().map(|result| result.finished.clone()).collect();
        write(&dispatcher, finished).await;
        for result in batch.drain(..) {
            acker.ack(result.ack);
            drop(result.place);
        }
    }
}

/// Writes a batch, for as long as it takes: a definite answer is the only proof there is, and it settles doubt however late (F1). The places
/// bound what waits here; only the end of the shutdown's grace drops it.
async fn write(dispatcher: &Dispatcher, finished: Vec<Finished>) {
    for attempt in 1.. {
        match dispatcher.pipeline.ledger.finish(finished.clone()).await {
            Ok(answers) => return tell(dispatcher, &finished, &answers).await,
            Err(error) => {
                tracing::warn!(attempts = finished.len(), attempt, error = %Chain(&error), "finish.failed");
                tokio::time::sleep(AGAIN.delay(attempt, rand::random())).await;
            }
        }
    }
}

async fn tell(dispatcher: &Dispatcher, finished: &[Finished], answers: &[(AttemptId, FinishAnswer)]) {
    for (attempt, answer) in answers {
        // What was never begun may never have been committed either.
        let was_begun = finished.iter().any(|f| f.attempt_id == *attempt && f.settlement != Settlement::GiveBack);
        match answer {
            FinishAnswer::Late => {
                tracing::error!(%attempt, "attempt.late: its message had been settled otherwise; see `regua message`");
            }
            FinishAnswer::Unknown if was_begun => alarm::ledger_went_back(dispatcher, &format!("attempt {attempt}")).await,
            FinishAnswer::Settled | FinishAnswer::Repeated | FinishAnswer::Unknown => {}
        }
    }
}
