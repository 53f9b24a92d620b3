//! The long forms: measurements that need minutes and a machine with nothing else to do. They run in release mode, over real servers.

use crate::cargo::{self, Error, Workspace};
use crate::servers::{AMQP_VARIABLE, DATABASE_VARIABLE, Plan, TestServers};
use std::process::{Command, Stdio};

/// One of them: the program that measures, and the packages whose programs it starts.
pub struct Long {
    package: &'static str,
    program: &'static str,
    starts: &'static [&'static str],
}

/// Régua's speed beside raw loops. With `--json` its object is the last line.
pub const BENCH: Long = Long { package: "regua-bench", program: "regua-bench", starts: &[] };
/// The services' memory at ten times the invoices.
pub const MEMORY: Long = Long { package: "regua-e2e", program: "memory", starts: SERVICES };
/// The limit per second: ceiling, floor, shares, a killed dispatcher.
pub const LIMIT: Long = Long { package: "regua-e2e", program: "limit", starts: SERVICES };
/// What one ledger and one broker carry, and what a message costs them.
pub const SCALE: Long = Long { package: "regua-bench", program: "scale", starts: &[] };
/// What a provider costs for whom nothing is to be done.
pub const IDLE: Long = Long { package: "regua-e2e", program: "idle", starts: SERVICES };
/// Everything that can go wrong, drawn from a seed, and the verdict once it has healed.
pub const CHAOS: Long = Long { package: "regua-chaos", program: "chaos", starts: SERVICES };

/// An earlier commit's programs beside today's.
const UPGRADE: Long = Long { package: "regua-e2e", program: "upgrade", starts: SERVICES };

/// Builds the programs of an earlier commit in a clone of their own, and runs them beside today's.
pub fn upgrade(workspace: &Workspace, revision: &str) -> Result<(), Error> {
    let clone = workspace.metadata()?.target_directory.join("upgrade");
    let folder = clone.to_string_lossy();
    if !clone.is_dir() {
        let root = workspace.root().to_string_lossy();
        cargo::run(Command::new("git").args(["clone", "--quiet", "--no-checkout", &root, &folder]))?;
    }
    cargo::run(Command::new("git").args(["-C", &folder, "fetch", "--quiet", "origin"]))?;
    cargo::run(Command::new("git").args(["-C", &folder, "checkout", "--quiet", "--detach", revision]))?;
    // Nothing is measured of it: the quick profile will do.
    cargo::run(workspace.cargo(&["build", "--workspace", "--bins"]).current_dir(&clone).env_remove("CARGO_TARGET_DIR"))?;
    UPGRADE.run(workspace, &[&folder])
}

const SERVICES: &[&str] = &["scheduler", "billing-evaluator", "dispatcher", "regua"];

impl Long {
    /// Builds it, gives it servers, and runs it with these arguments.
    pub fn run(&self, workspace: &Workspace, arguments: &[&str]) -> Result<(), Error> {
        let plan = Plan::make()?;
        // Before the servers start, so that they don't idle while it builds; all at once, so that no feature is built twice.
        let packages = std::iter::once(&self.package).chain(self.starts).flat_map(|package| ["--package", *package]);
        cargo::run(workspace.cargo(&["build", "--release", "--bins"]).args(packages))?;
        let servers = TestServers::start(&plan)?;
        // Not by `cargo run`, which builds for one package alone, with other features.
        let mut measure = Command::new(workspace.metadata()?.target_directory.join("release").join(self.program));
        measure.args(arguments).env(AMQP_VARIABLE, servers.amqp_url()).env(DATABASE_VARIABLE, servers.database_url());
        cargo::run(measure.stdin(Stdio::null()))
    }
}
