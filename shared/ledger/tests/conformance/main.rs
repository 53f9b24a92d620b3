//! The ledger's conformance suite: every promise of its public functions, tried on SQLite and on PostgreSQL alike.
//!
//! A rule is a function over a [`Fixture`](databases::Fixture); `conformance!` makes one test of it for each database. Time is the
//! ledger's own clock: set when the ledger is empty, moved by SQL later, never waited for.

#![allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should")]

/// One test for each rule and database.
macro_rules! conformance {
    ($($rule:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                crate::databases::on_sqlite(super::$rule).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                crate::databases::on_postgres(super::$rule).await;
            })+
        }
    };
}

mod allowances;
mod at_random;
mod audit;
mod before_the_answer;
mod clock;
mod configuration;
mod consent;
mod conservation;
mod constraints;
mod counts;
mod databases;
mod doubt;
mod evaluation;
mod evaluators_at_once;
mod events;
mod failure_schedules;
mod failures;
mod finish;
mod frequency;
mod gates;
mod gauges;
mod holds;
mod inspection;
mod limits;
mod look_ups;
mod looks;
mod migrations;
mod mirror;
mod notices;
mod operators;
mod payments;
mod pilot;
mod policies;
mod receipts;
mod release;
mod repeated_runs;
mod restored;
mod retention;
mod runs;
mod secrets;
mod sending_times;
mod setup;
mod start;
mod stop_checks;
mod stops;
mod sweeps;
mod tasks;
mod templates;
mod test_sends;
mod told;
mod top_up;
mod transitions;
mod webhooks;
mod world;
