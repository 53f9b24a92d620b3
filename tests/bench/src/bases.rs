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
    runtime: Runtime,
}

impl Bases {
    /// Those of a provider with so many branches; each answers so long after it has taken a message.
    pub async fn start(branches: usize, answers_after: Duration) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name(THREADS).enable_all().build()?;
        let simulators = runtime.spawn(provider::simulators(branches)).await??;
        if !answers_after.is_zero() {
            let kind = FaultKind::LatencyMs { ms: u64::try_from(answers_after.as_millis())? };
            for simulator in &simulators {
                let fault = Fault { path: Some("/template/send".into()), after_accept: true, ..Fault::always(kind.clone()) };
                simulator.faults(vec![fault]).context("a delay is a possible fault")?;
            }
        }
        Ok(Self { simulators, runtime })
    }

    /// Each of them.
    pub fn simulators(&self) -> &[OpaSimulator] {
        &self.simulators
    }

    /// Ends them.
    pub async fn end(self) -> anyhow::Result<()> {
        for simulator in self.simulators {
            self.runtime.spawn(simulator.shutdown()).await?;
        }
        // Not by dropping it, which blocks.
        self.runtime.shutdown_background();
        Ok(())
    }
}
