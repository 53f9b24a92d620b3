//! What every process of Régua shares: the retry policy, configuration from the environment, logs and traces, health and metrics over
//! HTTP, and shutdown.

pub mod retry;
