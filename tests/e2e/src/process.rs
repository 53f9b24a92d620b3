//! Régua's programs as processes: spawned, asked over HTTP, ended by signal; what they print goes to files.

use crate::wait::{SOON, until, within};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Lines of a service's log that a failed test prints.
const TAIL: usize = 40;
/// Names a folder that keeps every service's log, whatever becomes of its test.
const KEEP_LOGS: &str = "REGUA_E2E_LOGS";

/// A binary of Régua.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `scheduler`.
    Scheduler,
    /// `billing-evaluator`.
    BillingEvaluator,
    /// `dispatcher`.
    Dispatcher,
    /// `console`.
    Console,
    /// `regua`: `up`, or a command.
    Regua,
}

impl Program {
    /// The binary's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::BillingEvaluator => "billing-evaluator",
            Self::Dispatcher => "dispatcher",
            Self::Console => "console",
            Self::Regua => "regua",
        }
    }

    /// The binary, beside the tests' own.
    pub fn path(self) -> PathBuf {
        let test = std::env::current_exe().expect("a process knows its program");
        let folder = test.parent().expect("a program is in a folder");
        let folder = if folder.ends_with("deps") { folder.parent().expect("deps is in a folder") } else { folder };
        let path = folder.join(self.name());
        assert!(path.is_file(), "{} isn't built: `cargo build --workspace` first, as `cargo xtask test` does", path.display());
        path
    }
}

/// How long a service may take to answer about itself.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A running service, with nothing in its environment but what it was given. Dropping it kills it.
pub struct Service {
    program: Program,
    child: Child,
    printed: PathBuf,
    log: PathBuf,
    address: Option<String>,
    http: reqwest::Client,
}

impl Service {
    /// Spawns a service in `folder`, where its output goes, too.
    pub fn spawn(program: Program, arguments: &[&str], environment: &BTreeMap<String, String>, folder: &Path) -> Self {
        Self::spawn_at(&program.path(), program, arguments, environment, folder)
    }

    /// As [`Service::spawn`], of the binary at `path`: another build's.
    pub fn spawn_at(
        path: &Path,
        program: Program,
        arguments: &[&str],
        environment: &BTreeMap<String, String>,
        folder: &Path,
    ) -> Self {
        static SPAWNED: AtomicU32 = AtomicU32::new(0);
        let number = SPAWNED.fetch_add(1, Ordering::Relaxed);
        let file = |what: &str| folder.join(format!("{}-{number}.{what}", program.name()));
        let (printed, log) = (file("stdout"), file("log"));
        let create = |path: &Path| File::create(path).expect("the folder can be written to");
        let child = Command::new(path)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(create(&printed))
            .stderr(create(&log))
            .spawn()
            .expect("the program can be run");
        regua_telemetry::install_tls_provider();
        Self { program, child, printed, log, address: None, http: reqwest::Client::new() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it printed on standard output so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.printed).unwrap_or_default()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be asked")
    }

    /// Where it serves HTTP: it prints the port that it was given.
    pub async fn address(&mut self) -> String {
        if let Some(address) = &self.address {
            return address.clone();
        }
        let address = until("the service prints its address", async || {
            if let Some(status) = self.ended() {
                panic!("{} ended: {status}\n{}", self.program.name(), self.log());
            }
            self.printed().lines().find_map(|line| line.strip_prefix("http ").map(str::to_owned))
        })
        .await;
        self.address = Some(address.clone());
        address
    }

    /// The text at a path, with its status; `None` while nobody answers, as a suspended process doesn't.
    pub async fn get(&mut self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://{}{path}", self.address().await);
        let answer = self.http.get(url).timeout(ANSWERS_WITHIN).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Posts JSON to a path with a header; the status and the text of the answer.
    pub async fn post(&mut self, path: &str, header: (&str, &str), body: &Value) -> (u16, String) {
        let url = format!("http://{}{path}", self.address().await);
        let request = self.http.post(url).header(header.0, header.1).json(body);
        let answer = request.send().await.expect("it answers");
        (answer.status().as_u16(), answer.text().await.expect("its answer is whole"))
    }

    /// What `/readyz` says.
    pub async fn readiness(&mut self) -> Value {
        until("/readyz answers", async || serde_json::from_str(&self.get("/readyz").await?.1).ok()).await
    }

    /// What `/readyz` says is wrong with a check whose name ends so; `None` if there is no such check or nothing is wrong.
    pub async fn problem(&mut self, check: &str) -> Option<String> {
        let report = self.readiness().await;
        let checks = report["checks"].as_array().expect("checks are listed");
        let named = |found: &&Value| found["name"].as_str().is_some_and(|name| name.ends_with(check));
        checks.iter().find(named).and_then(|check| check["why"].as_str()).map(str::to_owned)
    }

    /// Waits until it is ready.
    pub async fn ready(&mut self) {
        let mut last = Value::Null;
        let name = self.program.name();
        let limit = within(SOON, "the service is ready", async || {
            last = self.readiness().await;
            (last["ready"] == true).then_some(())
        });
        tokio::time::timeout(SOON * 2, limit).await.unwrap_or_else(|_| panic!("{name} is not ready"));
    }

    /// The value of one metric line, such as `regua_stops_raised_total{scope="channel"}`.
    pub async fn metric(&mut self, line: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await?;
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }

    /// Kills it (`KILL`): no warning, no drain.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }

    /// Asks it to end (`TERM`).
    pub fn terminate(&self) {
        signal("TERM", self.id());
    }

    /// Suspends it (`STOP`), as a host that is paused does.
    pub fn freeze(&self) {
        signal("STOP", self.id());
    }

    /// Lets it go on (`CONT`).
    pub fn thaw(&self) {
        signal("CONT", self.id());
    }

    /// Waits until it has ended, for at most `limit`; its exit code.
    pub async fn end(&mut self, limit: Duration) -> Option<i32> {
        within(limit, "the service ends", async || self.ended()).await.code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(folder) = std::env::var_os(KEEP_LOGS)
            && let Some(name) = self.log.file_name()
            && let Err(error) = fs::copy(&self.log, Path::new(&folder).join(name))
        {
            eprintln!("{} can't be kept: {error}", self.log.display());
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- the end of {} {}'s log\n{}",
                self.program.name(),
                self.id(),
                lines[lines.len().saturating_sub(TAIL)..].join("\n")
            );
        }
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("{} {} could not be ended: {error}", self.program.name(), self.id());
        }
    }
}

/// Sends a signal to a process of ours; std can only send KILL.
fn signal(name: &str, id: u32) {
    let status = Command::new("/bin/sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &id.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "signal {name} to {id}");
}
