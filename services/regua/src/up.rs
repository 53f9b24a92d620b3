//! `regua up`: everything in this process.

use crate::embedded;
use crate::lock::{LedgerLock, LockAnswer};
use crate::status_page::StatusPage;
use regua_console::Console;
use regua_ledger::Ledger;
use regua_ledger::database::Hold;
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use regua_telemetry::service::{self, Failure, Process};
use regua_telemetry::shutdown::Shutdown;
use std::process::ExitCode;
use std::time::Duration;

const NOT_ALONE: &str =
    "another process with REGUA_BROKER_URL=memory: works on this ledger: stop it, or give both the same amqp:// broker";
/// How often it is looked whether this process is still the only one.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The wait before a lost lock is tried for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often the lock may be found taken: at first it may be by this process's own lost connection, which the server is ending.
const REFUSALS_MAX: u32 = 5;

/// Runs until a signal. A second one on the same SQLite file is refused.
pub fn up() -> ExitCode {
    // Before anything else is said, a taken port say: two of them on one file is what a person has to hear about.
    let config = ServiceConfig::load(Service::Regua, Hosting::Embedded, &Environment::process());
    let lock = match config.map(|config| (LedgerLock::take(config.database_url.expose()), config.database_url)) {
        Ok((Ok(Some(LockAnswer::Held)), url)) => {
            eprintln!("regua: another `regua up` already runs on {url}: stop it, or set REGUA_DATABASE_URL to another file");
            return ExitCode::from(2);
        }
        Ok((Err(error), url)) => {
            eprintln!("regua: the lock beside {url} can't be taken: {error}");
            return ExitCode::from(1);
        }
        Ok((Ok(lock), _)) => lock,
        // What is wrong with the variables is told below.
        Err(_) => None,
    };
    let page = StatusPage::default();
    let console = Console::default();
    let routes = page.router().merge(console.router());
    service::run(Service::Regua, Hosting::Embedded, Environment::process(), routes, |process| run(process, page, console, lock))
}

async fn run(process: Process, page: StatusPage, console: Console, lock: Option<LockAnswer>) -> Result<(), Failure> {
    let Some(pipeline) = regua_pipeline::open(&process).await? else { return Ok(()) };
    let owns_broker = process.config.broker_url.scheme() == "memory";
    let only_memory = if owns_broker { pipeline.ledger.hold_memory_broker().await.map_err(Failure::fault)? } else { None };
    if owns_broker && only_memory.is_none() {
        return Err(Failure::configuration(NOT_ALONE));
    }
    embedded::take_over(&pipeline, lock.is_some(), owns_broker).await.map_err(Failure::fault)?;
    page.show(pipeline.ledger.clone());
    let staying_alone = only_memory.map(|hold| tokio::spawn(stay_alone(pipeline.ledger.clone(), hold, process.shutdown.clone())));
    let ended = Box::pin(embedded::run(pipeline, process, console)).await;
    if let Some(staying_alone) = staying_alone {
        staying_alone.abort();
    }
    drop(lock);
    ended
}

/// Stays the only process with its broker inside when the ledger's server was restarted or another one took its place; ends this process where
/// another was faster.
async fn stay_alone(ledger: Ledger, mut hold: Hold, shutdown: Shutdown) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if hold.lasts().await {
            continue;
        }
        tracing::warn!("memory_broker.lock_lost: the connection to the ledger that keeps others away is lost; taking it again");
        let mut refusals = 0;
        hold = loop {
            match ledger.hold_memory_broker_again(&hold).await {
                Ok(Some(hold)) => break hold,
                Ok(None) if refusals == REFUSALS_MAX => return shutdown.begin_for(NOT_ALONE),
                Ok(None) => refusals += 1,
                // Unreachable: nobody else reaches it either, or finds the lock free.
                Err(error) => tracing::debug!(?error, "memory_broker.lock_not_taken"),
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        };
        tracing::info!("memory_broker.lock_taken_again");
    }
}
