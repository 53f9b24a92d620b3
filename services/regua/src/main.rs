//! One binary: everything in one process, and the operator's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    regua::cli::main()
}
