//! A command's session with the ledger: here, or through the process that holds the SQLite file.

use crate::commands::Outcome;
use crate::lock::{LedgerLock, LockAnswer};
use crate::operator::{self, Answer, Office, Request};
use crate::output::{self, Format, remark};
use anyhow::Context as _;
use regua_ledger::{Ledger, LedgerError};
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use std::time::Duration;

/// How long a command waits for the schema without a word.
const TOLD_AFTER: Duration = Duration::from_secs(3);

/// A command's view of the ledger.
pub struct Session {
    pub(super) config: ServiceConfig,
    pub(super) environment: Environment,
    pub(super) ledger: Ledger,
    /// False while `regua up` holds the SQLite file: then writing commands are left for it.
    pub(super) writes_here: bool,
    _lock: Option<LedgerLock>,
}

impl Session {
    /// Opens the ledger of this environment.
    pub async fn open() -> anyhow::Result<Result<Self, Outcome>> {
        let environment = Environment::process();
        let config = match ServiceConfig::load(Service::Regua, Hosting::Embedded, &environment) {
            Ok(config) => config,
            Err(problems) => return Ok(Err(Outcome::Misused(problems.to_string()))),
        };
        regua_telemetry::install_tls_provider();
        let lock = LedgerLock::take(config.database_url.expose()).context("the ledger's lock")?;
        let (writes_here, lock) = match lock {
            None => (true, None),
            Some(LockAnswer::Ours(lock)) => (true, Some(lock)),
            Some(LockAnswer::Held) => (false, None),
        };
        let ledger = Ledger::open(config.database_url.expose()).await?;
        if writes_here {
            migrate(&ledger).await?;
        }
        Ok(Ok(Self { config, environment, ledger, writes_here, _lock: lock }))
    }

    /// Ends the connections.
    pub async fn close(&self) {
        self.ledger.close().await;
    }

    /// Carries a request out here, or leaves it for the process that holds the ledger.
    pub(super) async fn submit(&self, request: Request) -> anyhow::Result<Answer> {
        if self.writes_here {
            let office = Office { ledger: &self.ledger, config: &self.config, environment: &self.environment };
            Ok(operator::execute(&office, request).await)
        } else {
            operator::ask(&self.ledger, &request).await
        }
    }

    pub(super) async fn submit_and_tell(&self, request: Request, format: Format) -> anyhow::Result<Outcome> {
        let answer = self.submit(request).await?;
        tell(&answer, format);
        Ok(if answer.done { Outcome::Done } else { Outcome::DidNotHold })
    }
}

/// Brings the schema up to date; a person who waits for it is told.
async fn migrate(ledger: &Ledger) -> Result<(), LedgerError> {
    let migrating = ledger.migrate();
    tokio::pin!(migrating);
    tokio::select! {
        migrated = &mut migrating => migrated,
        () = tokio::time::sleep(TOLD_AFTER) => {
            remark!("the ledger's schema is being brought up to date; a dump (pg_dump) or another long transaction that runs would be in the way. What can't wait, such as a pause, the program of before does at once");
            migrating.await
        }
    }
}

pub(super) fn tell(answer: &Answer, format: Format) {
    match format {
        Format::Json => output::line(&answer.data),
        Format::Human if answer.done => output::line(&answer.text),
        Format::Human => output::note(&answer.text),
    }
}
