//! The project's own chores: `cargo xtask test` is all that must hold before a change is taken.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should"))]

mod cargo;
mod checks;
mod long;
mod servers;
mod steps;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

commands:
  test             formatting, clippy, rustdoc, the house checks, a build, then every test of the workspace
  bench [OPTION…]  Régua's speed beside raw loops that do the same work without any decision; `bench --help` lists the options
  scale [OPTION…]  what one ledger, one broker and some dispatchers carry, and what a message costs them; --only CASE picks
  idle [SECONDS]   what a provider costs for whom nothing is to be done
  limit [N]        is the limit per second kept and used up, by N dispatchers (3), and while one is killed and another joins?
  chaos [OPTION…]  faults of every kind while messages flow: nothing lost, nothing twice, every doubt explained? --seed S draws the same
                   faults again, --faults N (200) says how many, --only KIND of which kind, --minutes M (60) when to stop
  upgrade REV      do the programs of an earlier commit go on beside today's, on a ledger that today's have migrated underneath them?
  memory           is the services' memory the same with ten times the invoices?

All use the RabbitMQ and PostgreSQL that REGUA_TEST_AMQP_URL and REGUA_TEST_DATABASE_URL name. Without these variables private
instances of the installed servers are started on free ports and stopped afterwards; what is not installed is installed by apt-get when
this runs as root.

exit status: 0 all held, 1 something did not hold or failed, 2 wrong usage";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => exit_code(command_test()),
        ["bench", ref arguments @ ..] => exit_code(command_long(&long::BENCH, arguments)),
        ["scale", ref arguments @ ..] => exit_code(command_long(&long::SCALE, arguments)),
        ["idle", ref arguments @ ..] => exit_code(command_long(&long::IDLE, arguments)),
        ["limit", ref arguments @ ..] => exit_code(command_long(&long::LIMIT, arguments)),
        ["chaos", ref arguments @ ..] => exit_code(command_long(&long::CHAOS, arguments)),
        ["memory", ref arguments @ ..] => exit_code(command_long(&long::MEMORY, arguments)),
        ["upgrade", revision] => exit_code(command_upgrade(revision)),
        ["help" | "-h" | "--help"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command_test() -> anyhow::Result<()> {
    Ok(test::run(&cargo::Workspace::find()?)?)
}

fn command_upgrade(revision: &str) -> anyhow::Result<()> {
    Ok(long::upgrade(&cargo::Workspace::find()?, revision)?)
}

fn command_long(long: &long::Long, arguments: &[&str]) -> anyhow::Result<()> {
    Ok(long.run(&cargo::Workspace::find()?, arguments)?)
}
