//! Writes what calls tell in batches; a call is answered after its commit.

use crate::answer::Refusal;
use crate::config::{ANSWER_WITHIN, GATHER, WAITING_MAX};
use crate::counters::Counters;
use regua_ledger::LedgerError;
use regua_ledger::receipts::{BATCH_MAX, NewReceipt};
use regua_ledger::webhooks::{NewSample, SAMPLES_MAX};
use regua_pipeline::{Pipeline, ledger_went_back};
use regua_telemetry::logging::Chain;
use regua_telemetry::shutdown::Shutdown;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Takes what calls tell.
pub struct Receiver(mpsc::Sender<Job>);

/// What one call tells.
struct Job {
    receipts: Vec<NewReceipt>,
    sample: Option<NewSample>,
    written: oneshot::Sender<bool>,
}

impl Receiver {
    /// Writes what a call tells; returns when it is in the ledger. At most [`BATCH_MAX`] receipts.
    ///
    /// # Errors
    /// [`Refusal::NotNow`] when too many wait or the ledger doesn't take it: nothing is lost if the caller comes again.
    pub async fn write(&self, receipts: Vec<NewReceipt>, sample: Option<NewSample>) -> Result<(), Refusal> {
        let (written, answer) = oneshot::channel();
        self.0.try_send(Job { receipts, sample, written }).map_err(|_| Refusal::NotNow)?;
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false) | Err(_)) | Err(_) => Err(Refusal::NotNow),
        }
    }
}

/// Starts the writer. When the shutdown begins it writes what waits, and ends.
pub fn start(pipeline: Pipeline, shutdown: Shutdown, counters: Counters) -> (Receiver, JoinHandle<()>) {
    let (sender, jobs) = mpsc::channel(WAITING_MAX);
    let writer = Writer { pipeline, shutdown, counters };
    (Receiver(sender), tokio::spawn(async move { writer.run(jobs).await }))
}

struct Writer {
    pipeline: Pipeline,
    shutdown: Shutdown,
    counters: Counters,
}

impl Writer {
    async fn run(&self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.begun(), if !jobs.is_closed() => {
                    jobs.close();
                    continue;
                }
                number = jobs.recv_many(&mut batch, WAITING_MAX) => if number == 0 { return },
            }
            // An elapsed time means that no more came.
            timeout(GATHER, gather(&mut batch, &mut jobs)).await.unwrap_or_default();
            self.write(std::mem::take(&mut batch)).await;
        }
    }

    async fn write(&self, jobs: Vec<Job>) {
        let (mut waiting, mut samples) = (Vec::with_capacity(jobs.len()), Vec::new());
        for mut job in jobs {
            samples.extend(job.sample.take());
            waiting.push(job);
        }
        let mut batches = vec![waiting];
        while let Some(mut batch) = batches.pop() {
            match self.receive(&batch).await {
                Ok(written) => answer(batch, written),
                // One that the schema refuses holds up no other.
                Err(error) if error.is_violation() && batch.len() > 1 => {
                    let second = batch.split_off(batch.len() / 2);
                    batches.extend([second, batch]);
                }
                Err(error) => {
                    tracing::warn!(calls = batch.len(), error = %Chain(&error), "webhook.not_written");
                    answer(batch, false);
                }
            }
        }
        if samples.is_empty() {
            return;
        }
        samples.drain(..samples.len().saturating_sub(SAMPLES_MAX));
        if let Err(error) = self.pipeline.ledger.keep_samples(samples).await {
            tracing::warn!(error = %Chain(&error), "webhook.sample_not_kept");
        }
    }

    /// Writes the receipts of some calls, as many at once as a transaction takes. False if what they mean for all others isn't written.
    async fn receive(&self, batch: &[Job]) -> Result<bool, LedgerError> {
        let receipts: Vec<NewReceipt> = batch.iter().flat_map(|job| job.receipts.iter().cloned()).collect();
        let mut written = true;
        for chunk in receipts.chunks(BATCH_MAX) {
            let received = self.pipeline.ledger.receive(chunk.to_vec()).await?;
            self.counters.received(&received, false);
            if let Some(what) = received.lost.first() {
                written &= ledger_went_back(&self.pipeline, &self.shutdown, what).await;
            }
        }
        Ok(written)
    }
}

async fn gather(batch: &mut Vec<Job>, jobs: &mut mpsc::Receiver<Job>) {
    while batch.len() < WAITING_MAX {
        let room = WAITING_MAX - batch.len();
        if jobs.recv_many(batch, room).await == 0 {
            return;
        }
    }
}

fn answer(batch: Vec<Job>, written: bool) {
    for job in batch {
        if job.written.send(written).is_err() {
            tracing::debug!("webhook.caller_gone");
        }
    }
}
