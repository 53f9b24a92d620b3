//! The task plan: whether something decides, whether something releases what it decides in time, and whether the tasks keep apart.

use super::{Finding, Scene, Told};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use regua_domain::configuration::{Configuration, Release, Task};
use regua_domain::decide::expires_at;
use regua_domain::schedule::{PlannedTask, Schedule, TaskKind, first_clash};
use regua_domain::sending_times::SendingTimes;

/// How far ahead every update-collections is compared with the send-queued-messages that follows it.
const AHEAD: TimeDelta = TimeDelta::days(14);
/// Fires that are compared at most: a task of every minute shows what it does within hours.
const FIRES_MAX: usize = 2000;

/// Looks at the plan.
pub async fn check(scene: &Scene<'_>) -> anyhow::Result<Vec<Finding>> {
    let (settings, now) = (scene.ledger.settings().await?, scene.ledger.now().await?);
    Ok(graded(scene.configuration, settings.times(), now))
}

/// An enabled task with its schedule.
struct Planned<'a> {
    task: &'a Task,
    schedule: Schedule,
}

impl Planned<'_> {
    fn next_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.schedule.next_after(self.task.zone, at)
    }
}

fn graded(configuration: &Configuration, times: SendingTimes<'_>, now: DateTime<Utc>) -> Vec<Finding> {
    let enabled = configuration.tasks.iter().filter(|task| task.enabled);
    let plan: Vec<_> = enabled.filter_map(|task| Some(Planned { task, schedule: task.schedule().ok()? })).collect();
    vec![apart(&plan, now), deciding(&plan, now), releasing(configuration, &plan, times, now)]
}

/// The rule of the ERP's guide, over 400 days.
fn apart(plan: &[Planned<'_>], now: DateTime<Utc>) -> Finding {
    let tasks: Vec<_> = plan
        .iter()
        .map(|Planned { task, schedule }| PlannedTask { name: &task.name, kind: task.kind, schedule, zone: task.zone })
        .collect();
    match first_clash(&tasks, now) {
        Some(clash) => {
            Finding::bad("task plan", clash.to_string(), "give the tasks other hours and minutes, and apply the file again")
        }
        None => Finding::good("task plan", "every send-queued-messages has its own minute, 30 minutes after update-collections"),
    }
}

fn deciding(plan: &[Planned<'_>], now: DateTime<Utc>) -> Finding {
    let updates = plan.iter().filter(|planned| planned.task.kind == TaskKind::UpdateCollections);
    let next = updates.filter_map(|planned| Some((planned.next_after(now)?, planned.task.zone))).min_by_key(|(at, _)| *at);
    match next {
        Some((at, zone)) => Finding::good("update-collections", Told::ours(format!("next {}", local(at, zone)))),
        None => Finding::bad(
            "update-collections",
            "no such task is enabled: nobody is decided about",
            "enable a [[task]] of kind update-collections",
        ),
    }
}

/// Whether what each update-collections decides is released before it ends unsent.
fn releasing(configuration: &Configuration, plan: &[Planned<'_>], times: SendingTimes<'_>, now: DateTime<Utc>) -> Finding {
    let what = "send-queued-messages";
    let waits = configuration.integrations.iter().any(|one| one.enabled && one.release == Release::OnTask);
    if !waits {
        return Finding::good(what, "nothing waits for it: what is decided goes at once");
    }
    let mend = "let a [[task]] of kind send-queued-messages follow each update-collections before the window of that day closes";
    let sends: Vec<_> = plan.iter().filter(|planned| planned.task.kind == TaskKind::SendQueuedMessages).collect();
    let next_send = |at| sends.iter().filter_map(|planned| planned.next_after(at)).min();
    if next_send(now).is_none() {
        return Finding::bad(what, "no such task is enabled: what is decided waits for ever", mend);
    }
    let window = times.of(None, None);
    let updates = plan.iter().filter(|planned| planned.task.kind == TaskKind::UpdateCollections);
    let fires = updates.flat_map(|update| {
        let next = move |at: &DateTime<Utc>| update.next_after(*at);
        let fires = std::iter::successors(update.next_after(now), next).take_while(|at| *at <= now + AHEAD).take(FIRES_MAX);
        fires.map(|at| (at, update.task.zone))
    });
    for (at, zone) in fires {
        let ends_at = expires_at(&window, window.next_open(at), None, configuration.expiry.open_windows);
        if next_send(at).is_none_or(|send| window.next_open(send) >= ends_at) {
            let result = Told::ours(format!("what is decided on {} ends unsent before the next one", local(at, zone)));
            return Finding::bad(what, result, mend);
        }
    }
    Finding::good(what, "it follows every update-collections in time")
}

fn local(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%d/%m/%Y at %H:%M (%Z)").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Grade;
    use regua_domain::calendar::Calendar;
    use regua_domain::configuration::Defaults;

    const BASE: &str = r#"
        [[integration]]
        name = "Opa"
        url = "https://opa.example.com"
        token_env = "OPA_TOKEN"
        release = "RELEASE"
    "#;

    /// The grades of plan, deciding and releasing, on a Tuesday morning, of tasks by kind, minute, hour and days of the week.
    #[track_caller]
    fn check(release: &str, tasks: &[(&str, u8, u8, &str)], grades: [Grade; 3]) {
        let task = |(kind, minute, hour, days): &(&str, u8, u8, &str)| {
            format!(
                "[[task]]\nname = \"{kind} {hour}:{minute}\"\nkind = \"{kind}\"\nminute = {minute}\nhour = {hour}\nday_of_week = \"{days}\"\n"
            )
        };
        let text = BASE.replace("RELEASE", release) + &tasks.iter().map(task).collect::<String>();
        let now = "2026-11-24T10:00:00Z".parse().expect("an instant");
        let defaults = Defaults { zone: chrono_tz::America::Sao_Paulo, allow_private_urls: false, now };
        let configuration =
            Configuration::parse(&text, "test.toml", &defaults, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        let calendar = Calendar::default();
        let times = SendingTimes { settings: &configuration.window, calendar: &calendar };
        let findings = graded(&configuration, times, now);
        assert_eq!(findings.iter().map(|finding| finding.grade).collect::<Vec<_>>(), grades, "{findings:?}");
    }

    #[test]
    fn a_day_whose_decisions_nothing_releases_in_time_is_a_problem() {
        use Grade::{Ok, Problem};
        let (update, send) = ("update-collections", "send-queued-messages");
        check("on-task", &[(update, 0, 8, "1-5"), (send, 30, 8, "1-5")], [Ok; 3]);
        check("on-task", &[(update, 0, 8, "1-5"), (send, 30, 8, "1-4")], [Ok, Ok, Problem]);
        check("on-task", &[(update, 0, 8, "1-5"), (send, 30, 7, "1-5")], [Ok, Ok, Problem]);
        check("on-task", &[(update, 0, 20, "1-5"), (send, 30, 8, "1-5")], [Ok; 3]);
        check("on-task", &[(send, 30, 8, "1-5")], [Ok, Problem, Ok]);
        check("immediate", &[(update, 0, 8, "1-5")], [Ok; 3]);
    }
}
