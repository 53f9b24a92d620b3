//! `cargo xtask test`.

use crate::cargo::{self, Error, Workspace};
use crate::checks;
use crate::servers::{AMQP_VARIABLE, DATABASE_VARIABLE, Plan, TestServers};
use crate::steps::Steps;

/// Runs every step and tells what took how long.
pub fn run(workspace: &Workspace) -> Result<(), Error> {
    let mut steps = Steps::default();
    let result = every_step(workspace, &mut steps);
    steps.summary();
    result
}

/// Every check and every test, in this order; the first step that fails ends it.
///
/// Compiler flags are the same in every step, so that what one step built the next one finds: `RUSTFLAGS` is left alone, and clippy and rustdoc
/// get their `-D warnings` in ways that concern our own crates only.
fn every_step(workspace: &Workspace, steps: &mut Steps) -> Result<(), Error> {
    steps.step("formatting", || cargo::run(&mut workspace.cargo(&["fmt", "--all", "--", "--check"])))?;
    // Before anything slow, so that a machine that can't run the tests says so at once.
    let plan = steps.step("test servers installed or named", Plan::make)?;
    steps.step("clippy", || {
        cargo::run(&mut workspace.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    steps.step("rustdoc", || {
        let mut doc = workspace.cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
        cargo::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    steps.step("house checks", || checks::run(workspace))?;
    // With every target, not `--bins`: the tests' dependencies switch on features, and this way all is built once, with the features that
    // `cargo test` asks for. It puts the binaries where the end-to-end tests look for them.
    steps.step("build", || cargo::run(&mut workspace.cargo(&["build", "--workspace", "--all-targets"])))?;
    let servers = steps.step("test servers start", || TestServers::start(&plan))?;
    steps.step("tests", || {
        let mut test = workspace.cargo(&["test", "--workspace", "--no-fail-fast"]);
        cargo::run(test.env(AMQP_VARIABLE, servers.amqp_url()).env(DATABASE_VARIABLE, servers.database_url()))
    })
}
