//! What every process of Régua shares: configuration from the environment, logs and traces, health and metrics over HTTP, shutdown,
//! and the retry policy.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should"))]

pub mod config;
pub mod environment;
pub mod health;
pub mod http;
pub mod logging;
pub mod metrics;
mod otlp;
pub mod parse;
pub mod retry;
pub mod service;
pub mod shutdown;
pub mod spans;
pub mod tls;
pub mod trace_context;

pub use otlp::BuildError;
pub use tls::install_tls_provider;
