//! `regua up`: everything in this process.

use crate::embedded;
use crate::lock::{LedgerLock, LockAnswer};
use crate::status_page::StatusPage;
use regua_console::Console;
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use regua_telemetry::service::{self, Failure, Process};
use std::process::ExitCode;

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
        return Err(Failure::configuration(
            "another process with REGUA_BROKER_URL=memory: works on this ledger: stop it, or give both the same amqp:// broker",
        ));
    }
    embedded::take_over(&pipeline, lock.is_some(), owns_broker).await.map_err(Failure::fault)?;
    page.show(pipeline.ledger.clone());
    let ended = Box::pin(embedded::run(pipeline, process, console)).await;
    drop((lock, only_memory));
    ended
}
