//! What a stretch of work costs: processor time of Régua, PostgreSQL and RabbitMQ, and PostgreSQL's log.

use crate::bases::THREADS;
use crate::world::{Servers, World};
use regua_test_servers::processor;
use std::time::Duration;

/// Whose time is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    postgres: Option<u32>,
    rabbitmq: Option<u32>,
}

/// A reading, or what lies between two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// This process without the simulated Opa! Suite: scheduler, evaluator and dispatchers are in it.
    pub regua: Duration,
    /// `None` where it isn't on this host.
    pub postgres: Option<Duration>,
    /// `None` where it isn't on this host.
    pub rabbitmq: Option<Duration>,
    /// Bytes of PostgreSQL's log.
    pub log: u64,
}

impl Meter {
    /// Finds the servers' processes.
    pub fn of(servers: &Servers) -> Self {
        Self { postgres: processor::server_of(&servers.database_url), rabbitmq: processor::server_of(&servers.amqp_url) }
    }

    /// Reads.
    pub async fn read(self, world: &World) -> anyhow::Result<Reading> {
        let all = processor::time_of(std::process::id()).unwrap_or_default();
        Ok(Reading {
            regua: all.saturating_sub(processor::time_of_own_threads(THREADS)),
            postgres: self.postgres.and_then(processor::time_of),
            rabbitmq: self.rabbitmq.and_then(processor::time_of),
            log: world.raw.log_end().await?,
        })
    }
}

impl Reading {
    /// What was used in this stretch and in another.
    pub fn and(self, other: Self) -> Self {
        let time = |one: Option<Duration>, other: Option<Duration>| Some(one? + other?);
        Self {
            regua: self.regua + other.regua,
            postgres: time(self.postgres, other.postgres),
            rabbitmq: time(self.rabbitmq, other.rabbitmq),
            log: self.log + other.log,
        }
    }

    /// What was used since an earlier reading.
    pub fn since(self, before: Self) -> Self {
        let time = |now: Option<Duration>, before: Option<Duration>| Some(now?.saturating_sub(before?));
        Self {
            regua: self.regua.saturating_sub(before.regua),
            postgres: time(self.postgres, before.postgres),
            rabbitmq: time(self.rabbitmq, before.rabbitmq),
            log: self.log - before.log,
        }
    }
}
