//! The schema's history: forward only, expand then contract.
//!
//! An *expansion* only adds: binaries that don't know it go on beside those that do, and may be started again, so that a release can be taken
//! back. A *contraction* takes away what older binaries use. It comes a release after the last binary that does, and says from which number of
//! known migrations on a binary may run (`runs_from`): an older one refuses to start, and one that runs ends itself.

use crate::database::{AdvisoryLock, Database, Tx};
use crate::error::LedgerError;
use crate::new_id;
use std::time::Duration;
use tokio::time::Instant;

/// A migration's text for each database.
struct Migration {
    /// Of a contraction: how many migrations a binary must know to run on the schema from now on. `None`: an expansion, which asks for nothing.
    runs_from: Option<i64>,
    postgres: &'static str,
    sqlite: &'static str,
}

/// A migration by the name of its files, and for a contraction what it asks of binaries.
macro_rules! migration {
    ($name:literal) => {
        migration!($name, None)
    };
    ($name:literal, $runs_from:expr) => {
        Migration {
            runs_from: $runs_from,
            postgres: include_str!(concat!("../migrations/postgres/", $name, ".sql")),
            sqlite: include_str!(concat!("../migrations/sqlite/", $name, ".sql")),
        }
    };
}

/// Every migration, the first one first; its number is its place, from 1. Binaries from before `0020_runs_from` don't know the rule: they
/// refuse every schema that is newer than they are, and what those migrations took away is told in ops/docs/upgrade.md.
const MIGRATIONS: &[Migration] = &[
    migration!("0001_initial"),
    migration!("0002_policies"),
    migration!("0003_sending_times"),
    migration!("0004_tasks"),
    migration!("0005_holds"),
    migration!("0006_events"),
    migration!("0007_consent"),
    migration!("0008_notices"),
    migration!("0009_payments"),
    migration!("0010_turns"),
    migration!("0011_audit"),
    migration!("0012_secrets"),
    migration!("0013_retention"),
    migration!("0014_receipts"),
    migration!("0015_gates"),
    migration!("0016_last_look"),
    migration!("0017_look_ups"),
    migration!("0018_told_early"),
    migration!("0019_counts"),
    migration!("0020_runs_from"),
    migration!("0021_recipients_without_days", Some(7)),
    migration!("0022_where_it_stands"),
    migration!("0023_counts_refuse_nothing"),
    migration!("0024_waiting_by_phone"),
    migration!("0025_by_phone_alone"),
];

/// How many there are, all of which this binary knows: the version of the schema that they make.
#[allow(clippy::cast_possible_truncation, reason = "a number of files")]
pub(crate) const KNOWN: u32 = MIGRATIONS.len() as u32;

/// How long the migrations of a large ledger may take.
const MIGRATION_TIMEOUT: Duration = Duration::from_hours(1);

/// How long a migration waits for a table that somebody is reading, `pg_dump` for as long as it runs. Whoever comes meanwhile queues behind the
/// migration and waits as long, so it is short beside [`AGAIN`].
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '300ms'";
/// How long it does at every [`PATIENT_EVERY`]th try. PostgreSQL ends an autovacuum that is in the way, but only after `deadlock_timeout`, 1 s.
const PATIENT_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1500ms'";
/// See there.
const PATIENT_EVERY: u32 = 10;
/// The wait before the next try, of all processes together: those at work have the tables meanwhile.
const AGAIN: Duration = Duration::from_secs(3);
/// After how many tries the log says again that a migration waits.
const TOLD_EVERY: u32 = 20;
/// How long one migration is tried.
const GIVE_UP_AFTER: Duration = Duration::from_mins(10);

/// Brings the schema up to date under a lock: a new ledger in one transaction, one in use by a transaction each, so that none holds the locks of
/// many tables while others work.
pub(crate) async fn run(db: &Database) -> Result<(), LedgerError> {
    let (mut tries, mut since) = (0, Instant::now());
    loop {
        match db.write_once(MIGRATION_TIMEOUT, move |tx| Box::pin(migrate(tx, tries))).await {
            Ok(true) => return Ok(()),
            Ok(false) => (tries, since) = (0, Instant::now()),
            Err(error) if !error.asks_for_repeat() => return Err(error),
            Err(error) if since.elapsed() >= GIVE_UP_AFTER => return Err(LedgerError::HeldUp(Box::new(error))),
            Err(error) => {
                if tries % TOLD_EVERY == 0 {
                    let mend = "is a dump (pg_dump) or another long transaction running? it goes through once that has ended";
                    tracing::warn!(tries, ?error, mend, "ledger.migration_held_up");
                }
                tries += 1;
            }
        }
    }
}

/// Applies what comes next; true once nothing does. `tries` were in vain.
async fn migrate(tx: &mut Tx, tries: u32) -> Result<bool, LedgerError> {
    tx.wait_for(AdvisoryLock::Migration).await?;
    tx.script(
        "CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT",
    )
    .await?;
    let row = tx.fetch_one(sql!("SELECT COALESCE(MAX(version), 0) AS version FROM migrations"), vec![]).await?;
    let found = row.int("version")?;
    if tries > 0 && found < i64::from(KNOWN) {
        // With the lock of whose turn it is: many processes don't try more often than one.
        tokio::time::sleep(AGAIN).await;
    }
    let is_patient = tries % PATIENT_EVERY == PATIENT_EVERY - 1;
    tx.script(if is_patient { PATIENT_LOCK_TIMEOUT } else { LOCK_TIMEOUT }, "SELECT 1").await?;
    tx.read_whole_tables().await?;
    if found > i64::from(KNOWN) {
        standing(tx).await?.admit()?;
        tracing::info!(found, known = KNOWN, "ledger.newer: all that was added since leaves this binary what it needs");
    }
    let at_once = if found == 0 { MIGRATIONS.len() } else { 1 };
    let missing = (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found);
    for (version, migration) in missing.take(at_once) {
        apply(tx, version, migration).await?;
    }
    if found > 0 && found < i64::from(KNOWN) {
        return Ok(false);
    }
    crate::restored::note_where_it_stands(tx).await?;
    Ok(true)
}

async fn apply(tx: &mut Tx, version: i64, migration: &Migration) -> Result<(), LedgerError> {
    tx.script(migration.postgres, migration.sqlite).await?;
    if version == 1 {
        let now = chrono::Utc::now();
        tx.execute(sql!("INSERT INTO ledger (id, created_at) VALUES ($1, $2)"), values![new_id(), now]).await?;
    }
    let now = tx.now().await?;
    tx.execute(sql!("INSERT INTO migrations (version, applied_at) VALUES ($1, $2)"), values![version, now]).await?;
    if let Some(runs_from) = migration.runs_from {
        tx.execute(sql!("UPDATE migrations SET runs_from = $2 WHERE version = $1"), values![version, runs_from]).await?;
    }
    tracing::info!(version, "ledger.migrated");
    Ok(())
}

/// How far the database's schema is.
pub(crate) struct Standing {
    found: i64,
    runs_from: Option<i64>,
}

/// How far it is now. What a schema asks of binaries is read only of one that is newer: an older one asks for nothing that this binary lacks, and may
/// be from before `0020_runs_from`.
pub(crate) async fn standing(tx: &mut Tx) -> Result<Standing, LedgerError> {
    let found = tx.fetch_one(sql!("SELECT MAX(version) AS found FROM migrations"), vec![]).await?.int("found")?;
    let runs_from = if found > i64::from(KNOWN) {
        tx.fetch_one(sql!("SELECT MAX(runs_from) AS runs_from FROM migrations"), vec![]).await?.opt_int("runs_from")?
    } else {
        None
    };
    Ok(Standing { found, runs_from })
}

impl Standing {
    /// Whether this binary may run on it: [`LedgerError::Newer`] once a contraction asks for a newer one.
    pub(crate) fn admit(&self) -> Result<(), LedgerError> {
        let (found, known) = (self.found, i64::from(KNOWN));
        match self.runs_from {
            Some(runs_from) if runs_from > known => Err(LedgerError::Newer { found, runs_from, known }),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether this binary knows more than there is.
    pub(crate) fn is_older(&self) -> bool {
        self.found < i64::from(KNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The number of the migration from which on binaries know the rule.
    fn ruled_from() -> usize {
        1 + MIGRATIONS.iter().position(|migration| migration.sqlite.contains("ADD COLUMN runs_from")).expect("it is in the list")
    }

    /// The statements of a script that an older binary may trip over. An addition is none: a table, a column that may be left out, an index that
    /// refuses nothing on a table that was there.
    fn takes_away(script: &str) -> Vec<String> {
        let code: Vec<&str> = script.lines().map(|line| line.split("--").next().unwrap_or(line)).collect();
        let code =
            ["(", ")", ","].iter().fold(code.join(" ").to_uppercase(), |code, sign| code.replace(sign, &format!(" {sign} ")));
        let statements: Vec<Vec<&str>> = code.split(';').map(|text| text.split_whitespace().collect()).collect();
        let made = |what: &str, name: &str| statements.iter().any(|words| words.starts_with(&["CREATE", what, name]));
        statements.iter().filter(|words| !adds(words, &made)).map(|words| words.join(" ")).collect()
    }

    /// Whether one statement only adds; `made`: whether the script makes a table, or an index, of that name itself.
    fn adds(words: &[&str], made: &dyn Fn(&str, &str) -> bool) -> bool {
        keeps_nobody_from_deleting(words, made)
            && match words {
                []
                | ["CREATE", "TABLE" | "INDEX", ..]
                | ["SELECT", "SET_CONFIG", ..]
                | ["ALTER", "FUNCTION", .., "SET", "SEARCH_PATH", "FROM", "CURRENT"] => true,
                // What a table has that is made anew, another test compares.
                ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..] | ["INSERT", "INTO", table, ..] | ["DROP", "TABLE", table] => {
                    made("TABLE", table)
                }
                ["DROP", "INDEX", index] => made("INDEX", index),
                ["ALTER", "TABLE", _, actions @ ..] => parts(actions).iter().all(|action| adds_what_may_be_left_out(action)),
                _ => false,
            }
    }

    /// What commas part that stand in no parentheses.
    fn parts<'a>(words: &'a [&'a str]) -> Vec<&'a [&'a str]> {
        let mut depth = 0;
        let is_comma = |word: &&str| {
            depth += i32::from(*word == "(") - i32::from(*word == ")");
            *word == "," && depth == 0
        };
        words.split(is_comma).collect()
    }

    /// An old binary that deletes a row knows nothing of those that refer to it.
    fn keeps_nobody_from_deleting(words: &[&str], made: &dyn Fn(&str, &str) -> bool) -> bool {
        (0..words.len()).filter(|at| words[*at] == "REFERENCES").all(|at| {
            let clause = parts(&words[at..])[0];
            let goes_along = |words: &[&str]| matches!(words, ["ON", "DELETE", "CASCADE" | "SET"]);
            clause.get(1).is_some_and(|table| made("TABLE", table)) || clause.windows(3).any(goes_along)
        })
    }

    /// An old binary writes rows without the column, and more than one of them.
    fn adds_what_may_be_left_out(action: &[&str]) -> bool {
        let is_default = |words: &[&str]| words[1] == "DEFAULT" && words[0] != "SET" && words[2] != "NULL";
        let mut depth = 0;
        let outside: Vec<&str> = action
            .iter()
            .filter(|word| {
                depth += i32::from(**word == "(") - i32::from(**word == ")");
                depth == 0
            })
            .copied()
            .collect();
        let may_be_null = !action.windows(2).any(|words| words == ["NOT", "NULL"]);
        action.starts_with(&["ADD", "COLUMN"])
            && (may_be_null || outside.windows(3).any(is_default))
            && !action.iter().any(|word| matches!(*word, "UNIQUE" | "PRIMARY"))
    }

    /// The promise to whoever has to take a release back: what isn't an addition says so in the list.
    #[test]
    fn an_expansion_only_adds_on_both_databases() {
        for (version, migration) in (1..).zip(MIGRATIONS).skip(ruled_from() - 1) {
            let taken = [migration.postgres, migration.sqlite].map(takes_away).concat();
            let is_expansion = migration.runs_from.is_none();
            assert_eq!(taken.is_empty(), is_expansion, "migration {version}: {taken:?}");
        }
        for (script, number) in [
            ("CREATE TABLE a (b TEXT NOT NULL); CREATE UNIQUE INDEX i ON a (b); ALTER TABLE c ADD COLUMN d TEXT;", 0),
            ("ALTER TABLE c ADD COLUMN d BIGINT NOT NULL DEFAULT 0; -- DROP TABLE c;\nCREATE INDEX i ON c (d)", 0),
            ("ALTER TABLE c ADD COLUMN d BIGINT NOT NULL", 1),
            ("CREATE UNIQUE INDEX i ON c (d); ALTER TABLE c DROP COLUMN e; UPDATE c SET d = 1; INSERT INTO c (d) VALUES (1)", 4),
            ("ALTER TABLE c ADD COLUMN a TEXT, DROP COLUMN b", 1),
            ("ALTER TABLE c ADD COLUMN a TEXT, ADD COLUMN b BIGINT CHECK (b IN (1, 2))", 0),
            ("ALTER TABLE c ADD COLUMN a TEXT NOT NULL, ADD COLUMN b TEXT DEFAULT 'x'", 1),
            ("ALTER TABLE c ADD COLUMN a TEXT NOT NULL DEFAULT NULL CHECK (a <> 'DEFAULT')", 1),
            ("ALTER TABLE c ADD COLUMN a TEXT NOT NULL CHECK (coalesce(a, DEFAULT, 'x') <> '')", 1),
            ("CREATE TABLE d (e TEXT); ALTER TABLE c ADD COLUMN a TEXT NOT NULL REFERENCES d ON DELETE SET DEFAULT ", 1),
            ("ALTER TABLE c ADD COLUMN a TEXT UNIQUE; ALTER TABLE c ADD COLUMN b TEXT NOT NULL DEFAULT '' PRIMARY KEY", 2),
            ("CREATE TABLE a (b UUID REFERENCES c (id), d TEXT); ALTER TABLE c ADD COLUMN e UUID REFERENCES f (id)", 2),
            ("CREATE TABLE a (b UUID REFERENCES c ON DELETE RESTRICT, e UUID REFERENCES c (id) ON DELETE CASCADE)", 1),
            ("CREATE TABLE a (b UUID REFERENCES c (id, d) ON DELETE CASCADE, e UUID REFERENCES a)", 0),
            ("ALTER FUNCTION f() SET search_path FROM CURRENT", 0),
            ("ALTER FUNCTION f() RENAME TO g; DROP TABLE c", 2),
            ("CREATE TABLE a (b TEXT); DROP TABLE c; CREATE TABLE c (b TEXT); INSERT INTO c SELECT b FROM a; DROP TABLE a", 0),
            ("DROP INDEX i; CREATE INDEX i ON c (d) WHERE e IS NOT NULL; DROP INDEX j; CREATE UNIQUE INDEX j ON c (d)", 2),
            ("ALTER TABLE c RENAME TO d; ALTER TABLE c ADD CONSTRAINT e CHECK (d > 0); DROP INDEX i; CREATE TRIGGER t ON c", 4),
        ] {
            assert_eq!(takes_away(script).len(), number, "{script}");
        }
    }

    #[test]
    fn a_contraction_asks_for_a_binary_of_before_it() {
        for (version, migration) in (1..).zip(MIGRATIONS) {
            let is_earlier =
                |runs_from| (1..version).contains(&runs_from) && version > i64::try_from(ruled_from()).unwrap_or(i64::MAX);
            assert!(migration.runs_from.is_none_or(is_earlier), "migration {version}");
        }
    }

    /// A new file without a schema; the folder goes with the first of the two.
    async fn new_file() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("regua.db").display());
        let db = Database::open(&url).await.expect("a new file");
        db.write(|tx| {
            Box::pin(tx.script("", "CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT"))
        })
        .await
        .expect("the first table");
        (folder, db)
    }

    /// Every column with what it must hold, every index and trigger.
    async fn schema_of(db: &Database) -> BTreeSet<String> {
        let all = sql!(
            "SELECT m.type || ' ' || m.name || COALESCE(' ' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || COALESCE(c.dflt_value, '-') || ' ' || c.pk, '') AS part
             FROM sqlite_master m LEFT JOIN pragma_table_info(m.name) c ON m.type = 'table' WHERE m.name NOT LIKE 'sqlite_%'"
        );
        let rows = db.read().await.expect("a reader").fetch(all, vec![]).await.expect("a schema");
        rows.iter().map(|row| row.text("part").expect("a text")).collect()
    }

    #[tokio::test]
    async fn an_expansion_leaves_every_column_index_and_trigger_that_was_there() {
        let (_folder, db) = new_file().await;
        let mut before = schema_of(&db).await;
        for (version, migration) in (1..).zip(MIGRATIONS) {
            db.write(|tx| Box::pin(tx.script("", migration.sqlite))).await.expect("it is applied");
            let after = schema_of(&db).await;
            let gone: Vec<_> = before.difference(&after).collect();
            if version >= ruled_from() {
                assert_eq!(gone.is_empty(), migration.runs_from.is_none(), "migration {version}: {gone:?}");
            }
            before = after;
        }
    }

    /// The number of the migration that makes SQLite's table of integrations anew.
    const SECRETS: usize = 12;

    #[tokio::test]
    async fn integrations_that_channels_and_notices_refer_to_come_through_the_migration_whole() {
        let (_folder, db) = new_file().await;
        db.write(|tx| Box::pin(before(tx))).await.expect("the schema before");
        run(&db).await.expect("it migrates");
        let mut tx = db.read().await.expect("a reader");
        let row = tx.fetch_one(sql!("SELECT * FROM integrations"), vec![]).await.expect("it is there");
        let read = ["id", "name", "description", "token_kind", "token_ref"].map(|column| row.text(column).expect("a text"));
        assert_eq!(read, ["i", "Matriz", "d", "env", "OPA"]);
        assert_eq!((row.int("released_through_at").ok(), row.flag("enabled").ok()), (Some(7), Some(false)));
        assert!(tx.fetch(sql!("PRAGMA foreign_key_check"), vec![]).await.expect("a check").is_empty());
        let orphaned = db.write(|tx| Box::pin(tx.execute(sql!("DELETE FROM integrations"), vec![]))).await;
        assert!(orphaned.is_err_and(|error| error.is_violation()), "channels still refer to it");
    }

    /// The schema before, with an integration in use.
    async fn before(tx: &mut Tx) -> Result<(), LedgerError> {
        for migration in &MIGRATIONS[..SECRETS - 1] {
            tx.script("", migration.sqlite).await?;
        }
        tx.script(
            "",
            "INSERT INTO ledger (id, created_at) VALUES ('018f0000-0000-7000-8000-000000000001', 0);
             INSERT INTO migrations (version, applied_at) VALUES (11, 0);
             INSERT INTO businesses (id, name) VALUES ('b', 'Provedor');
             INSERT INTO integrations (id, name, description, gateway, url, token_kind, token_ref, is_default, release,
                released_through_at, enabled) VALUES ('i', 'Matriz', 'd', 'opa-suite', 'https://x', 'env', 'OPA', 1, 'on-task', 7, 0);
             INSERT INTO channels (id, name, integration_id, provider_id, business_id) VALUES ('c', 'Cobranca', 'i', 'p', 'b');",
        )
        .await
    }
}
