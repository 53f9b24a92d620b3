//! Commands that change something.

use crate::commands::session::tell;
use crate::commands::{Outcome, Session, lists};
use crate::embedded;
use crate::operator::Request;
use crate::operator::counts::RecountRequest;
use crate::output::{self, Format, remark, say};
use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::ids::{MessageId, RunId};
use regua_domain::schedule::TaskKind;
use regua_domain::stop::StopScope;
use regua_ledger::doubt::Resolution;
use regua_telemetry::health::Health;
use regua_telemetry::metrics::Metrics;
use regua_telemetry::service::Process;
use regua_telemetry::shutdown::Shutdown;
use std::path::Path;
use std::time::Duration;

/// How often a run is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Session {
    pub async fn import(
        &self,
        invoices: bool,
        file: &Path,
        all_or_nothing: bool,
        full: bool,
        why: Option<String>,
        format: Format,
    ) -> anyhow::Result<Outcome> {
        let path = std::path::absolute(file)?;
        self.submit_and_tell(Request::Import { invoices, path, all_or_nothing, full, why, by: who() }, format).await
    }

    pub async fn run(
        &self,
        task: &str,
        on: Option<NaiveDate>,
        why: Option<String>,
        wait: bool,
        format: Format,
    ) -> anyhow::Result<Outcome> {
        let answer = self.submit(Request::Run { kind: task.to_owned(), on, why, by: who() }).await?;
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
                    Format::Json => output::line(lists::run_json(&run)),
                    Format::Human if run.kind == TaskKind::SendQueuedMessages => say!(
                        "{} {}: what was decided up to {} may go, each message when its window, limit and caps let it; see `regua status`{}",
                        run.kind,
                        run.state,
                        run.planned_at.to_rfc3339(),
                        run.note.as_deref().map(|note| format!("\n{note}")).unwrap_or_default()
                    ),
                    Format::Human => say!(
                        "{} {}: {} messages written ({} held, {} skipped), {} revived, {} superseded, {} left for the next run, {} without a policy{}{}",
                        run.kind,
                        run.state,
                        run.evaluated,
                        run.held,
                        run.skipped,
                        run.revived,
                        run.superseded,
                        run.blocked,
                        run.no_policy,
                        if run.approval.as_deref() == Some("waiting") { lists::UNAPPROVED } else { "" },
                        run.note.as_deref().map(|note| format!("\n{note}")).unwrap_or_default()
                    ),
                }
                return Ok(if run.state == "done" { Outcome::Done } else { Outcome::DidNotHold });
            }
            if run.note.is_some() && run.note != told {
                remark!("waiting: {}", run.note.as_deref().unwrap_or_default());
                told = run.note;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub async fn approve_run(&self, id: uuid::Uuid, why: String, format: Format) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::ApproveRun { run: RunId(id), why, by: who() }, format).await
    }

    pub async fn resolve_doubt(&self, id: uuid::Uuid, how: Resolution, why: String) -> anyhow::Result<Outcome> {
        let request = Request::ResolveDoubt { message: MessageId(id), how, why, by: who() };
        self.submit_and_tell(request, Format::Human).await
    }

    pub async fn pause(
        &self,
        scope: StopScope,
        name: String,
        until: Option<DateTime<Utc>>,
        why: String,
    ) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::Pause { scope, name, until, why, by: who() }, Format::Human).await
    }

    pub async fn resume(&self, scope: StopScope, name: String, why: Option<String>) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::Resume { scope, name, why, by: who() }, Format::Human).await
    }

    pub async fn restored(&self, lost_since: Option<DateTime<Utc>>) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::Restored { lost_since, by: who() }, Format::Human).await
    }

    pub async fn recount(&self, why: Option<String>, format: Format) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::Recount(RecountRequest { why, by: who() }), format).await
    }

    pub async fn opt_out_add(&self, phones: Vec<String>, why: String, scope: String, format: Format) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::OptOutAdd { phones, why, scope, by: who() }, format).await
    }

    pub async fn opt_out_import(
        &self,
        file: &Path,
        why: String,
        scope: String,
        all_or_nothing: bool,
        format: Format,
    ) -> anyhow::Result<Outcome> {
        let path = std::path::absolute(file)?;
        self.submit_and_tell(Request::OptOutImport { path, why, scope, all_or_nothing, by: who() }, format).await
    }

    pub async fn opt_out_remove(
        &self,
        phone: String,
        scope: Option<String>,
        why: Option<String>,
        format: Format,
    ) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::OptOutRemove { phone, scope, why, by: who() }, format).await
    }
}

/// Who gives the command, for the record.
pub(super) fn who() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "operator".into())
}
