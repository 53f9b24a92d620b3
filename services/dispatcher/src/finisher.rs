//! Writes results in batches, then acks their hints and frees their places. A result is kept until the ledger has it (K4).

use crate::Dispatcher;
use crate::config::GATHER;
use regua_broker::{AckTag, Acker};
use regua_domain::ids::AttemptId;
use regua_domain::settlement::Settlement;
use regua_ledger::finish::{BATCH_MAX, FinishAnswer, Finished};
use regua_telemetry::logging::Chain;
use regua_telemetry::retry::RetryPolicy;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How a ledger that doesn't take what is to be written is tried again.
pub const AGAIN: RetryPolicy = RetryPolicy { initial: Duration::from_millis(100), multiplier: 2.0, max: Duration::from_secs(2) };

/// How often a single result is tried again that the schema refuses: what is in its way may move.
const REFUSED_MAX: u32 = 3;

/// Takes results.
#[derive(Clone)]
pub struct Finisher {
    results: mpsc::UnboundedSender<Result>,
    /// How many lanes wait for places.
    waiting: Arc<watch::Sender<usize>>,
}

/// A lane that waits for places: while it lives, results are written at once.
pub struct WaitsForPlaces(Arc<watch::Sender<usize>>);

impl Drop for WaitsForPlaces {
    fn drop(&mut self) {
        self.0.send_modify(|lanes| *lanes -= 1);
    }
}

struct Result {
    finished: Finished,
    ack: Option<AckTag>,
    place: OwnedSemaphorePermit,
}

impl Finisher {
    /// Hands a result over; its hint is acked and its place freed when the ledger has it. Bounded by the places.
    pub fn finish(&self, finished: Finished, ack: Option<AckTag>, place: OwnedSemaphorePermit) {
        let (attempt, message) = (finished.attempt_id, finished.message_id);
        if self.results.send(Result { finished, ack, place }).is_err() {
            tracing::error!(message_id = %message, %attempt, "finisher.gone: the attempt will be in doubt when its lease expires");
        }
    }

    /// Says that a lane waits for places, for as long as the answer lives.
    pub fn hurry(&self) -> WaitsForPlaces {
        self.waiting.send_modify(|lanes| *lanes += 1);
        WaitsForPlaces(Arc::clone(&self.waiting))
    }
}

/// Starts the finisher; it ends when every [`Finisher`] is dropped and all results are written.
pub fn start(dispatcher: Arc<Dispatcher>, acker: Acker) -> (Finisher, JoinHandle<()>) {
    let (sender, results) = mpsc::unbounded_channel();
    let (waiting, lanes) = watch::channel(0);
    let finisher = Finisher { results: sender, waiting: Arc::new(waiting) };
    (finisher, tokio::spawn(run(dispatcher, results, lanes, acker)))
}

async fn run(
    dispatcher: Arc<Dispatcher>,
    mut results: mpsc::UnboundedReceiver<Result>,
    mut lanes: watch::Receiver<usize>,
    acker: Acker,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while results.recv_many(&mut batch, BATCH_MAX).await > 0 {
        gather(&mut batch, &mut results, &mut lanes).await;
        let finished: Vec<Finished> = batch.iter().map(|result| result.finished.clone()).collect();
        write(&dispatcher, finished).await;
        for result in batch.drain(..) {
            acker.ack(result.ack);
            drop(result.place);
        }
    }
}

/// Lets more results come, for a short time and only while no lane waits for a place: a commit costs the same for one as for many.
async fn gather<T>(batch: &mut Vec<T>, results: &mut mpsc::UnboundedReceiver<T>, lanes: &mut watch::Receiver<usize>) {
    let more = async {
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            if results.recv_many(batch, room).await == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = more => {}
        // An error says that all lanes have ended: nobody sends more.
        _ = lanes.wait_for(|lanes| *lanes > 0) => {}
        () = tokio::time::sleep(GATHER) => {}
    }
}

/// Writes a batch, for as long as it takes: a definite answer is the only proof there is, and it settles doubt however late (F1). The places
/// bound what waits here; only the end of the shutdown's grace drops it.
async fn write(dispatcher: &Dispatcher, finished: Vec<Finished>) {
    let mut batches = Batches { waiting: vec![finished], tries: 0 };
    while let Some(batch) = batches.waiting.pop() {
        let began = Instant::now();
        let written = dispatcher.pipeline.ledger.finish(batch.clone()).await;
        dispatcher.events.finish_took(began.elapsed());
        let error = match written {
            Ok(answers) => {
                batches.tries = 0;
                tell(dispatcher, &batch, &answers).await;
                continue;
            }
            Err(error) => error,
        };
        let attempts = batch.len();
        match batches.after_failure(batch, error.is_violation()) {
            Failed::Halved => tracing::warn!(attempts, error = %Chain(&error), "finish.halved"),
            Failed::WaitsFor { tries } => {
                tracing::warn!(attempts, tries, error = %Chain(&error), "finish.failed");
                tokio::time::sleep(AGAIN.delay(tries, rand::random())).await;
            }
            Failed::GivenUp(refused) => tracing::error!(
                message_id = %refused.message_id,
                trace_id = %refused.message_id.0.simple(),
                attempt = %refused.attempt_id,
                outcome = refused.settlement.outcome(),
                error = %Chain(&error),
                "finish.refused: the ledger can't hold this result; its message will be in doubt"
            ),
        }
    }
}

/// What is to be written. A result that the schema refuses must not hold up the others (F26): a refused batch is halved until that one is alone,
/// and that is given up in the end.
struct Batches<T> {
    waiting: Vec<Vec<T>>,
    /// Failures of the batch that is tried, one after another.
    tries: u32,
}

/// What follows a failure.
#[derive(Debug, PartialEq, Eq)]
enum Failed<T> {
    /// Its halves are tried.
    Halved,
    /// It is tried again after a while.
    WaitsFor { tries: u32 },
    /// It isn't tried any more.
    GivenUp(T),
}

impl<T> Batches<T> {
    fn after_failure(&mut self, mut batch: Vec<T>, is_violation: bool) -> Failed<T> {
        if is_violation && batch.len() > 1 {
            let second = batch.split_off(batch.len() / 2);
            self.waiting.extend([second, batch]);
            return Failed::Halved;
        }
        if is_violation && self.tries >= REFUSED_MAX {
            self.tries = 0;
            if let Some(refused) = batch.pop() {
                return Failed::GivenUp(refused);
            }
        }
        self.tries += 1;
        self.waiting.push(batch);
        Failed::WaitsFor { tries: self.tries }
    }
}

async fn tell(dispatcher: &Dispatcher, finished: &[Finished], answers: &[(AttemptId, FinishAnswer)]) {
    for (attempt, answer) in answers {
        // What was never begun may never have been committed either.
        let Some(result) = finished.iter().find(|finished| finished.attempt_id == *attempt) else { continue };
        let was_begun = result.settlement != Settlement::GiveBack;
        match answer {
            FinishAnswer::Late => {
                let message = result.message_id;
                tracing::error!(message_id = %message, %attempt, trace_id = %message.0.simple(), "attempt.late: its message had been settled otherwise; see `regua message`");
            }
            FinishAnswer::Unknown if was_begun => {
                let (pipeline, shutdown) = (&dispatcher.pipeline, &dispatcher.process.shutdown);
                regua_pipeline::ledger_went_back(pipeline, shutdown, &format!("attempt {attempt}")).await;
            }
            FinishAnswer::Settled | FinishAnswer::Confirmed | FinishAnswer::Repeated | FinishAnswer::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one look gathers, and how long it takes, of results that come every 5 ms.
    async fn gathered(waiting: usize, number: u32) -> (usize, Duration) {
        let (sender, mut results) = mpsc::unbounded_channel();
        let (_lanes, mut lanes) = watch::channel(waiting);
        tokio::spawn(async move {
            for result in 0..number {
                sender.send(result).expect("the receiver lives");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let mut batch = Vec::new();
        results.recv_many(&mut batch, BATCH_MAX).await;
        let began = Instant::now();
        gather(&mut batch, &mut results, &mut lanes).await;
        (batch.len(), began.elapsed())
    }

    #[test]
    fn f26a_a_result_that_the_schema_refuses_is_given_up_alone_and_holds_up_no_other() {
        let (mut written, mut refused, mut failures) = (Vec::new(), Vec::new(), 0);
        let mut batches = Batches { waiting: vec![(0..100).collect()], tries: 0 };
        while let Some(batch) = batches.waiting.pop() {
            let is_poisoned = batch.iter().any(|result| [7, 8, 63].contains(result));
            // The ledger is away for a while too.
            failures += 1;
            if is_poisoned || failures % 5 == 0 {
                if let Failed::GivenUp(result) = batches.after_failure(batch, is_poisoned) {
                    refused.push(result);
                }
            } else {
                batches.tries = 0;
                written.extend(batch);
            }
        }
        written.sort_unstable();
        assert_eq!((written.len(), &refused[..]), (97, &[7, 8, 63][..]));
        written.dedup();
        assert_eq!(written.len(), 97);
    }

    #[tokio::test(start_paused = true)]
    async fn results_are_written_together_while_no_lane_waits_for_a_place() {
        let (number, took) = gathered(0, 100).await;
        assert!((3..=6).contains(&number) && took <= GATHER + Duration::from_millis(1), "{number} in {took:?}");
        assert_eq!(gathered(1, 100).await, (1, Duration::ZERO));
        let (number, took) = gathered(0, 2).await;
        assert!(number == 2 && took < GATHER, "the end of all lanes is not waited for longer: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_comes_to_wait_ends_the_gathering() {
        let (sender, mut results) = mpsc::unbounded_channel();
        let (waiting, mut lanes) = watch::channel(0);
        let finisher = Finisher { results: sender.clone(), waiting: Arc::new(waiting) };
        let lane = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(7)).await;
            let waits = finisher.hurry();
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(waits);
            drop(sender);
        });
        let began = Instant::now();
        gather(&mut Vec::new(), &mut results, &mut lanes).await;
        assert_eq!(began.elapsed(), Duration::from_millis(7));
        lane.await.expect("no panic");
        assert_eq!(*lanes.borrow(), 0);
    }
}
