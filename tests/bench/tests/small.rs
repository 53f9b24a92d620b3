//! The whole measurement, small: every part works on both backends. Speed is never asserted.

use regua_bench::{Backend, Options, Servers, run, scale};

/// Names the servers; `cargo xtask test` starts them and sets both.
fn named(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: `cargo xtask test` starts a server and sets it"))
}

fn servers() -> Servers {
    Servers { database_url: named("REGUA_TEST_DATABASE_URL"), amqp_url: named("REGUA_TEST_AMQP_URL") }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(work).unwrap_or_else(|error| panic!("{error:#}"))
}

#[track_caller]
fn check(invoices: u32, backend: Backend) {
    let report = block_on(run(&Options { invoices, repetitions: 1, backends: vec![backend], servers: servers() }));
    assert_eq!(report.figures.len(), 4, "{report}");
    for figure in &report.figures {
        assert!(figure.ratio.median.is_finite() && figure.ratio.median > 0.0, "{report}");
    }
}

#[test]
fn every_part_works_on_postgresql_and_rabbitmq() {
    check(300, Backend::Postgres);
}

#[test]
fn every_part_works_on_sqlite_and_in_memory() {
    check(300, Backend::Sqlite);
}

#[test]
fn every_kind_of_case_of_the_scale_works() {
    let only = ["2 dispatchers", "70 numbers", "days kept", "commits 2 ms"].map(String::from).to_vec();
    let report = block_on(scale::run(&scale::Options { invoices: 300, repetitions: 1, only, servers: servers() }));
    assert_eq!(report.cases.iter().map(|case| case.numbers).collect::<Vec<_>>(), [7, 70, 7, 7, 7], "{report}");
    for case in &report.cases {
        assert!(case.sent.median > 0.0 && case.log_bytes.median > 0.0 && case.kept_bytes.median > 0.0, "{report}");
    }
}
