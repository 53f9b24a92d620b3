//! Private servers for the tests: instances of the *installed* RabbitMQ, PostgreSQL and Prometheus, each on free loopback ports and in its own temporary folder.
//!
//! A server ends with the value that stands for it, on a panic too. It also ends when the process that started it is killed, or
//! keeps the server in a `static`: see the module `folder`.
//! Nothing here reads the machine's own configuration of these servers, and no server but our own is ever signalled.
//!
//! Everything blocks; call it from `spawn_blocking` (or before the runtime starts) in asynchronous tests.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should"))]

mod folder;
mod ports;
mod postgres;
pub mod processor;
mod programs;
mod prometheus;
mod rabbitmq;
mod wait;

pub use folder::Folder;
pub use postgres::Postgres;
pub use programs::Missing;
pub use prometheus::{Prometheus, Sample};
pub use rabbitmq::RabbitMq;
