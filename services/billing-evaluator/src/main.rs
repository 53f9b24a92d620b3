//! The billing-evaluator as a process of its own.

use regua_telemetry::config::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    regua_telemetry::service::main(
        Service::BillingEvaluator,
        "Consumes ticks: syncs invoices, decides which notices are due, and writes one message per invoice.",
        |process| async move {
            match regua_pipeline::open(&process).await? {
                Some(pipeline) => Box::pin(billing_evaluator::run(pipeline, process)).await,
                None => Ok(()),
            }
        },
    )
}
