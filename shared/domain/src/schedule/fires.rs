//! Fires that are due: which of them becomes a run, and which were missed.

use super::{PlannedTask, Schedule, TaskKind};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// How long a fire is on time: its own minute, as in cron.
pub const ON_TIME: TimeDelta = TimeDelta::minutes(1);
/// How long after its fire a run may still be begun, where the task doesn't say.
pub const CATCH_UP: TimeDelta = TimeDelta::hours(12);
/// [`CATCH_UP`] in seconds, as a configuration has it.
pub const CATCH_UP_S: u32 = 12 * 3600;
/// Fires of one task that one look goes through: the minutes of more than half a day. The next look goes on behind them.
pub const FIRES_MAX: usize = 1000;
/// Held messages that no send-queued-messages releases within this time are parked (fila parada).
pub const SEND_WITHIN: TimeDelta = TimeDelta::hours(24);

/// What becomes of a fire that nobody acted on within its minute, because no scheduler ran or the ledger was away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// The newest one runs late, if it is not older than the task's catch-up time; those before it don't.
    #[default]
    Latest,
    /// None runs.
    Skip,
}

impl Missed {
    /// Every value by its name in the file.
    pub const ALL: [(&'static str, Self); 2] = [("latest", Self::Latest), ("skip", Self::Skip)];

    /// The name in the file and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Skip => "skip",
        }
    }

    /// The value of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, value)| (known == name).then_some(value))
    }
}

/// A task whose fires are looked at.
#[derive(Clone, Copy, Debug)]
pub struct WatchedTask<'a> {
    /// When it fires.
    pub schedule: &'a Schedule,
    /// On whose wall clock.
    pub zone: Tz,
    /// What becomes of missed fires.
    pub missed: Missed,
    /// How old a fire may be that runs late.
    pub catch_up: TimeDelta,
    /// Every fire up to here was settled, or belongs to the time before the task's last change, which is never caught up (F20).
    pub settled_through: DateTime<Utc>,
    /// The newest run of the task, one that a person asked for included.
    pub last_run_at: Option<DateTime<Utc>>,
}

/// What one look at a task's fires decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueFires {
    /// The fire that becomes a run.
    pub run_at: Option<DateTime<Utc>>,
    /// Whether it was missed and is caught up.
    pub is_late: bool,
    /// Missed fires that never become a run.
    pub dropped: u32,
    /// The newest fire that this speaks of: the next look begins behind it.
    pub through: DateTime<Utc>,
}

/// What is to be done about the fires since the last look; `None` when there was none.
///
/// A fire within its minute always becomes a run. Of several only the newest does. A late one doesn't where a newer run exists:
/// somebody has run the task by hand meanwhile.
pub fn due_fires(task: &WatchedTask<'_>, now: DateTime<Utc>) -> Option<DueFires> {
    let mut fires = task.schedule.fires_between(task.zone, task.settled_through, now);
    let mut through = fires.next()?;
    let mut seen: u32 = 1;
    for fire in fires.by_ref().take(FIRES_MAX - 1) {
        through = fire;
        seen += 1;
    }
    if fires.next().is_some() {
        // There are newer ones, which the next look finds.
        return Some(DueFires { run_at: None, is_late: false, dropped: seen, through });
    }
    let is_late = now - through >= ON_TIME;
    let may_run_late = match task.missed {
        Missed::Latest => now - through <= task.catch_up && task.last_run_at.is_none_or(|run| run < through),
        Missed::Skip => false,
    };
    let runs = !is_late || may_run_late;
    Some(DueFires {
        run_at: runs.then_some(through),
        is_late: runs && is_late,
        dropped: if runs { seen - 1 } else { seen },
        through,
    })
}

/// How soon what is held will be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutlook {
    /// A send-queued-messages task fires within [`SEND_WITHIN`].
    Soon,
    /// No such task is enabled.
    NoTask,
    /// The next fire is later than that.
    Later {
        /// When; `None` if it isn't before 2101.
        next: Option<DateTime<Utc>>,
    },
}

impl SendOutlook {
    /// Why the queue stands still, for people; `None` when it doesn't.
    pub fn problem(self) -> Option<String> {
        let hours = SEND_WITHIN.num_hours();
        match self {
            Self::Soon => None,
            Self::NoTask => Some("no send-queued-messages task (Envia mensagens Omnichannel da fila) is enabled".to_owned()),
            Self::Later { next: Some(next) } => Some(format!(
                "no send-queued-messages task (Envia mensagens Omnichannel da fila) fires within {hours} h: the next does at {}",
                next.format("%Y-%m-%dT%H:%MZ")
            )),
            Self::Later { next: None } => {
                Some("no send-queued-messages task (Envia mensagens Omnichannel da fila) ever fires again".to_owned())
            }
        }
    }
}

/// Whether, of these enabled tasks, one that sends fires within [`SEND_WITHIN`] after `now`.
pub fn send_outlook(tasks: &[PlannedTask<'_>], now: DateTime<Utc>) -> SendOutlook {
    let mut sending = tasks.iter().filter(|task| task.kind == TaskKind::SendQueuedMessages).peekable();
    if sending.peek().is_none() {
        return SendOutlook::NoTask;
    }
    let next = sending.filter_map(|task| task.schedule.next_after(task.zone, now)).min();
    if next.is_some_and(|next| next - now <= SEND_WITHIN) { SendOutlook::Soon } else { SendOutlook::Later { next } }
}
