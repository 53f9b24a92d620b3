//! The harness of the end-to-end tests: Régua's own programs as processes, over a real RabbitMQ and PostgreSQL, with the two simulators
//! in the test's process.
//!
//! A [`World`] is one provider: a schema of its own, queues that nobody else uses meanwhile, Opa! Suite, IXC, a configuration file.
//! Its [`Service`]s are spawned from the binaries beside the test's own (`cargo xtask test` builds them first). Nothing waits by the
//! clock: [`until`] looks at a predicate, with a deadline.

#![allow(clippy::missing_panics_doc, reason = "a test's harness fails by panicking")]

mod broker;
mod cli;
mod collector;
mod database;
mod house;
pub mod memory;
mod process;
mod provider;
mod servers;
mod wait;
mod world;

pub use broker::{Queues, Tap};
pub use cli::{Cli, Done};
pub use collector::{Collected, Collector, tree};
pub use database::{Count, Database};
pub use house::House;
pub use process::{Program, Service};
pub use provider::{Rate, Request};
pub use servers::{own_postgres, own_rabbitmq};
pub use wait::{SOON, until, within};
pub use world::{Crew, World, WorldOptions, configuration, simulated, simulators, today};
