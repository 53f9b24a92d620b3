//! The ledger has gone back in time: nothing may be sent until a person says what was lost (invariant 3, F8).

use crate::{Pipeline, raise_stop};
use regua_domain::stop::{BY_LEDGER, StopScope};
use regua_ledger::stops::NewStop;
use regua_telemetry::logging::Chain;
use regua_telemetry::shutdown::Shutdown;
use std::time::Duration;

/// How often a ledger that doesn't take the stop is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Stops everything because the ledger doesn't have `what`, which it once committed. True when the stop is in the ledger, false when the shutdown
/// has begun before: then the sign must come again.
pub async fn ledger_went_back(pipeline: &Pipeline, shutdown: &Shutdown, what: &str) -> bool {
    let stop = NewStop {
        scope: StopScope::Everything,
        target: String::new(),
        raised_by: BY_LEDGER.into(),
        why: format!("the ledger doesn't have {what}: was a backup restored? see `regua restored`"),
        until_at: None,
    };
    while !shutdown.has_begun() {
        match raise_stop(&pipeline.ledger, stop.clone()).await {
            Ok(_) => return true,
            Err(error) => {
                tracing::error!(what, error = %Chain(&error), "stop.not_raised");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    false
}
