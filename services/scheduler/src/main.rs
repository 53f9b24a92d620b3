//! The scheduler as a process of its own.

use regua_telemetry::config::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    regua_telemetry::service::main(
        Service::Scheduler,
        "Emits ticks for the tasks that are due, tops up hints, and drives everything else that time drives.",
        |process| async move {
            match regua_pipeline::open(&process).await? {
                Some(pipeline) => Box::pin(scheduler::run(pipeline, process)).await,
                None => Ok(()),
            }
        },
    )
}
