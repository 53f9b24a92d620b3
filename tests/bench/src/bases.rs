//! The provider's bases of Opa! Suite, on threads of their own: what they cost is not what Régua costs.

use crate::provider;
use anyhow::Context as _;
use regua_simulators::{Fault, FaultKind, OpaSimulator};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// What the threads are called, by which their time is told from ours.
pub(crate) const THREADS: &str = "opa-simulator";
const WORKERS: usize = 2;

/// Running simulators.
pub(crate) struct Bases {
    simulators: Vec<OpaSimulator>,
    /// There until the end: dropping a runtime blocks, which no asynchronous code may.
    runtime: Option<Runtime>,
}

impl Bases {
    /// Those of a provider with so many branches; each answers so long after it has taken a message.
    pub async fn start(branches: usize, answers_after: Duration) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name(THREADS).enable_all().build()?;
        let mut bases = Self { simulators: Vec::new(), runtime: Some(runtime) };
        bases.simulators = bases.run(provider::simulators(branches)).await??;
        if !answers_after.is_zero() {
            let kind = FaultKind::LatencyMs { ms: u64::try_from(answers_after.as_millis())? };
            for simulator in &bases.simulators {
                let fault = Fault { path: Some("/template/send".into()), after_accept: true, ..Fault::always(kind.clone()) };
                simulator.faults(vec![fault]).context("a delay is a possible fault")?;
            }
        }
        Ok(bases)
    }

    /// Runs something on their threads.
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> anyhow::Result<T> {
        let runtime = self.runtime.as_ref().context("it has not ended")?;
        Ok(runtime.spawn(work).await?)
    }

    /// Each of them.
    pub fn simulators(&self) -> &[OpaSimulator] {
        &self.simulators
    }

    /// Ends them.
    pub async fn end(mut self) -> anyhow::Result<()> {
        for simulator in std::mem::take(&mut self.simulators) {
            self.run(simulator.shutdown()).await?;
        }
        Ok(())
    }
}

impl Drop for Bases {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
