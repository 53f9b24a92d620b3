//! What each command of the operator does.

use crate::lock::{LedgerLock, LockAnswer};
use crate::operator::{self, Answer, Request};
use crate::output::{self, Format, NOTHING_CONFIGURED};
use crate::{check, embedded};
use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use regua_domain::configuration::{ChangeKind, Configuration, Defaults, diff, export};
use regua_domain::ids::{MessageId, RunId};
use regua_domain::message::State;
use regua_domain::phone;
use regua_domain::schedule::Schedule;
use regua_ledger::Ledger;
use regua_ledger::queries::MessageView;
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use regua_telemetry::health::Health;
use regua_telemetry::metrics::Metrics;
use regua_telemetry::service::Process;
use regua_telemetry::shutdown::Shutdown;
use serde_json::json;
use std::io::BufRead as _;
use std::path::Path;
use std::time::Duration;

pub use regua_domain::stop::StopScope;
pub use regua_ledger::doubt::Resolution;

/// Rows that one page of a list reads.
const PAGE: u32 = 1000;
/// How often a run is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How a command went.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done: 0.
    Done,
    /// It did not hold: 1.
    DidNotHold,
    /// Usage or configuration: 2.
    Misused(String),
}

/// A command's view of the ledger.
pub struct Session {
    config: ServiceConfig,
    environment: Environment,
    ledger: Ledger,
    /// `None` while `regua up` holds the SQLite file: then writing commands are left for it.
    writes_here: bool,
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
            ledger.migrate().await?;
        }
        Ok(Ok(Self { config, environment, ledger, writes_here, _lock: lock }))
    }

    /// Ends the connections.
    pub async fn close(&self) {
        self.ledger.close().await;
    }

    /// Carries a request out here, or leaves it for the process that holds the ledger.
    async fn submit(&self, request: Request) -> anyhow::Result<Answer> {
        if self.writes_here {
            Ok(operator::execute(&self.ledger, request).await)
        } else {
            operator::ask(&self.ledger, &request).await
        }
    }

    async fn submit_and_tell(&self, request: Request, format: Format) -> anyhow::Result<Outcome> {
        let answer = self.submit(request).await?;
        tell(&answer, format);
        Ok(if answer.done { Outcome::Done } else { Outcome::DidNotHold })
    }

    fn read_configuration(&self, file: &Path) -> anyhow::Result<Result<Configuration, Outcome>> {
        let name = file.display().to_string();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => return Ok(Err(Outcome::Misused(format!("{name} can't be read: {error}")))),
        };
        let defaults =
            Defaults { zone: self.config.timezone, allow_private_urls: self.config.allow_private_urls, now: Utc::now() };
        Ok(match Configuration::parse_with_notes(&text, &name, &defaults, &|name| self.environment.get(name)) {
            Ok((configuration, notes)) => {
                notes.iter().for_each(|note| eprintln!("{name}:{}: {}: {}", note.line, note.field, note.text));
                Ok(configuration)
            }
            Err(errors) => Err(Outcome::Misused(errors.to_string())),
        })
    }

    pub fn config_check(&self, file: &Path) -> anyhow::Result<Outcome> {
        match self.read_configuration(file)? {
            Ok(_) => {
                println!("{} is in order", file.display());
                Ok(Outcome::Done)
            }
            Err(outcome) => Ok(outcome),
        }
    }

    pub async fn config_apply(&self, file: &Path, dry_run: bool) -> anyhow::Result<Outcome> {
        let configuration = match self.read_configuration(file)? {
            Ok(configuration) => configuration,
            Err(outcome) => return Ok(outcome),
        };
        self.tell_changes(&configuration).await?;
        if dry_run {
            return Ok(Outcome::Done);
        }
        self.submit_and_tell(Request::ApplyConfiguration { configuration: Box::new(configuration) }, Format::Human).await
    }

    async fn tell_changes(&self, new: &Configuration) -> anyhow::Result<()> {
        let Some(old) = self.ledger.configuration().await? else {
            println!("everything is new: nothing was configured yet");
            return Ok(());
        };
        for change in diff(&old, new) {
            let kind = match change.kind {
                ChangeKind::Added => "added",
                ChangeKind::Changed => "changed",
                ChangeKind::Removed => "removed",
            };
            println!("{kind} {} {:?}", change.section, change.name);
            for field in &change.fields {
                println!("  {}: {} -> {}", field.field, field.old.as_deref().unwrap_or("-"), field.new.as_deref().unwrap_or("-"));
            }
        }
        Ok(())
    }

    pub async fn config_export(&self) -> anyhow::Result<Outcome> {
        match self.ledger.configuration().await? {
            Some(configuration) => {
                print!("{}", export(&configuration));
                Ok(Outcome::Done)
            }
            None => {
                eprintln!("{NOTHING_CONFIGURED}");
                Ok(Outcome::DidNotHold)
            }
        }
    }

    pub async fn import(
        &self,
        invoices: bool,
        file: &Path,
        all_or_nothing: bool,
        full: bool,
        format: Format,
    ) -> anyhow::Result<Outcome> {
        let path = std::path::absolute(file)?;
        self.submit_and_tell(Request::Import { invoices, path, all_or_nothing, full }, format).await
    }

    pub async fn run(&self, task: &str, on: Option<NaiveDate>, wait: bool, format: Format) -> anyhow::Result<Outcome> {
        let answer = self.submit(Request::Run { kind: task.to_owned(), on }).await?;
        let Some(run) = answer.data["run"].as_str().and_then(|id| id.parse::<RunId>().ok()) else {
            tell(&answer, format);
            return Ok(Outcome::DidNotHold);
        };
        if !wait {
            tell(&answer, format);
            return Ok(Outcome::Done);
        }
        // Nobody else can work on it while this command holds the SQLite file.
        if self.writes_here && self.ledger.is_embedded() {
            self.work_here(run).await?;
        }
        self.wait_for(run, format).await
    }

    /// Works on a run in this process, as `regua up` would.
    async fn work_here(&self, run: RunId) -> anyhow::Result<()> {
        let process = Process {
            config: self.config.clone(),
            environment: self.environment.clone(),
            shutdown: Shutdown::on_signals(self.config.shutdown_grace)?,
            health: Health::new(),
            metrics: Metrics::new(),
        };
        embedded::work_on(&self.ledger, &process, run).await
    }

    async fn wait_for(&self, id: RunId, format: Format) -> anyhow::Result<Outcome> {
        let mut told = None;
        loop {
            let run = self.ledger.run(id).await?.context("the run is gone")?;
            if matches!(run.state.as_str(), "done" | "failed") {
                match format {
                    Format::Json => println!("{}", run_json(&run)),
                    Format::Human => println!(
                        "{} {}: {} messages written ({} held, {} skipped), {} revived, {} superseded, {} left for the next run{}",
                        run.kind,
                        run.state,
                        run.evaluated,
                        run.held,
                        run.skipped,
                        run.revived,
                        run.superseded,
                        run.blocked,
                        run.note.as_deref().map(|note| format!("\n{note}")).unwrap_or_default()
                    ),
                }
                return Ok(if run.state == "done" { Outcome::Done } else { Outcome::DidNotHold });
            }
            if run.note.is_some() && run.note != told {
                eprintln!("waiting: {}", run.note.as_deref().unwrap_or_default());
                told = run.note;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub async fn runs(&self, format: Format) -> anyhow::Result<Outcome> {
        let runs = self.ledger.runs(50).await?;
        let lines: Vec<_> = runs.iter().map(run_json).collect();
        output::list(format, &lines, &["run", "task", "planned at", "state", "evaluated", "held", "skipped", "note"], |run| {
            ["run", "task", "planned_at", "state", "evaluated", "held", "skipped", "note"].map(|field| cell(&run[field])).to_vec()
        })?;
        Ok(Outcome::Done)
    }

    pub async fn messages(&self, state: Option<&str>, run: Option<uuid::Uuid>, format: Format) -> anyhow::Result<Outcome> {
        let state = match state.map(|name| State::parse(name).ok_or(name)).transpose() {
            Ok(state) => state,
            Err(name) => {
                let known: Vec<_> = State::ALL.iter().map(|state| state.as_str()).collect();
                return Ok(Outcome::Misused(format!("--state {name} is no state; expected one of {}", known.join(", "))));
            }
        };
        let mut after = None;
        loop {
            let page = self.ledger.messages(state, run.map(RunId), after, PAGE).await?;
            let headings: &[&str] = &["message", "invoice", "stage", "due on", "state", "reason", "attempts"];
            output::list(format, &page, if after.is_none() { headings } else { &["", "", "", "", "", "", ""] }, message_cells)?;
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.id),
                _ => return Ok(Outcome::Done),
            }
        }
    }

    pub async fn message(&self, id: uuid::Uuid, format: Format) -> anyhow::Result<Outcome> {
        let Some((message, attempts)) = self.ledger.message(MessageId(id)).await? else {
            eprintln!("there is no message {id}");
            return Ok(Outcome::DidNotHold);
        };
        if format == Format::Json {
            println!("{}", json!({ "message": message, "attempts": attempts }));
            return Ok(Outcome::Done);
        }
        output::list(
            format,
            std::slice::from_ref(&message),
            &["message", "invoice", "stage", "due on", "state", "reason", "attempts"],
            message_cells,
        )?;
        output::list(
            format,
            &attempts,
            &["attempt", "number", "dispatcher", "slot at", "outcome", "reason", "status", "ms"],
            |attempt| {
                vec![
                    attempt.id.to_string(),
                    attempt.number.to_string(),
                    attempt.dispatcher.clone(),
                    attempt.slot_at.to_rfc3339(),
                    attempt.outcome.clone().unwrap_or_else(|| "open".into()),
                    attempt.reason.clone().unwrap_or_default(),
                    attempt.http_status.map(|status| status.to_string()).unwrap_or_default(),
                    attempt.latency_ms.map(|ms| ms.to_string()).unwrap_or_default(),
                ]
            },
        )?;
        Ok(Outcome::Done)
    }

    pub async fn status(&self, format: Format) -> anyhow::Result<Outcome> {
        let (counts, stops, now) = (self.ledger.counts().await?, self.ledger.stops().await?, self.ledger.now().await?);
        let sources = self.ledger.sources().await?;
        let runs = self.ledger.runs(2).await?;
        let states: serde_json::Map<_, _> =
            counts.by_state.iter().map(|(state, n)| (state.as_str().to_owned(), json!(n))).collect();
        let stopped: Vec<_> = stops
            .iter()
            .map(|stop| json!({ "scope": stop.scope, "target": stop.target, "raised_by": stop.raised_by, "why": stop.why, "since": stop.since_at }))
            .collect();
        let sources: Vec<_> = sources
            .iter()
            .map(|source| json!({ "source": source.name, "synced_at": source.complete_at, "fresh": source.is_fresh(now) }))
            .collect();
        let runs: Vec<_> = runs.iter().map(run_json).collect();
        if format == Format::Json {
            println!(
                "{}",
                json!({ "now": now, "messages": states, "skipped": counts.skipped, "stops": stopped, "sources": sources, "runs": runs })
            );
            return Ok(Outcome::Done);
        }
        if self.ledger.configuration().await?.is_none() {
            println!("{NOTHING_CONFIGURED}");
        }
        println!("ledger time  {}", now.to_rfc3339());
        states.iter().for_each(|(state, n)| println!("{state:<12} {n}"));
        counts.skipped.iter().for_each(|(reason, n)| println!("  {reason:<18} {n}"));
        for stop in &stopped {
            println!(
                "STOPPED      {} {} by {}: {}",
                cell(&stop["scope"]),
                cell(&stop["target"]),
                cell(&stop["raised_by"]),
                cell(&stop["why"])
            );
        }
        for source in &sources {
            let fresh = if source["fresh"] == true { "fresh" } else { "STALE: nothing is decided or sent from it" };
            println!("source       {} synced {} ({fresh})", cell(&source["source"]), cell(&source["synced_at"]));
        }
        runs.iter()
            .for_each(|run| println!("run          {} {} {}", cell(&run["task"]), cell(&run["planned_at"]), cell(&run["state"])));
        Ok(Outcome::Done)
    }

    pub async fn check(&self, format: Format) -> anyhow::Result<Outcome> {
        let findings = check::check(&self.ledger, &self.config, &self.environment).await?;
        output::list(format, &findings, &["what", "result", "mend"], |finding| {
            vec![finding.what.clone(), finding.result.clone(), finding.mend.clone().unwrap_or_default()]
        })?;
        Ok(if findings.iter().all(|finding| finding.ok) { Outcome::Done } else { Outcome::DidNotHold })
    }

    pub async fn resolve_doubt(&self, id: uuid::Uuid, how: Resolution, why: String) -> anyhow::Result<Outcome> {
        let request = Request::ResolveDoubt { message: MessageId(id), how, why, by: who() };
        self.submit_and_tell(request, Format::Human).await
    }

    pub async fn pause(&self, scope: StopScope, name: String, why: String) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::Pause { scope, name, why, by: who() }, Format::Human).await
    }

    pub async fn resume(&self, scope: StopScope, name: String, why: Option<String>) -> anyhow::Result<Outcome> {
        let by = why.map_or_else(who, |why| format!("{}: {why}", who()));
        self.submit_and_tell(Request::Resume { scope, name, by }, Format::Human).await
    }

    pub async fn restored(&self, lost_since: DateTime<Utc>) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::Restored { lost_since, by: who() }, Format::Human).await
    }

    pub async fn opt_out_add(&self, phones: Vec<String>, why: String) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::OptOutAdd { phones, why, by: who() }, Format::Human).await
    }

    pub async fn opt_out_import(&self, file: &Path, why: String) -> anyhow::Result<Outcome> {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
        let phones = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        self.opt_out_add(phones, why).await
    }

    pub async fn opt_out_remove(&self, phone: String) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::OptOutRemove { phone }, Format::Human).await
    }

    pub async fn opt_out_list(&self, format: Format) -> anyhow::Result<Outcome> {
        let mut after = String::new();
        loop {
            let page = self.ledger.opt_outs(&after, PAGE).await?;
            let lines: Vec<_> = page
                .iter()
                .map(|out| json!({ "phone": out.phone_key, "since": out.since_at, "added_by": out.added_by, "why": out.why }))
                .collect();
            output::list(format, &lines, &["phone", "since", "added by", "why"], |out| {
                ["phone", "since", "added_by", "why"].map(|field| cell(&out[field])).to_vec()
            })?;
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = last.phone_key.clone(),
                _ => return Ok(Outcome::Done),
            }
        }
    }
}

fn tell(answer: &Answer, format: Format) {
    match format {
        Format::Json => println!("{}", answer.data),
        Format::Human if answer.done => println!("{}", answer.text),
        Format::Human => eprintln!("{}", answer.text),
    }
}

fn run_json(run: &regua_ledger::runs::Run) -> serde_json::Value {
    json!({
        "run": run.id, "task": run.task_name, "kind": run.kind.as_str(), "planned_at": run.planned_at, "state": run.state, "tries": run.tries,
        "evaluates_on": run.evaluates_on, "evaluated": run.evaluated, "held": run.held, "skipped": run.skipped, "revived": run.revived,
        "superseded": run.superseded, "blocked": run.blocked, "note": run.note, "finished_at": run.finished_at,
    })
}

fn message_cells(message: &MessageView) -> Vec<String> {
    vec![
        message.id.to_string(),
        message.subject.clone(),
        message.stage.to_string(),
        message.due_on.map(|day| day.to_string()).unwrap_or_default(),
        message.state.to_string(),
        message.reason.clone().unwrap_or_default(),
        message.attempts.to_string(),
    ]
}

fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Who gives the command, for the record.
fn who() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "operator".into())
}

/// `regua phone`: input, `+55…` or `-`, reason; tabs between.
pub fn phone(numbers: Vec<String>) -> anyhow::Result<Outcome> {
    let mut all_valid = true;
    let mut say = |input: &str| {
        let (number, reason) = match phone::parse(input) {
            Ok(phone) => (phone.e164().to_owned(), "ok".to_owned()),
            Err(refusal) => {
                all_valid = false;
                let meant = refusal.suggestion().map(|phone| format!(" ({}?)", phone.e164())).unwrap_or_default();
                ("-".to_owned(), format!("{}{meant}", refusal.as_str()))
            }
        };
        println!("{input}\t{number}\t{reason}");
    };
    if numbers.is_empty() {
        for line in std::io::stdin().lock().lines() {
            say(&line?);
        }
    } else {
        numbers.iter().for_each(|number| say(number));
    }
    Ok(if all_valid { Outcome::Done } else { Outcome::DidNotHold })
}

/// `regua schedule next`: one RFC 3339 instant with offset per line.
pub fn schedule_next(schedule: &str, zone: Tz, from: Option<DateTime<Utc>>, count: usize) -> anyhow::Result<Outcome> {
    let schedule: Schedule = match schedule.parse() {
        Ok(schedule) => schedule,
        Err(error) => return Ok(Outcome::Misused(regua_telemetry::logging::Chain(&error).to_string())),
    };
    let mut at = from.unwrap_or_else(Utc::now);
    for _ in 0..count {
        let Some(next) = schedule.next_after(zone, at) else { break };
        println!("{}", next.with_timezone(&zone).to_rfc3339());
        at = next;
    }
    Ok(Outcome::Done)
}
