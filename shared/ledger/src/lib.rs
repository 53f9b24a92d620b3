//! The ledger: the only truth, over PostgreSQL and SQLite.
//!
//! One function per intent; only this crate holds SQL. Every transaction locks businesses → gates → recipients → people →
//! messages → attempts, each sorted by id, and reads the ledger's clock after its locks. No transaction is open across HTTP or a
//! publish, none is longer than [`database::TRANSACTION_TIMEOUT`] but migrations and a recount.

#[macro_use]
pub mod database;

pub mod allowances;
pub mod approval;
pub mod audit;
mod budgets;
pub mod commands;
pub mod configuration;
pub mod conservation;
pub mod counts;
pub mod doubt;
mod error;
pub mod evaluation;
pub mod events;
pub mod failures;
pub mod finish;
mod frequency;
pub mod gates;
pub mod gauges;
pub mod holds;
pub mod inspection;
pub mod look_ups;
pub mod looks;
mod migrations;
pub mod mirror;
mod notices;
pub mod parked;
pub mod people;
pub mod pix;
mod policies;
pub mod queries;
pub mod receipts;
pub mod recent_work;
pub mod release;
mod restored;
pub mod retention;
mod rivals;
pub mod runs;
pub mod sealing;
pub mod secrets;
pub mod settings;
pub mod simulation;
mod snapshot;
pub mod start;
pub mod stop_checks;
pub mod stops;
pub mod sweeps;
pub mod tasks;
pub mod templates;
pub mod test_sends;
mod totals;
pub mod volume;
pub mod webhooks;

pub use error::LedgerError;

use chrono::{DateTime, Utc};
use database::{AdvisoryLock, Database};
use regua_domain::ids::LedgerId;
use std::time::Duration;
use uuid::Uuid;

/// How far a host's clock may be off the ledger's (invariant 9): a process on one that is further off isn't ready. Nothing is decided by it, but
/// identifiers are made by hosts' clocks, and what is looked for along them may be so far from its instant.
pub const SKEW_MAX: Duration = Duration::from_secs(2);

/// The ledger. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    db: Database,
}

impl Ledger {
    /// Opens the ledger of a `REGUA_DATABASE_URL`. PostgreSQL is reached at the first use, see [`Ledger::migrate`].
    pub async fn open(url: &str) -> Result<Self, LedgerError> {
        Ok(Self { db: Database::open(url).await? })
    }

    /// Brings the schema up to date, under a lock: any number of processes may call it at once. One that a newer Régua has only added to stays
    /// as it is.
    ///
    /// # Errors
    /// [`LedgerError::Newer`] when a newer Régua has taken away what this one needs.
    pub async fn migrate(&self) -> Result<(), LedgerError> {
        migrations::run(&self.db).await
    }

    /// The id of this ledger: random, made by the first migration, kept by backups.
    pub async fn id(&self) -> Result<LedgerId, LedgerError> {
        let row = self.db.read().await?.fetch_one(sql!("SELECT id FROM ledger"), vec![]).await?;
        row.id("id").map(LedgerId)
    }

    /// The ledger's clock now.
    pub async fn now(&self) -> Result<DateTime<Utc>, LedgerError> {
        self.db.read().await?.now().await
    }

    /// Sets the demo's clock: from now on the ledger's clock runs on from `instant` at real speed.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when anything was ever written into this ledger: a real one never has another time.
    pub async fn set_demo_clock(&self, instant: DateTime<Utc>) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    // Several services of a demo start at once: the first one sets the clock.
                    let row = tx.fetch_one(sql!("SELECT clock_offset_us FROM ledger", for_update), vec![]).await?;
                    if row.int("clock_offset_us")? != 0 {
                        return Err(LedgerError::Refused("REGUA_DEMO_NOW: this ledger's clock is set already".into()));
                    }
                    let used = tx
                        .fetch_one(
                            sql!("SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM sources) + (SELECT count(*) FROM messages) AS n"),
                            vec![],
                        )
                        .await?;
                    if used.int("n")? > 0 {
                        return Err(LedgerError::Refused(
                            "REGUA_DEMO_NOW: this ledger is in use; only an empty one can have another clock".into(),
                        ));
                    }
                    let ahead = database::micros(instant) - database::micros(tx.now().await?);
                    tx.execute(sql!("UPDATE ledger SET clock_offset_us = $1"), values![ahead]).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Whether this ledger's clock was set for a demo.
    pub async fn has_demo_clock(&self) -> Result<bool, LedgerError> {
        let row = self.db.read().await?.fetch_one(sql!("SELECT clock_offset_us FROM ledger"), vec![]).await?;
        Ok(row.int("clock_offset_us")? != 0)
    }

    /// How far this host's clock is off the ledger's own, without the demo's offset.
    pub async fn host_skew(&self) -> Result<Duration, LedgerError> {
        let (ledger, before, after) = self.clocks().await?;
        let off = if ledger < before { before - ledger } else { ledger - after };
        Ok(off.to_std().unwrap_or_default())
    }

    /// How far an instant that another clock read just now is off the ledger's own, without the demo's offset; positive where it is ahead.
    pub async fn off_by(&self, theirs: DateTime<Utc>, read_at: DateTime<Utc>) -> Result<chrono::TimeDelta, LedgerError> {
        let (ledger, before, after) = self.clocks().await?;
        let host_is_ahead = before + (after - before) / 2 - ledger;
        Ok(theirs - read_at + host_is_ahead)
    }

    /// The ledger's own clock, without the demo's offset, and this host's before and after it was read.
    async fn clocks(&self) -> Result<(DateTime<Utc>, DateTime<Utc>, DateTime<Utc>), LedgerError> {
        let mut tx = self.db.read().await?;
        let before = Utc::now();
        let host_clock = tx.host_clock();
        let row = tx.fetch_one(sql!("SELECT ", (clock 1), " AS now, clock_offset_us FROM ledger"), vec![host_clock]).await?;
        let after = Utc::now();
        let ledger = row.instant("now")? - chrono::TimeDelta::microseconds(row.int("clock_offset_us")?);
        Ok((ledger, before, after))
    }

    /// Whether this ledger is SQLite, and so belongs to one process.
    pub const fn is_embedded(&self) -> bool {
        self.db.is_sqlite()
    }

    /// Makes this process the only one with an in-process broker on this ledger, for as long as the result lives; `None` while there is another.
    pub async fn hold_memory_broker(&self) -> Result<Option<database::Hold>, LedgerError> {
        self.db.hold(AdvisoryLock::MemoryBroker).await
    }

    /// Makes it so again after what it had was lost, and ends that on a server which hasn't heard of it; `None` where another process was faster.
    pub async fn hold_memory_broker_again(&self, lost: &database::Hold) -> Result<Option<database::Hold>, LedgerError> {
        self.db.hold_again(AdvisoryLock::MemoryBroker, lost).await
    }

    /// Ends its connections, on SQLite after the writes that were handed in.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

/// A new identifier: UUIDv7, so that keys sort by creation.
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// The least identifier that a host makes whose clock shows this instant: where those that were made since begin.
pub(crate) fn first_id_of(instant: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(instant.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}
