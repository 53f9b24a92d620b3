//! How time goes on: by itself while something happens, then at one go to the next instant at which something can.

use crate::simulate::SimulationError;
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::schedule::Schedule;
use regua_ledger::simulation::Activity;
use regua_ledger::{Ledger, LedgerError};
use std::time::Duration;

/// How often it is looked whether anything still happens: more seldom than hints are topped up.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks in a row that must find nothing: longer than between two rounds of any duty that starts something.
const QUIET_LOOKS: u32 = 5;
/// Looks after which time is moved although something is still on its way: half an hour.
const LOOKS_MAX: u32 = 7200;
/// While messages are due that don't go (not released, windows closed, a source too old) the clock is moved no further at once: whatever opens
/// to them opens at a whole half hour, or is an instant that the ledger knows.
const STEP_US: i64 = 30 * 60 * 1_000_000;

/// Lets time go on until `end`: everything that is planned, due or waits before it happens.
pub async fn go_on(ledger: &Ledger, end: DateTime<Utc>, alive: impl Fn() -> bool) -> anyhow::Result<()> {
    loop {
        let activity = settle(ledger).await?;
        anyhow::ensure!(alive(), SimulationError::ServiceEnded);
        let now = ledger.now().await?;
        let next = next_instant(ledger, activity, now, end).await?;
        if let Ok(ahead) = (next - now).to_std() {
            tokio::time::advance(ahead).await;
        }
        if next >= end {
            return Ok(());
        }
    }
}

/// Waits until nothing is on its way any more.
async fn settle(ledger: &Ledger) -> Result<Activity, LedgerError> {
    let mut last = ledger.activity().await?;
    let mut quiet = 0;
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let activity = ledger.activity().await?;
        let is_quiet = activity.runs == 0 && activity.on_the_way == 0 && activity.due == last.due;
        quiet = if is_quiet { quiet + 1 } else { 0 };
        last = activity;
        if quiet == QUIET_LOOKS {
            break;
        }
    }
    Ok(last)
}

/// The next instant after `now`, and not after `end`, at which something can happen.
async fn next_instant(
    ledger: &Ledger,
    activity: Activity,
    now: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Result<DateTime<Utc>, LedgerError> {
    let mut next = end.min(activity.next_at.filter(|at| *at > now).unwrap_or(end));
    for task in ledger.tasks().await? {
        let [minute, hour, day_of_month, month, day_of_week] = &task.fields;
        let fire =
            Schedule::parse(minute, hour, day_of_month, month, day_of_week).ok().and_then(|it| it.next_after(task.zone, now));
        next = next.min(fire.unwrap_or(end));
    }
    if activity.due > 0 {
        next = next.min(now + TimeDelta::microseconds(STEP_US - now.timestamp_micros().rem_euclid(STEP_US)));
    }
    Ok(next)
}
