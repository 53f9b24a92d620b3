//! The servers: those that the environment names, else private ones for the whole test binary; and own ones to stop and start.

use regua_test_servers::{Postgres, RabbitMq};
use std::sync::OnceLock;

/// The AMQP URL that the tests share; without `REGUA_TEST_AMQP_URL`, of a private server that ends with this process.
pub(crate) fn amqp_url() -> String {
    static PRIVATE: OnceLock<RabbitMq> = OnceLock::new();
    named("REGUA_TEST_AMQP_URL").unwrap_or_else(|| PRIVATE.get_or_init(own_rabbitmq).amqp_url().to_owned())
}

/// The database in which each world makes a schema; without `REGUA_TEST_DATABASE_URL`, of a private server that ends with this process.
pub(crate) fn database_url() -> String {
    static PRIVATE: OnceLock<Postgres> = OnceLock::new();
    named("REGUA_TEST_DATABASE_URL").unwrap_or_else(|| PRIVATE.get_or_init(own_postgres).url().to_owned())
}

/// A RabbitMQ to stop and start. Blocks.
pub fn own_rabbitmq() -> RabbitMq {
    RabbitMq::start().expect("RabbitMQ is installed: `cargo xtask test` sees to it")
}

/// A PostgreSQL to stop and start. Blocks.
pub fn own_postgres() -> Postgres {
    Postgres::start().expect("PostgreSQL is installed: `cargo xtask test` sees to it")
}

fn named(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}
