//! Writes results in batches, then acks their hints and frees their places. A result is kept until the ledger has it (K4).

use crate::Dispatcher;
use crate::config::FINISH_RETRY;
use regua_broker::{AckTag, Acker};
use regua_ledger::finish::{BATCH_MAX, FinishAnswer, Finished};
use regua_telemetry::logging::Chain;
use regua_telemetry::retry::RetryPolicy;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
        // Also when it could not be written: the lease decides then, and the hint has nothing left to say.
        for result in batch.drain(..) {
            acker.ack(result.ack);
            drop(result.place);
        }
    }
}

/// Writes a batch, for as long as the attempts' leases allow.
async fn write(dispatcher: &Dispatcher, finished: Vec<Finished>) {
    let began = Instant::now();
    for attempt in 1.. {
        match dispatcher.pipeline.ledger.finish(finished.clone()).await {
            Ok(answers) => {
                for (attempt, answer) in answers {
                    if answer == FinishAnswer::Late {
                        tracing::error!(%attempt, "attempt.late: its message had been settled otherwise; see `regua message`");
                    }
                }
                return;
            }
            Err(error) if began.elapsed() > FINISH_RETRY => {
                tracing::error!(attempts = finished.len(), error = %Chain(&error), "finish.given_up: they will be in doubt when their leases expire");
                return;
            }
            Err(error) => {
                tracing::warn!(attempts = finished.len(), error = %Chain(&error), "finish.failed");
                tokio::time::sleep(AGAIN.delay(attempt, rand::random())).await;
            }
        }
    }
}
