//! The whole measurement, small: every part works on both backends. Speed is never asserted.

use regua_bench::{Backend, Options, Servers, run};

/// Names the servers; `cargo xtask test` starts them and sets both.
fn named(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: `cargo xtask test` starts a server and sets it"))
}

#[track_caller]
fn check(invoices: u32, backend: Backend) {
    let servers = Servers { database_url: named("REGUA_TEST_DATABASE_URL"), amqp_url: named("REGUA_TEST_AMQP_URL") };
    let options = Options { invoices, repetitions: 1, backends: vec![backend], servers };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let report = runtime.block_on(run(&options)).unwrap_or_else(|error| panic!("{error:#}"));
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
