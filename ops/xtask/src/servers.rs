//! The RabbitMQ and the PostgreSQL that the tests use: named by the environment, else private, else installed first. And the Prometheus that
//! some of them start for themselves.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::{env, fs};

use regua_test_servers::{Missing, Postgres, Prometheus, RabbitMq};

use crate::cargo::{Error, run};

/// Names the RabbitMQ for the tests.
pub const AMQP_VARIABLE: &str = "REGUA_TEST_AMQP_URL";
/// Names the PostgreSQL database for the tests.
pub const DATABASE_VARIABLE: &str = "REGUA_TEST_DATABASE_URL";

const INSTALL: &str = include_str!("install_servers.sh");

/// Where the servers will come from.
pub struct Plan {
    amqp_url: Option<String>,
    database_url: Option<String>,
}

impl Plan {
    /// Reads the environment and sees to it that what it doesn't name can be started.
    ///
    /// # Errors
    /// [`Error::NoServer`] when a server is neither named nor installed, and can't be installed.
    pub fn make() -> Result<Self, Error> {
        let named = |variable| env::var(variable).ok().filter(|url| !url.is_empty());
        let plan = Self { amqp_url: named(AMQP_VARIABLE), database_url: named(DATABASE_VARIABLE) };
        let wanted = plan.missing();
        if !wanted.is_empty() {
            if !may_install() {
                return Err(cannot_have(&wanted, "and this can't install them: not root, or no apt-get"));
            }
            println!("installing what is missing: {}", list(&wanted));
            run(Command::new("/bin/sh").args(["-c", INSTALL, "install_servers"]).stdin(Stdio::null()))?;
            let still = plan.missing();
            if !still.is_empty() {
                return Err(cannot_have(&still, "even after apt-get installed what there is"));
            }
        }
        println!("RabbitMQ: {}", origin(plan.amqp_url.as_ref(), AMQP_VARIABLE));
        println!("PostgreSQL: {}", origin(plan.database_url.as_ref(), DATABASE_VARIABLE));
        Ok(plan)
    }

    fn missing(&self) -> Vec<Missing> {
        let rabbitmq = if self.amqp_url.is_none() { RabbitMq::missing() } else { Vec::new() };
        let postgres = if self.database_url.is_none() { Postgres::missing() } else { Vec::new() };
        [rabbitmq, postgres, Prometheus::missing()].concat()
    }
}

/// The servers, running. The private ones end with this value.
pub struct TestServers {
    rabbitmq: Source<RabbitMq>,
    postgres: Source<Postgres>,
}

enum Source<Server> {
    Named(String),
    Private(Server),
}

impl TestServers {
    /// Starts what the environment doesn't name.
    pub fn start(plan: &Plan) -> Result<Self, Error> {
        let failed = |name| move |source| Error::ServerStart { name, source };
        Ok(Self {
            rabbitmq: match &plan.amqp_url {
                Some(url) => Source::Named(url.clone()),
                None => Source::Private(RabbitMq::start().map_err(failed("RabbitMQ"))?),
            },
            postgres: match &plan.database_url {
                Some(url) => Source::Named(url.clone()),
                None => Source::Private(Postgres::start().map_err(failed("PostgreSQL"))?),
            },
        })
    }

    /// For [`AMQP_VARIABLE`].
    pub fn amqp_url(&self) -> &str {
        match &self.rabbitmq {
            Source::Named(url) => url,
            Source::Private(server) => server.amqp_url(),
        }
    }

    /// For [`DATABASE_VARIABLE`].
    pub fn database_url(&self) -> &str {
        match &self.postgres {
            Source::Named(url) => url,
            Source::Private(server) => server.url(),
        }
    }
}

/// Never the URL itself: it may carry a password.
fn origin(url: Option<&String>, variable: &str) -> String {
    url.map_or_else(|| "a private instance of the installed server".to_owned(), |_| format!("the one that {variable} names"))
}

fn may_install() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let apt = env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join("apt-get").is_file()));
    root && apt
}

fn cannot_have(missing: &[Missing], why: &str) -> Error {
    Error::NoServer(format!(
        "the tests need RabbitMQ, PostgreSQL and Prometheus; missing: {}, {why}.\n\
         Install the packages named; instead of the first two may be set\n  \
         {AMQP_VARIABLE}=amqp://USER:PASSWORD@HOST:5672/%2f\n  \
         {DATABASE_VARIABLE}=postgres://USER:PASSWORD@HOST:5432/DATABASE\n\
         to servers that the tests may write to.",
        list(missing)
    ))
}

fn list(missing: &[Missing]) -> String {
    let programs: Vec<String> = missing.iter().map(|one| format!("{} (package {})", one.program, one.package)).collect();
    programs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_have_servers_reads_what_is_missing_and_both_variables() {
        let missing = [Missing { program: "initdb", package: "postgresql" }];
        let text = cannot_have(&missing, "why").to_string();
        for part in ["initdb (package postgresql)", "REGUA_TEST_AMQP_URL=amqp://", "REGUA_TEST_DATABASE_URL=postgres://"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_named_servers_url_is_never_printed() {
        let url = "amqp://user:secret@host".to_owned();
        assert_eq!(origin(Some(&url), AMQP_VARIABLE), "the one that REGUA_TEST_AMQP_URL names");
    }
}
