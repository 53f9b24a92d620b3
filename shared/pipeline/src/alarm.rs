//! The ledger has gone back in time: nothing may be sent until a person says what was lost (invariant 3, F8).

use crate::stops::raise_stop_if_elsewhere;
use crate::{Pipeline, raise_stop};
use regua_domain::stop::{BY_LEDGER, StopScope};
use regua_ledger::stops::NewStop;
use regua_ledger::{Ledger, LedgerError};
use regua_telemetry::logging::Chain;
use regua_telemetry::shutdown::Shutdown;
use std::time::Duration;

/// How often a ledger that doesn't take the stop is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Whether a stop is still called for when it is written.
#[derive(Clone, Copy)]
enum CalledFor {
    Always,
    /// If the ledger stands elsewhere still: a person may have answered meanwhile.
    Elsewhere,
}

/// Stops everything because the ledger doesn't have `what`, which it once committed. True when the stop is in the ledger, false when the shutdown
/// has begun before: then the sign must come again.
pub async fn ledger_went_back(pipeline: &Pipeline, shutdown: &Shutdown, what: &str) -> bool {
    let why = format!("the ledger doesn't have {what}: was a backup restored? see `regua restored`");
    stop_everything(&pipeline.ledger, shutdown, why, CalledFor::Always).await
}

/// Stops everything if the ledger stands elsewhere than before and nobody has said why. False when the shutdown has begun before the stop is in
/// the ledger.
///
/// # Errors
/// The ledger can't be asked; [`LedgerError::Newer`] when a newer Régua has taken away from it what this one needs.
pub(crate) async fn look_where_it_stands(ledger: &Ledger, shutdown: &Shutdown) -> Result<bool, LedgerError> {
    if !ledger.stands_elsewhere().await? {
        return Ok(true);
    }
    let why = "the ledger stands in another database than before: was a backup restored? see `regua restored`";
    Ok(stop_everything(ledger, shutdown, why.into(), CalledFor::Elsewhere).await)
}

async fn stop_everything(ledger: &Ledger, shutdown: &Shutdown, why: String, called_for: CalledFor) -> bool {
    let stop = NewStop { scope: StopScope::Everything, target: String::new(), raised_by: BY_LEDGER.into(), why, until_at: None };
    while !shutdown.has_begun() {
        let raised = match called_for {
            CalledFor::Always => raise_stop(ledger, stop.clone()).await,
            CalledFor::Elsewhere => raise_stop_if_elsewhere(ledger, stop.clone()).await,
        };
        match raised {
            Ok(_) => return true,
            Err(error) => {
                tracing::error!(why = stop.why, error = %Chain(&error), "stop.not_raised");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    false
}
