//! The ledger of `regua simulate`: in memory, on the clock of one process whose time doesn't pass by itself (invariant 9).

use crate::Ledger;
use crate::database::Database;
use crate::error::LedgerError;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::mpsc;
use tokio::time::Instant;

/// What a process with an SQLite ledger takes the time from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HostClock {
    /// The host.
    Host,
    /// The simulation: it read `began_at` at `since`, and goes on with tokio's clock, which is paused.
    Simulated { began_at: DateTime<Utc>, since: Instant },
}

impl HostClock {
    pub(crate) fn now(self) -> DateTime<Utc> {
        match self {
            Self::Host => Utc::now(),
            Self::Simulated { began_at, since } => {
                let elapsed = TimeDelta::from_std(since.elapsed()).unwrap_or(TimeDelta::MAX);
                began_at.checked_add_signed(elapsed).unwrap_or(DateTime::<Utc>::MAX_UTC)
            }
        }
    }

    /// Keeps the simulation's time where it is for as long as the result lives; on the host's clock nothing.
    ///
    /// SQLite works on threads of its own, of which a paused clock knows nothing: without this it would move to the next timer meanwhile, and
    /// the simulation would depend on how fast the host is.
    pub(crate) fn stand_still(self) -> Option<StandStill> {
        match self {
            Self::Host => None,
            Self::Simulated { .. } => Some(StandStill::begin()),
        }
    }
}

/// While it lives, a blocking task runs, which is what tokio lets a paused clock wait for.
pub(crate) struct StandStill(#[allow(dead_code, reason = "held, not used")] mpsc::Sender<()>);

impl StandStill {
    fn begin() -> Self {
        let (lives, ended) = mpsc::channel();
        tokio::task::spawn_blocking(move || ended.recv());
        Self(lives)
    }
}

/// What a simulation looks at to know whether it may move its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Runs that are being worked on, or could be.
    pub runs: u64,
    /// Messages that are hinted at or being sent.
    pub on_the_way: u64,
    /// Messages that wait for nothing but their release, their window, or their turn.
    pub due: u64,
    /// The next instant at which a message, a run, a gate or a stop waits for the clock alone.
    pub next_at: Option<DateTime<Utc>>,
}

impl Ledger {
    /// A new, empty ledger in memory. Its clock reads `began_at` now and goes on as tokio's does: in a runtime whose clock is paused it moves
    /// only when nothing is left to do, or when it is moved. No ledger that is kept can have this clock.
    ///
    /// # Errors
    /// [`LedgerError::Database`] when SQLite can't.
    pub async fn open_simulated(began_at: DateTime<Utc>) -> Result<Self, LedgerError> {
        let clock = HostClock::Simulated { began_at, since: Instant::now() };
        Ok(Self { db: Database::in_memory(clock).await? })
    }

    /// What is going on, and what comes next.
    pub async fn activity(&self) -> Result<Activity, LedgerError> {
        let mut tx = self.db.read().await?;
        let now = tx.now().await?;
        let row = tx
            .fetch_one(
                sql!(
                    "SELECT (SELECT count(*) FROM runs WHERE state = 'running' OR (state = 'planned' AND next_try_at <= $1)) AS runs,
                            count(*) FILTER (WHERE state IN ('queued', 'sending')) AS on_the_way,
                            count(*) FILTER (WHERE state IN ('held', 'scheduled') AND (next_attempt_at IS NULL OR next_attempt_at <= $1)) AS due,
                            MIN(CASE WHEN next_attempt_at > $1 THEN next_attempt_at END) AS attempt_at,
                            MIN(CASE WHEN expires_at > $1 THEN expires_at END) AS expires_at,
                            (SELECT MIN(next_try_at) FROM runs WHERE state = 'planned' AND next_try_at > $1) AS run_at,
                            (SELECT MIN(paused_until) FROM gates WHERE paused_until > $1) AS gate_at,
                            (SELECT MIN(until_at) FROM stops WHERE lifted_at IS NULL AND until_at > $1) AS stop_at
                     FROM messages WHERE ",
                    live
                ),
                values![now],
            )
            .await?;
        let mut next_at = None;
        for column in ["attempt_at", "expires_at", "run_at", "gate_at", "stop_at"] {
            next_at = [next_at, row.opt_instant(column)?].into_iter().flatten().min();
        }
        Ok(Activity { runs: row.count("runs")?, on_the_way: row.count("on_the_way")?, due: row.count("due")?, next_at })
    }
}
