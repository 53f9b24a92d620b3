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

/// Stops everything because the ledger doesn't have `what`, which it once committed. True when the stop is in the ledger, false when the shutdown
/// has begun before: then the sign must come again.
pub async fn ledger_went_back(pipeline: &Pipeline, shutdown: &Shutdown, what: &str) -> bool {
    let why = format!("the ledger doesn't have {what}: was a backup restored? see `regua restored`");
    let stop = of_everything(why);
    until_raised(shutdown, async || raise_stop(&pipeline.ledger, stop.clone()).await).await
}

/// Stops everything if the ledger stands elsewhere than before and nobody has said why. False when the shutdown has begun before the stop is in
/// the ledger.
///
/// # Errors
/// The ledger can't be asked.
pub(crate) async fn look_where_it_stands(ledger: &Ledger, shutdown: &Shutdown) -> Result<bool, LedgerError> {
    if !ledger.stands_elsewhere().await? {
        return Ok(true);
    }
    let stop =
        of_everything("the ledger stands in another database than before: was a backup restored? see `regua restored`".into());
    Ok(until_raised(shutdown, async || raise_stop_if_elsewhere(ledger, stop.clone()).await).await)
}

fn of_everything(why: String) -> NewStop {
    NewStop { scope: StopScope::Everything, target: String::new(), raised_by: BY_LEDGER.to_owned(), why, until_at: None }
}

async fn until_raised(shutdown: &Shutdown, mut raise: impl AsyncFnMut() -> Result<bool, LedgerError>) -> bool {
    while !shutdown.has_begun() {
        match raise().await {
            Ok(_) => return true,
            Err(error) => {
                tracing::error!(error = %Chain(&error), "stop.not_raised");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    false
}
