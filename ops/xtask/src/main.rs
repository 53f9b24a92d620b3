//! The project's own chores: `cargo xtask test` is all that must hold before a change is taken.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should"))]

mod cargo;
mod checks;
mod servers;
mod steps;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

commands:
  test    formatting, clippy, rustdoc, the house checks, a build, then every test of the workspace

The tests use the RabbitMQ and PostgreSQL that REGUA_TEST_AMQP_URL and REGUA_TEST_DATABASE_URL name. Without these variables private
instances of the installed servers are started on free ports and stopped afterwards; what is not installed is installed by apt-get when
this runs as root.

exit status: 0 all held, 1 something did not hold or failed, 2 wrong usage";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => match command_test() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
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

fn command_test() -> anyhow::Result<()> {
    Ok(test::run(&cargo::Workspace::find()?)?)
}
