//! The task plan: what the vendor's guide demands of schedules that work together.
//!
//! "Envia mensagens Omnichannel da Fila" runs at least 30 minutes after "Atualizar cobranças", and at a time at which
//! no other task is set (the seed's last section).

use super::{Schedule, wall_clock};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use std::fmt;

/// How long update-collections must have run when send-queued-messages fires.
pub const SEND_AFTER_UPDATE: TimeDelta = TimeDelta::minutes(30);
/// How far ahead a plan is checked: every day of a year, and more.
pub const PLAN_HORIZON: TimeDelta = TimeDelta::days(400);

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskKind {
    /// Atualizar cobranças: sync and decide.
    UpdateCollections,
    /// Envia mensagens Omnichannel da fila: release what is held.
    SendQueuedMessages,
    /// A task that runs in the ERP: it only keeps its minutes free.
    Reserved,
}

impl TaskKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::UpdateCollections, Self::SendQueuedMessages, Self::Reserved];

    /// The name in configuration, SQL and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpdateCollections => "update-collections",
            Self::SendQueuedMessages => "send-queued-messages",
            Self::Reserved => "reserved",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An enabled task as the plan sees it.
#[derive(Clone, Copy, Debug)]
pub struct PlannedTask<'a> {
    /// The name or place by which a person knows it.
    pub name: &'a str,
    /// What it does.
    pub kind: TaskKind,
    /// When it does it.
    pub schedule: &'a Schedule,
    /// On whose wall clock.
    pub zone: Tz,
}

/// Which rule two tasks break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClashRule {
    /// update-collections fires in the 30 minutes before, or at the same instant.
    TooSoonAfterUpdate,
    /// Another task fires in the same minute.
    SameMinute,
}

/// The first time that a plan breaks a rule. `Display` names both tasks, the time and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Which rule.
    pub rule: ClashRule,
    /// The send-queued-messages task.
    pub task: String,
    /// When that task fires.
    pub at: DateTime<Utc>,
    /// The other task.
    pub other: String,
    /// When the other fires.
    pub other_at: DateTime<Utc>,
    /// The zone of `task`, in which people are told both.
    pub zone: Tz,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, other, zone, .. } = self;
        let time = |local: NaiveDateTime| local.format("%H:%M").to_string();
        let at = wall_clock::local(*zone, self.at);
        let other_at = wall_clock::local(*zone, self.other_at);
        write!(f, "task `{task}` fires on {} at {} ({zone})", at.format("%d/%m/%Y"), time(at))?;
        match self.rule {
            ClashRule::TooSoonAfterUpdate => {
                write!(f, " and `{other}` at {}; leave at least {} minutes", time(other_at), SEND_AFTER_UPDATE.num_minutes())
            }
            ClashRule::SameMinute => write!(f, " and so does `{other}`; choose a minute that no other task uses"),
        }
    }
}

impl std::error::Error for Clash {}

/// The first clash of an enabled plan within [`PLAN_HORIZON`] after `from`; `None` when it keeps the rules.
///
/// For every fire s of send-queued-messages no fire of update-collections is in (s − 30 min, s], and s is no other
/// task's minute.
pub fn first_clash(tasks: &[PlannedTask<'_>], from: DateTime<Utc>) -> Option<Clash> {
    let sending = tasks.iter().enumerate().filter(|(_, task)| task.kind == TaskKind::SendQueuedMessages);
    sending
        .flat_map(|(place, send)| {
            let others = tasks.iter().enumerate().filter(move |(other_place, _)| *other_place != place);
            others.filter_map(move |(_, other)| first_clash_of_two(send, other, from))
        })
        .min_by_key(|clash| clash.at)
}

/// Leaps from one task's fires to the other's, so that the rarer of the two sets the number of steps.
fn first_clash_of_two(send: &PlannedTask<'_>, other: &PlannedTask<'_>, from: DateTime<Utc>) -> Option<Clash> {
    let (rule, distance) = match other.kind {
        TaskKind::UpdateCollections => (ClashRule::TooSoonAfterUpdate, SEND_AFTER_UPDATE),
        TaskKind::SendQueuedMessages | TaskKind::Reserved => (ClashRule::SameMinute, TimeDelta::minutes(1)),
    };
    let until = from.checked_add_signed(PLAN_HORIZON).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let mut at = send.schedule.next_after(send.zone, from)?;
    while at <= until {
        let other_at = other.schedule.next_after(other.zone, at - distance)?;
        if other_at <= at {
            let (task, other) = (send.name.to_owned(), other.name.to_owned());
            return Some(Clash { rule, task, at, other, other_at, zone: send.zone });
        }
        at = send.schedule.next_after(send.zone, other_at - TimeDelta::seconds(1))?;
    }
    None
}
