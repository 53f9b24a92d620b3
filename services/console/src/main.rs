//! The console as a process of its own.

use regua_console::Console;
use regua_telemetry::config::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    let console = Console::default();
    regua_telemetry::service::main_with_routes(
        Service::Console,
        "Receives the webhooks: what became of messages, from Opa! Suite, and what became of invoices, from the ERP.",
        console.router(),
        |process| async move {
            match regua_pipeline::open(&process).await? {
                Some(pipeline) => console.run(pipeline, process).await,
                None => Ok(()),
            }
        },
    )
}
