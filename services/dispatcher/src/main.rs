//! The dispatcher as a process of its own.

use regua_telemetry::config::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    regua_telemetry::service::main(
        Service::Dispatcher,
        "Drains the queue of messages and delivers them through Opa! Suite, at the pace that each channel bears.",
        |process| async move {
            match regua_pipeline::open(&process).await? {
                Some(pipeline) => Box::pin(dispatcher::run(pipeline, process)).await,
                None => Ok(()),
            }
        },
    )
}
