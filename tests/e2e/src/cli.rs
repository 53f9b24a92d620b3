//! The operator's command line, run to its end.

use crate::process::Program;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// No command takes longer.
const COMMAND_MAX: Duration = Duration::from_mins(10);

/// `regua`, in an environment and a folder.
#[derive(Clone, Debug)]
pub struct Cli {
    /// All that it sees.
    pub environment: BTreeMap<String, String>,
    /// Where it works.
    pub folder: PathBuf,
}

/// What a command came to.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it said beside.
    pub err: String,
}

impl Done {
    /// The one JSON object that it printed.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("not one JSON value ({error}): {self:?}"))
    }

    /// The same, once it ended with 0.
    #[track_caller]
    #[allow(clippy::return_self_not_must_use, reason = "often only the assertion is wanted")]
    pub fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Panics unless it ended with this code and said this.
    #[track_caller]
    pub fn refused(&self, code: i32, text: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(text) || self.out.contains(text), "expected {text:?}: {self:?}");
    }
}

impl Cli {
    /// Runs `regua` with these arguments.
    pub async fn run(&self, arguments: &[&str]) -> Done {
        self.program(Program::Regua, arguments).await
    }

    /// Runs `regua` with these arguments and this on its standard input.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        self.to_end(Program::Regua, arguments, input).await
    }

    /// Runs any of the programs to its end.
    pub async fn program(&self, program: Program, arguments: &[&str]) -> Done {
        self.to_end(program, arguments, "").await
    }

    async fn to_end(&self, program: Program, arguments: &[&str], input: &str) -> Done {
        let mut command = tokio::process::Command::new(program.path());
        command.args(arguments).env_clear().envs(&self.environment).current_dir(&self.folder).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be run");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A program that reads nothing may be gone already.
        stdin.write_all(input.as_bytes()).await.ok();
        drop(stdin);
        let output = tokio::time::timeout(COMMAND_MAX, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("{} {arguments:?} doesn't end", program.name())).expect("it can be run");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The same with one variable more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// The same with one variable less.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }
}
