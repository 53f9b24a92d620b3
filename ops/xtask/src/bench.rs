//! `cargo xtask bench`.

use crate::cargo::{self, Error, Workspace};
use crate::servers::{AMQP_VARIABLE, DATABASE_VARIABLE, Plan, TestServers};

/// Builds the benchmark in release mode, gives it servers, and runs it with these arguments. With `--json` its object is the last line.
pub fn run(workspace: &Workspace, arguments: &[&str]) -> Result<(), Error> {
    let plan = Plan::make()?;
    // Before the servers start, so that they don't idle while it builds.
    cargo::run(&mut workspace.cargo(&["build", "--release", "--package", "regua-bench"]))?;
    let servers = TestServers::start(&plan)?;
    let mut bench = workspace.cargo(&["run", "--quiet", "--release", "--package", "regua-bench", "--"]);
    cargo::run(bench.args(arguments).env(AMQP_VARIABLE, servers.amqp_url()).env(DATABASE_VARIABLE, servers.database_url()))
}
