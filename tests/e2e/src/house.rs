//! A small provider's one machine: `regua up`, on a SQLite file where nothing else is said, and the command line beside it.

use crate::cli::Cli;
use crate::database::Database;
use crate::process::{Program, Service};
use crate::provider::Request;
use crate::servers;
use crate::world::{self, blocking, configuration};
use regua_ledger::Ledger;
use regua_simulators::{IxcSimulator, OpaSimulator};
use tempfile::TempDir;

/// Simulators, a folder with a configuration file, and a command line whose ledger is a SQLite file in that folder, or a schema of a PostgreSQL.
pub struct House {
    /// Opa! Suite.
    pub opa: OpaSimulator,
    /// IXC.
    pub ixc: IxcSimulator,
    /// The command line.
    pub cli: Cli,
    folder: TempDir,
    postgres: Option<Postgres>,
}

/// Where the ledger is, unless it is a file.
struct Postgres {
    database: Database,
    server: String,
    schema: String,
}

impl House {
    /// Builds it with the demo's configuration, of which these pieces are replaced.
    pub async fn build(customers: u32, replace: &[(String, String)]) -> Self {
        Self::build_with(customers, &configuration(replace)).await
    }

    /// Builds it with this configuration.
    pub async fn build_with(customers: u32, configuration: &str) -> Self {
        Self::furnish(customers, configuration, None).await
    }

    /// As [`House::build`], with a ledger on PostgreSQL.
    pub async fn build_on_postgres(customers: u32, replace: &[(String, String)]) -> Self {
        let server = blocking(servers::database_url).await;
        let (database, schema) = Database::new_schema(&server).await;
        Self::furnish(customers, &configuration(replace), Some(Postgres { database, server, schema })).await
    }

    async fn furnish(customers: u32, configuration: &str, postgres: Option<Postgres>) -> Self {
        let (opa, ixc) = world::simulators(customers, 1).await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("regua.toml");
        std::fs::write(&file, configuration).expect("the folder can be written to");
        let sqlite = || format!("sqlite://{}", folder.path().join("regua.db").display());
        let mut environment = world::simulated(&opa, &ixc);
        environment.extend([
            ("REGUA_DATABASE_URL".to_owned(), postgres.as_ref().map_or_else(sqlite, |ledger| ledger.database.url.clone())),
            ("REGUA_CONFIG".to_owned(), file.display().to_string()),
            ("REGUA_DEMO_NOW".to_owned(), world::NOW.to_owned()),
        ]);
        let cli = Cli { environment, folder: folder.path().to_owned() };
        Self { opa, ixc, cli, folder, postgres }
    }

    /// Starts `regua up` and waits until it is ready.
    pub async fn up(&self) -> Service {
        let mut up = self.start();
        up.ready().await;
        up
    }

    /// Starts `regua up`.
    pub fn start(&self) -> Service {
        Service::spawn(Program::Regua, &["up"], &self.cli.environment, self.folder.path())
    }

    /// SQL past the ledger.
    pub fn database(&self) -> Database {
        let sqlite = || Database::sqlite(&self.folder.path().join("regua.db"));
        self.postgres.as_ref().map_or_else(sqlite, |ledger| ledger.database.clone())
    }

    /// What the ledger's clock reads, in microseconds.
    pub async fn ledger_now(&self) -> i64 {
        let ledger = Ledger::open(&self.database().url).await.expect("the URL was just used");
        ledger.now().await.expect("the ledger answers").timestamp_micros()
    }

    /// Writes a file into the folder; its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("the folder can be written to");
        path.display().to_string()
    }

    /// Runs a task through the command line, to its end.
    pub async fn run(&self, task: &str) {
        self.cli.run(&["run", task, "--json"]).await.good();
    }

    /// Waits until nothing is on its way any more.
    pub async fn settled(&self) {
        let database = self.database();
        let live = "messages WHERE state IN ('held', 'scheduled', 'queued', 'sending')";
        crate::wait::within(world::DAY_MAX, "nothing is on its way", async || (database.count(live).await == 0).then_some(()))
            .await;
    }

    /// What Opa! Suite took.
    pub fn requests(&self) -> Vec<Request> {
        let log = self.opa.log().expect("the simulator's log can be read");
        log.map(|entry| Request::from(entry.expect("the simulator's log is whole"))).collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        Database::drop_schema(std::mem::take(&mut self.server), std::mem::take(&mut self.schema));
    }
}
