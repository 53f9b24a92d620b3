//! The console. Today it is the receiver of webhooks, and nothing else:
//!
//! - `POST /webhooks/opa/{integration}`: what Opa! Suite tells of messages ([`opa`]);
//! - `POST /webhooks/erp/{source}`: what the ERP tells of invoices ([`erp`]).
//!
//! A call is heard if it has the secret that the configuration names (`webhook_secret_env`, `webhook_secret_file`, `webhook_secret`), as `Authorization: Bearer
//! SECRET` or `X-Regua-Secret: SECRET`. It is answered with 200 only after what it tells is in the ledger, so that who repeats what failed loses
//! nothing; what comes again changes nothing. Who calls learns nothing from a refusal: an unknown name, a name without a secret and a wrong
//! secret are one answer.

mod answer;
mod body;
mod config;
mod counters;
mod early;
pub mod erp;
mod keys;
pub mod opa;
mod receiver;

use answer::Refusal;
use axum::Router;
use axum::routing::post;
use counters::Counters;
use keys::Keys;
use receiver::Receiver;
use regua_pipeline::Pipeline;
use regua_telemetry::service::{Failure, Process};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// The routes, which answer 503 until [`Console::run`] has a ledger for them. Clones are the same console.
#[derive(Clone, Default)]
pub struct Console(Arc<OnceLock<Desk>>);

/// What every call needs.
struct Desk {
    pipeline: Pipeline,
    keys: Keys,
    receiver: Receiver,
    erp_places: Semaphore,
    counters: Counters,
}

impl Console {
    /// The console's routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/webhooks/opa/{integration}", post(opa::call))
            .route("/webhooks/erp/{source}", post(erp::call))
            .with_state(self.clone())
    }

    /// Serves the routes until the shutdown begins.
    ///
    /// # Errors
    /// None of its own: what fails is told in `/readyz` and answered with 503.
    pub async fn run(&self, pipeline: Pipeline, process: Process) -> Result<(), Failure> {
        let counters = Counters::new(&process.metrics);
        let (receiver, receiving) = receiver::start(pipeline.clone(), process.shutdown.clone(), counters.clone());
        let (keys, erp_places) = (Keys::default(), Semaphore::new(config::ERP_AT_ONCE));
        let desk = self.0.get_or_init(|| Desk { pipeline, keys, receiver, erp_places, counters });
        tokio::select! {
            () = desk.keys.keep_fresh(&desk.pipeline.ledger, &process) => {}
            () = early::keep_trying(&desk.pipeline.ledger, &desk.counters) => {}
            () = process.shutdown.begun() => {}
        }
        receiving.await.map_err(Failure::fault)
    }

    fn desk(&self) -> Result<&Desk, Refusal> {
        self.0.get().ok_or(Refusal::NotNow)
    }
}
