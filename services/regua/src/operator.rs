//! What an operator changes: one request, carried out here or, while `regua up` holds the SQLite file, by that process.

pub mod counts;
pub mod failures;
pub mod holds;
mod notices;
pub mod secrets;

use crate::opt_outs;
use crate::output::NOTHING_CONFIGURED;
use billing_evaluator::import::{Import, ImportKind, Remark, import};
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::configuration::Configuration;
use regua_domain::ids::{InvoiceId, MessageId, RunId};
use regua_domain::schedule::TaskKind;
use regua_domain::stop::{BY_LEDGER, StopScope};
use regua_ledger::approval::ApprovalAnswer;
use regua_ledger::audit::By;
use regua_ledger::doubt::Resolution;
use regua_ledger::stops::NewStop;
use regua_ledger::{Ledger, LedgerError};
use regua_pipeline::Tokens;
use regua_telemetry::config::ServiceConfig;
use regua_telemetry::environment::Environment;
use regua_telemetry::logging::Chain;
use regua_telemetry::service::{Failure, Process};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// How often the process that holds the file looks for commands; an operator waits for at most this, and the work.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the command line waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_mins(10);
/// Lines of a bad file that are told one by one.
pub(crate) const REMARKS_MAX: usize = 100;

/// Something that an operator asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// `config apply`.
    ApplyConfiguration {
        /// What the file said, checked.
        configuration: Box<Configuration>,
        /// Only say what would come of it.
        #[serde(default)]
        dry_run: bool,
        /// Why.
        #[serde(default)]
        why: Option<String>,
        /// Who.
        #[serde(default = "somebody")]
        by: String,
    },
    /// `import`.
    Import {
        /// Whether the file holds invoices; else customers.
        invoices: bool,
        /// The file, absolute.
        path: PathBuf,
        /// Keep nothing unless every line is good.
        all_or_nothing: bool,
        /// The file has every open title.
        full: bool,
        /// Why.
        #[serde(default)]
        why: Option<String>,
        /// Who.
        #[serde(default = "somebody")]
        by: String,
    },
    /// `run`.
    Run {
        /// The task's kind.
        kind: String,
        /// The date to evaluate.
        on: Option<NaiveDate>,
        /// Why.
        #[serde(default)]
        why: Option<String>,
        /// Who.
        #[serde(default = "somebody")]
        by: String,
    },
    /// `runs approve`.
    ApproveRun {
        /// The run.
        run: RunId,
        /// Why.
        why: String,
        /// Who.
        by: String,
    },
    /// `pause`.
    Pause {
        /// What.
        scope: StopScope,
        /// Which, by name.
        name: String,
        /// When it ends by itself.
        #[serde(default)]
        until: Option<DateTime<Utc>>,
        /// Why.
        why: String,
        /// Who.
        by: String,
    },
    /// `resume`.
    Resume {
        /// What.
        scope: StopScope,
        /// Which, by name.
        name: String,
        /// Why.
        #[serde(default)]
        why: Option<String>,
        /// Who.
        by: String,
    },
    /// `in-doubt resolve`.
    ResolveDoubt {
        /// The message.
        message: MessageId,
        /// How.
        how: Resolution,
        /// Why.
        why: String,
        /// Who.
        by: String,
    },
    /// `restored`.
    Restored {
        /// Since when nothing is known; `None`: nothing was lost.
        lost_since: Option<DateTime<Utc>>,
        /// Who.
        by: String,
    },
    /// `notice accept`.
    AcceptTemplate {
        /// The notice's name.
        notice: String,
        /// Why.
        why: String,
        /// Who.
        by: String,
    },
    /// `notice test`.
    TestSend {
        /// The notice's name.
        notice: String,
        /// The phone as it was typed.
        phone: String,
        /// The invoice whose values are sent.
        invoice: Option<InvoiceId>,
        /// Who.
        by: String,
    },
    /// `opt-out add`.
    OptOutAdd {
        /// The phones as they were typed.
        phones: Vec<String>,
        /// Why.
        why: String,
        /// `all`, or a business's name.
        scope: String,
        /// Who.
        by: String,
    },
    /// `opt-out import`.
    OptOutImport {
        /// The file, absolute.
        path: PathBuf,
        /// Why, where the line doesn't say.
        why: String,
        /// `all`, or a business's name.
        scope: String,
        /// Keep nothing unless every line is good.
        all_or_nothing: bool,
        /// Who.
        by: String,
    },
    /// `opt-out remove`.
    OptOutRemove {
        /// The phone as it was typed.
        phone: String,
        /// `all`, or a business's name; every one if there is none.
        scope: Option<String>,
        /// Why.
        #[serde(default)]
        why: Option<String>,
        /// Who.
        #[serde(default = "somebody")]
        by: String,
    },
    /// `failures replay|discard`.
    Failures(failures::FailuresRequest),
    /// `hold customer|invoice`.
    Hold(holds::HoldRequest),
    /// `hold remove`.
    LiftHold(holds::LiftRequest),
    /// `secrets set`.
    SetSecret(secrets::SetRequest),
    /// `secrets remove`.
    RemoveSecret(secrets::RemoveRequest),
    /// `secrets rotate`.
    RotateSecrets(secrets::RotateRequest),
    /// `recount`.
    Recount(counts::RecountRequest),
}

/// Who gave a command that was left by a command line which didn't say.
fn somebody() -> String {
    "operator".into()
}

/// What became of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub done: bool,
    /// For a person.
    pub text: String,
    /// For a program.
    pub data: Value,
}

impl Answer {
    pub(crate) fn done(text: impl Into<String>, data: Value) -> Self {
        Self { done: true, text: text.into(), data }
    }

    pub(crate) fn refused(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { done: false, data: json!({ "error": text }), text }
    }
}

/// What a request is carried out with: the ledger, and where the providers' tokens are.
#[derive(Clone, Copy)]
pub struct Office<'a> {
    /// The ledger.
    pub ledger: &'a Ledger,
    /// This process's settings.
    pub config: &'a ServiceConfig,
    /// Its environment.
    pub environment: &'a Environment,
}

impl Office<'_> {
    /// Where tokens are.
    async fn tokens(&self) -> Result<Tokens, LedgerError> {
        Tokens::load(self.ledger, self.config, self.environment).await
    }
}

/// Carries a request out.
pub async fn execute(office: &Office<'_>, request: Request) -> Answer {
    match try_execute(office, request).await {
        Ok(answer) => answer,
        Err(error) => Answer::refused(Chain(&error).to_string()),
    }
}

async fn try_execute(office: &Office<'_>, request: Request) -> Result<Answer, LedgerError> {
    let ledger = office.ledger;
    match request {
        Request::ApplyConfiguration { configuration, dry_run, why, by } => {
            notices::apply(office, *configuration, dry_run, By { who: by, why }).await
        }
        Request::AcceptTemplate { notice, why, by } => notices::accept(ledger, notice, why, by).await,
        Request::TestSend { notice, phone, invoice, by } => notices::test(office, &notice, &phone, invoice.as_ref(), by).await,
        Request::Import { invoices, path, all_or_nothing, full, why, by } => {
            let kind = if invoices { ImportKind::Invoices } else { ImportKind::Customers };
            Ok(run_import(ledger, &Import { kind, path, all_or_nothing, full, by: By { who: by, why } }).await)
        }
        Request::Run { kind, on, why, by } => plan_run(ledger, &kind, on, By { who: by, why }).await,
        Request::ApproveRun { run, why, by } => Ok(match ledger.approve_run(run, by, why).await? {
            ApprovalAnswer::Approved { messages } => {
                let text = format!("run {run} is approved: {messages} messages may go when they are released");
                Answer::done(text, json!({ "run": run, "approved": true, "messages": messages }))
            }
            ApprovalAnswer::NotWaiting => Answer::refused(format!("run {run} waits for no approval")),
            ApprovalAnswer::Unknown => Answer::refused(format!("there is no run {run}: see `regua runs`")),
        }),
        Request::Pause { scope, name, until, why, by } => pause(ledger, scope, &name, until, (why, by)).await,
        Request::Resume { scope, name, why, by } => resume(ledger, scope, &name, By { who: by, why }).await,
        Request::ResolveDoubt { message, how, why, by } => {
            ledger.resolve_doubt(message, how, by, why).await?;
            Ok(Answer::done(format!("message {message}: {}", how.as_str()), json!({ "message": message, "how": how })))
        }
        Request::Restored { lost_since: None, by } => {
            ledger.moved_whole(by).await?;
            Ok(Answer::done("nothing was lost; sending goes on", json!({ "in_doubt": 0 })))
        }
        Request::Restored { lost_since: Some(lost_since), by } => {
            let doubtful = ledger.restored(lost_since, by).await?;
            let text = format!(
                "{doubtful} messages are in doubt now; sending goes on. Opt-outs, holds and pauses of the lost time are lost too: enter them again"
            );
            Ok(Answer::done(text, json!({ "in_doubt": doubtful })))
        }
        Request::OptOutAdd { phones, why, scope, by } => opt_outs::add(ledger, &phones, &why, &scope, by).await,
        Request::OptOutImport { path, why, scope, all_or_nothing, by } => {
            opt_outs::import(ledger, &path, &why, &scope, all_or_nothing, by).await
        }
        Request::OptOutRemove { phone, scope, why, by } => {
            opt_outs::remove(ledger, &phone, scope.as_deref(), By { who: by, why }).await
        }
        Request::Failures(request) => failures::execute(ledger, request).await,
        Request::Hold(request) => holds::hold(ledger, request).await,
        Request::LiftHold(request) => holds::lift(ledger, request).await,
        Request::SetSecret(request) => secrets::set(ledger, request).await,
        Request::RemoveSecret(request) => secrets::remove(ledger, request).await,
        Request::RotateSecrets(request) => secrets::rotate(ledger, request).await,
        Request::Recount(request) => counts::recount(ledger, request).await,
    }
}

async fn run_import(ledger: &Ledger, request: &Import) -> Answer {
    let mut remarks = Vec::new();
    let mut tell = |remark: &Remark| {
        if remarks.len() < REMARKS_MAX {
            remarks.push(match remark {
                Remark::Problem(problem) => problem.to_string(),
                Remark::Note(note) => note.to_string(),
            });
        }
    };
    let result = import(ledger, request, &mut tell).await;
    let mut text = remarks.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    match result {
        Ok(imported) => {
            let kept = if imported.kept { "kept" } else { "not kept: --all-or-nothing" };
            let text = format!("{text}{} good lines ({kept}), {} bad lines", imported.good, imported.bad);
            let data = json!({
                "good": imported.good, "bad": imported.bad, "withdrawn": imported.withdrawn, "kept": imported.kept, "remarks": remarks,
            });
            Answer { done: imported.bad == 0, text, data }
        }
        Err(error) => Answer::refused(format!("{text}{}", Chain(&error))),
    }
}

/// Plans a run for now, under the task's own name: the scheduler ticks it.
async fn plan_run(ledger: &Ledger, kind: &str, on: Option<NaiveDate>, by: By) -> Result<Answer, LedgerError> {
    let Some(kind) = TaskKind::parse(kind).filter(|kind| *kind != TaskKind::Reserved) else {
        return Ok(Answer::refused(format!("{kind} is no task: update-collections or send-queued-messages")));
    };
    if ledger.configuration().await?.is_none() {
        return Ok(Answer::refused(NOTHING_CONFIGURED));
    }
    let tasks = ledger.tasks().await?;
    let name = tasks.into_iter().find(|task| task.kind == kind).map_or_else(|| kind.as_str().to_owned(), |task| task.name);
    let now = ledger.now().await?;
    let run = ledger.plan_run_by(name, kind, now, on, by).await?;
    Ok(Answer::done(format!("run {run} is planned"), json!({ "run": run })))
}

async fn pause(
    ledger: &Ledger,
    scope: StopScope,
    name: &str,
    until_at: Option<DateTime<Utc>>,
    (why, raised_by): (String, String),
) -> Result<Answer, LedgerError> {
    let Some(target) = ledger.stop_target(scope, name).await? else { return Ok(unknown(scope, name)) };
    if let Some(until) = until_at
        && until <= ledger.now().await?
    {
        return Ok(Answer::refused(format!("--until {} has passed by the ledger's clock", until.to_rfc3339())));
    }
    let raised = regua_pipeline::raise_stop(ledger, NewStop { scope, target, raised_by, why, until_at }).await?;
    let text = match until_at {
        _ if !raised => "it was paused already, as `regua status` shows: resume it first to change that".to_owned(),
        Some(until) => format!("paused until {}: nothing more is started", until.to_rfc3339()),
        None => "paused: nothing more is started".to_owned(),
    };
    Ok(Answer::done(text, json!({ "paused": true, "new": raised })))
}

async fn resume(ledger: &Ledger, scope: StopScope, name: &str, by: By) -> Result<Answer, LedgerError> {
    let Some(target) = ledger.stop_target(scope, name).await? else { return Ok(unknown(scope, name)) };
    let restored =
        ledger.stops().await?.into_iter().any(|stop| stop.scope == scope && stop.target == target && stop.raised_by == BY_LEDGER);
    if restored {
        return Ok(Answer::refused(
            "the ledger has gone back in time: say so with `regua restored --lost-since T`, or messages may be sent twice",
        ));
    }
    let who = by.who.clone();
    let lifted = ledger.resume(scope, target, by).await?;
    if lifted > 0 {
        regua_pipeline::stop_lifted(scope, name, &who, "a person's decision");
    }
    Ok(Answer::done(format!("{lifted} stops lifted"), json!({ "lifted": lifted })))
}

fn unknown(scope: StopScope, name: &str) -> Answer {
    Answer::refused(format!("there is no {scope} named {name}: see `regua config export`"))
}

/// Leaves a request for the process that holds the file, and waits for its answer.
pub async fn ask(ledger: &Ledger, request: &Request) -> anyhow::Result<Answer> {
    let id = ledger.ask(serde_json::to_string(request)?).await?;
    let waited = async {
        loop {
            if let Some(answer) = ledger.answer_to(id).await? {
                return Ok::<_, anyhow::Error>(serde_json::from_str(&answer)?);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, waited).await.map_err(|_| {
        anyhow::anyhow!(
            "`regua up` did not answer within {} s; the command stays and is carried out later",
            ANSWER_WITHIN.as_secs()
        )
    })?
}

/// Carries out the commands that operators leave, until the shutdown begins.
pub async fn take_commands(ledger: Ledger, process: Process) -> Result<(), Failure> {
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = process.shutdown.begun() => return Ok(()),
            _ = every.tick() => {}
        }
        if !ledger.is_embedded() {
            continue;
        }
        let office = Office { ledger: &ledger, config: &process.config, environment: &process.environment };
        if let Err(error) = take_one(&office).await {
            tracing::warn!(error = %Chain(&error), "operator.command_not_taken");
        }
    }
}

async fn take_one(office: &Office<'_>) -> Result<(), LedgerError> {
    let ledger = office.ledger;
    let Some(command) = ledger.next_command().await? else { return Ok(()) };
    let answer = match serde_json::from_str::<Request>(&command.command) {
        Ok(request) => execute(office, request).await,
        Err(_) => Answer::refused("this process is of another version than the command line: restart it"),
    };
    tracing::info!(command = %command.id, done = answer.done, "operator.command");
    let text = serde_json::to_string(&answer).unwrap_or_else(|_| "{}".to_owned());
    ledger.answer(command.id, text).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_an_older_command_line_left_are_understood() {
        let (by, why) = ("ana".to_owned(), Some("x".to_owned()));
        let requests = [
            Request::Import {
                invoices: true,
                path: "/x".into(),
                all_or_nothing: false,
                full: false,
                why: why.clone(),
                by: by.clone(),
            },
            Request::Run { kind: "update-collections".into(), on: None, why: why.clone(), by: by.clone() },
            Request::OptOutRemove { phone: "1".into(), scope: None, why: why.clone(), by: by.clone() },
            Request::Resume { scope: StopScope::Everything, name: String::new(), why, by },
        ];
        for request in requests {
            let mut older = serde_json::to_value(&request).expect("a request is JSON");
            for (name, fields) in older.as_object_mut().expect("of one name") {
                let fields = fields.as_object_mut().expect("it has fields");
                fields.remove("why").expect("it has a reason");
                if name != "Resume" {
                    fields.remove("by").expect("it says who");
                }
            }
            serde_json::from_value::<Request>(older).unwrap_or_else(|error| panic!("{request:?}: {error}"));
        }
    }
}
