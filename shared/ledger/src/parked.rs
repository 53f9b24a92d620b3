//! The parked queue ("fila parada"): messages that are held for a send-queued-messages task which doesn't come.

use crate::Ledger;
use crate::error::LedgerError;
use crate::tasks::Task;
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::schedule::{PlannedTask, Schedule, SendOutlook, TaskKind, send_outlook};

/// A fire that is so young may still be on its way to its run: a scheduler looks every second, and a restarting one is given some.
const FIRED: TimeDelta = TimeDelta::minutes(1);

/// Held messages that no task will release within [`regua_domain::schedule::SEND_WITHIN`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// How many, by the name of the integration that holds them; each at least one.
    pub by_integration: Vec<(String, u64)>,
    /// Why: never [`SendOutlook::Soon`].
    pub outlook: SendOutlook,
}

impl Parked {
    /// All of them.
    pub fn messages(&self) -> u64 {
        self.by_integration.iter().map(|(_, messages)| messages).sum()
    }

    /// One sentence: how many are held, and why nothing releases them.
    pub fn why(&self) -> String {
        let names: Vec<_> = self.by_integration.iter().map(|(name, messages)| format!("{messages} of {name:?}")).collect();
        let why = self.outlook.problem().unwrap_or_default();
        format!("{} messages are held ({}) and nothing releases them (fila parada): {why}", self.messages(), names.join(", "))
    }
}

impl Ledger {
    /// The messages that stand in a parked queue; `None` while a task will release what is held, or nothing is.
    ///
    /// What a run of send-queued-messages released already waits for its window and not for a task, and so does what a run at work is
    /// about to release: neither is parked. The count is made only where no task comes, so that it costs nothing on an ordinary day.
    pub async fn parked(&self) -> Result<Option<Parked>, LedgerError> {
        let outlook = outlook(&self.tasks().await?, self.now().await? - FIRED);
        if outlook == SendOutlook::Soon {
            return Ok(None);
        }
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT i.name, count(*) AS n FROM messages m JOIN channels c ON c.id = m.channel_id
                     JOIN integrations i ON i.id = c.integration_id
                     WHERE m.state = 'held' AND ",
                    live,
                    " AND i.release = 'on-task' AND (i.released_through_at IS NULL OR m.run_planned_at > i.released_through_at)
                        AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.kind = $1 AND r.state IN ('planned', 'running'))
                     GROUP BY i.name ORDER BY i.name"
                ),
                values![TaskKind::SendQueuedMessages.as_str()],
            )
            .await?;
        let by_integration =
            rows.iter().map(|row| Ok((row.text("name")?, row.count("n")?))).collect::<Result<Vec<_>, LedgerError>>()?;
        Ok((!by_integration.is_empty()).then_some(Parked { by_integration, outlook }))
    }
}

fn outlook(tasks: &[Task], now: DateTime<Utc>) -> SendOutlook {
    let schedules: Vec<(&Task, Schedule)> = tasks.iter().filter_map(|task| Some((task, task.schedule()?))).collect();
    let plan: Vec<_> = schedules
        .iter()
        .map(|(task, schedule)| PlannedTask { name: &task.name, kind: task.kind, schedule, zone: task.zone })
        .collect();
    send_outlook(&plan, now)
}
