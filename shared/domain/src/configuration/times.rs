//! `[[task]]`: when things happen.

use super::model::Task;
use super::names::Names;
use super::nearest::nearest;
use super::parse::Reading;
use super::problem::Fault;
use super::reader::{Located, Reported, Section};
use crate::schedule::{
    CATCH_UP_S, Field as CronField, Missed, PlannedTask, Schedule, ScheduleError, TaskKind, first_clash, send_outlook,
};
use chrono_tz::Tz;
use std::collections::BTreeSet;

/// More tasks than a provider has in its ERP; bounds the check of each with each.
const TASKS_MAX: usize = 50;
/// How long after its fire a run may be begun, at most.
const CATCH_UP_MAX_S: u32 = 7 * 24 * 3600;
/// Zones to show where the one that was meant can't be told.
const ZONES: [&str; 4] = ["America/Sao_Paulo", "America/Manaus", "America/Rio_Branco", "America/Noronha"];

/// A task with the place that clashes are told at.
struct ReadTask {
    task: Task,
    schedule: Schedule,
    place: Located<String>,
}

impl Reading<'_, '_> {
    pub fn tasks(&self, mut sections: Vec<Section<'_, '_>>) -> Vec<Task> {
        if let Some(first_too_many) = sections.get(TASKS_MAX) {
            self.report.refuse(&first_too_many.implied("name", ()), Fault::TooManyTasks { limit: TASKS_MAX });
            sections.truncate(TASKS_MAX);
        }
        let mut names = Names::new("task");
        let read = sections.into_iter().map(|section| self.task(section, &mut names)).collect::<Vec<_>>();
        let tasks: Vec<ReadTask> = read.into_iter().flatten().collect();
        self.task_plan(&tasks);
        tasks.into_iter().map(|read| read.task).collect()
    }

    fn task(&self, mut section: Section<'_, '_>, names: &mut Names) -> Result<ReadTask, Reported> {
        let kinds = TaskKind::ALL.map(|kind| (kind.as_str(), kind));
        let kind = match section.choice("kind", &kinds) {
            Ok(Some(kind)) => Ok(kind.value),
            Ok(None) => Err(section.missing("kind", "kind = \"update-collections\" or kind = \"send-queued-messages\"")),
            Err(reported) => Err(reported),
        };
        let name = match (section.text("name"), kind) {
            (Ok(Some(name)), _) => Ok(name),
            (Ok(None), Ok(kind)) => Ok(section.implied("name", kind.as_str().to_owned())),
            (Ok(None) | Err(_), _) => Err(Reported),
        };
        let defined = name.as_ref().map_or(Err(Reported), |name| names.define(self.report, name, ()));
        let fields = ["minute", "hour", "day_of_month", "month", "day_of_week"].map(|key| schedule_field(&mut section, key));
        let place = fields[0].as_ref().map_or_else(|_| section.implied("minute", String::new()), Clone::clone);
        let schedule = self.schedule(fields);
        let zone = self.zone(&mut section);
        let enabled = section.flag("enabled");
        let missed = section.choice("missed", &Missed::ALL);
        let catch_up = self.duration(&mut section, "catch_up", CATCH_UP_MAX_S);
        section.finish();
        defined?;
        let (name, kind, schedule) = (name?.value, kind?, schedule?);
        let written = schedule.to_string();
        let mut written = written.split(' ').map(str::to_owned);
        let mut field = || written.next().expect("a schedule is written as five fields");
        let task = Task {
            name,
            kind,
            minute: field(),
            hour: field(),
            day_of_month: field(),
            month: field(),
            day_of_week: field(),
            zone: zone?,
            enabled: enabled?.is_none_or(|flag| flag.value),
            missed: missed?.map_or_else(Missed::default, |missed| missed.value),
            catch_up_s: catch_up?.map_or(CATCH_UP_S, |time| time.value),
        };
        Ok(ReadTask { task, schedule, place })
    }

    fn schedule(&self, fields: [Result<Located<String>, Reported>; 5]) -> Result<Schedule, Reported> {
        let [minute, hour, day_of_month, month, day_of_week] = fields;
        let fields = [minute?, hour?, day_of_month?, month?, day_of_week?];
        let [minute, hour, day_of_month, month, day_of_week] = fields.each_ref().map(|field| field.value.as_str());
        Schedule::parse(minute, hour, day_of_month, month, day_of_week).map_err(|error| {
            let [minute, hour, day_of_month, month, day_of_week] = &fields;
            let at = match field_of(&error) {
                Some(CronField::Minute) => minute,
                Some(CronField::Hour) => hour,
                Some(CronField::DayOfMonth) | None => day_of_month,
                Some(CronField::Month) => month,
                Some(CronField::DayOfWeek) => day_of_week,
            };
            self.report.refuse(at, Fault::Schedule(error))
        })
    }

    /// The interface's rule **Task plan**, for each pair of tasks that are on, so that every clash is told.
    fn task_plan(&self, tasks: &[ReadTask]) {
        let on: Vec<&ReadTask> = tasks.iter().filter(|read| read.task.enabled).collect();
        for (index, one) in on.iter().enumerate() {
            for other in &on[index + 1..] {
                let pair = [plan_entry(one), plan_entry(other)];
                if let Some(clash) = first_clash(&pair, self.defaults.now) {
                    let place = if clash.task == one.task.name { &one.place } else { &other.place };
                    self.report.refuse(place, Fault::TaskPlan(clash));
                }
            }
        }
    }

    /// Tells whoever saves a file by which messages would be held that no task releases (fila parada): the vendor's guide calls that task
    /// an obligatory step (the seed's last section). `holding` are the integrations that wait for it, `used` those that enabled stages use.
    pub fn queue_moves(&self, holding: &[Located<String>], used: &BTreeSet<&str>, tasks: &[Task]) {
        let read: Vec<_> =
            tasks.iter().filter(|task| task.enabled).filter_map(|task| Some((task, task.schedule().ok()?))).collect();
        let plan: Vec<_> = read
            .iter()
            .map(|(task, schedule)| PlannedTask { name: &task.name, kind: task.kind, schedule, zone: task.zone })
            .collect();
        let Some(problem) = send_outlook(&plan, self.defaults.now).problem() else { return };
        for integration in holding.iter().filter(|integration| used.contains(integration.value.as_str())) {
            self.report.note(
                integration,
                format!(
                    "messages of {:?} will be held and not sent (fila parada): {problem}; \
                     add a [[task]] with kind = \"send-queued-messages\", or write release = \"immediate\"",
                    integration.value
                ),
            );
        }
    }

    pub(super) fn zone(&self, section: &mut Section<'_, '_>) -> Result<Tz, Reported> {
        let Some(text) = section.text("zone")? else { return Ok(self.defaults.zone) };
        text.value.parse().map_err(|_| {
            let nearest = nearest(&text.value, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
            let allowed = ZONES.map(str::to_owned).to_vec();
            self.report.refuse(&text, Fault::NotInList { nearest, allowed })
        })
    }
}

fn schedule_field(section: &mut Section<'_, '_>, key: &'static str) -> Result<Located<String>, Reported> {
    Ok(section.text_or_number(key)?.unwrap_or_else(|| section.implied(key, "*".to_owned())))
}

fn plan_entry(read: &ReadTask) -> PlannedTask<'_> {
    PlannedTask { name: &read.task.name, kind: read.task.kind, schedule: &read.schedule, zone: read.task.zone }
}

/// The field that an error names; one that names none is about the day, which no year has.
fn field_of(error: &ScheduleError) -> Option<CronField> {
    match error {
        ScheduleError::EmptyEntry { field }
        | ScheduleError::NotAValue { field, .. }
        | ScheduleError::OutOfRange { field, .. }
        | ScheduleError::ReversedRange { field, .. }
        | ScheduleError::StepWithoutRange { field, .. }
        | ScheduleError::StepOutOfRange { field, .. } => Some(*field),
        ScheduleError::FieldCount { .. } | ScheduleError::NeverFires => None,
    }
}
