//! The ledger: whether it can be reached and written to, its schema, and whether its database keeps what it commits.

use super::{Finding, Told, bounded};
use crate::lock::sqlite_path;
use regua_ledger::inspection::{Engine, Inspection, PostgresFacts, SCHEMA, SqliteFacts};
use regua_ledger::{Ledger, LedgerError};
use regua_telemetry::config::ServiceConfig;
use regua_telemetry::logging::Chain;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long each look at the ledger may take.
const WITHIN: Duration = Duration::from_secs(8);
/// How long SQLite may read its file.
const INTEGRITY_WITHIN: Duration = Duration::from_secs(30);
/// A commit that takes longer delays every start.
const WRITE_SLOW: Duration = Duration::from_millis(150);
/// The oldest PostgreSQL that is supported: 15.
const POSTGRES_MIN: u32 = 15_00_00;
/// The connections of scheduler, billing-evaluator, dispatcher, console and a command line, ten each.
const CONNECTIONS_NEEDED: u64 = 50;
/// What one process more would need.
const CONNECTIONS_SPARE: u64 = 10;
/// Less free disk than this is a problem.
const DISK_MIN: u64 = 200 << 20;
/// How PRAGMA says `synchronous = FULL`.
const SYNCHRONOUS_FULL: u64 = 2;
/// What a dump that was put back is told under.
const PLACE: &str = "where the ledger stands";

/// A ledger that can be looked into.
pub struct Reached {
    /// It.
    pub ledger: Ledger,
    /// What was seen.
    pub findings: Vec<Finding>,
    /// Whether its schema is this version's: else nothing in it can be read.
    pub is_readable: bool,
}

/// Opens the ledger as it is: no file is made, no schema brought up to date.
///
/// # Errors
/// The finding that says why it can't be.
pub async fn reach(config: &ServiceConfig) -> Result<Reached, Box<Finding>> {
    let url = config.database_url.expose();
    let file = sqlite_path(url);
    if let Some(path) = file.as_ref().filter(|path| !path.exists()) {
        let result = format!("there is no {} yet", path.display());
        return Err(Box::new(Finding::bad("ledger", result, "`regua config apply FILE`, or `regua up`, makes it")));
    }
    let opened = async {
        let ledger = Ledger::open(url).await?;
        ledger.reach().await?;
        let inspection = ledger.inspect().await?;
        Ok::<_, LedgerError>((ledger, inspection))
    };
    let unreached = |why: String| {
        let mend = "check REGUA_DATABASE_URL (host, port, user, password, database), and that the database runs";
        Box::new(Finding::bad("ledger", format!("{} can't be read: {why}", config.database_url), mend))
    };
    let (ledger, inspection) = match tokio::time::timeout(WITHIN, opened).await {
        Err(_) => return Err(unreached(format!("no answer within {} s", WITHIN.as_secs()))),
        Ok(Err(error)) => return Err(unreached(Chain(&error).to_string())),
        Ok(Ok(opened)) => opened,
    };
    let schema = check_schema(inspection.schema);
    let is_readable = inspection.schema == SCHEMA;
    let mut findings = vec![schema];
    findings.extend(check_engine(&inspection));
    if is_readable {
        findings.extend(bounded(PLACE, WITHIN, check_place(&ledger)).await);
        findings.push(check_write(&ledger).await);
    }
    if let Some(path) = file {
        findings.push(check_integrity(&ledger).await);
        findings.extend(check_disk(&path));
    }
    Ok(Reached { ledger, findings, is_readable })
}

fn check_schema(found: u32) -> Finding {
    let told = |text: &str| Told::ours(format!("reached; {text}"));
    match found {
        SCHEMA => Finding::good("ledger", told(&format!("schema {found}"))),
        0 => Finding::bad("ledger", told("it has no schema yet"), "`regua config apply FILE`, or any service, makes it"),
        found if found < SCHEMA => {
            let result = told(&format!("its schema is {found}, this version's is {SCHEMA}"));
            let mend = "start the services of this version, the first one brings the schema up to date; if a backup was put back, first say \
                        what was lost: `regua restored --lost-since T`";
            Finding::bad("ledger", result, mend)
        }
        found => {
            let result = told(&format!("its schema is {found}, newer than this version's {SCHEMA}"));
            Finding::bad("ledger", result, "install the version of Régua that was here before, or a newer one")
        }
    }
}

fn check_engine(inspection: &Inspection) -> Vec<Finding> {
    match &inspection.engine {
        Engine::Postgres(facts) => check_postgres(facts),
        Engine::Sqlite(facts) => vec![check_sqlite(facts)],
    }
}

fn check_postgres(facts: &PostgresFacts) -> Vec<Finding> {
    let (major, minor) = (facts.version / 10_000, facts.version % 10_000);
    let version = Told::ours(format!("version {major}.{minor}, {} MiB", facts.bytes >> 20));
    let server = if facts.version < POSTGRES_MIN {
        Finding::bad("PostgreSQL", version, "upgrade it: Régua needs 15 or newer")
    } else if facts.in_recovery {
        Finding::bad("PostgreSQL", "it is a standby, which takes no writes", "let REGUA_DATABASE_URL name the primary")
    } else {
        Finding::good("PostgreSQL", version)
    };
    vec![server, check_durability(facts), check_connections(facts), check_bounds(facts)]
}

/// What a committed start must survive: a lost one is sent again.
fn check_durability(facts: &PostgresFacts) -> Finding {
    let lossy: Vec<_> = [
        (!facts.fsync).then_some("fsync is off"),
        (!facts.full_page_writes).then_some("full_page_writes is off"),
        (facts.synchronous_commit == "off").then_some("synchronous_commit is off"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !lossy.is_empty() {
        let mend = "switch it on for this database: after a power failure a message whose start was lost is sent a second time";
        return Finding::bad("durability", Told::ours(lossy.join(", ")), mend);
    }
    if facts.has_synchronous_standby && matches!(facts.synchronous_commit.as_str(), "local" | "remote_write") {
        let mend =
            "set synchronous_commit to on or remote_apply: else a fail-over may lose commits, and `regua restored` is called for";
        return Finding::warning("durability", "commits don't wait until the synchronous standby has them on disk", mend);
    }
    Finding::good("durability", "what is committed stays")
}

fn check_connections(facts: &PostgresFacts) -> Finding {
    let (used, max) = (facts.connections_used, facts.connections_max);
    let result = Told::ours(format!("{used} of {max} in use"));
    if max < CONNECTIONS_NEEDED {
        let mend = "raise max_connections to 60 or more: each process of Régua opens up to ten";
        return Finding::warning("connections", result, mend);
    }
    if max.saturating_sub(used) < CONNECTIONS_SPARE {
        let mend = "raise max_connections, or end clients that aren't needed: one process more of Régua opens up to ten";
        return Finding::warning("connections", result, mend);
    }
    Finding::good("connections", result)
}

fn check_bounds(facts: &PostgresFacts) -> Finding {
    if facts.lost_bounds.is_empty() {
        return Finding::good("time-outs", "statement, lock and idle time-outs hold");
    }
    let result = Told::ours(format!("{} don't hold as asked for", facts.lost_bounds.join(", ")));
    let mend = "a pooler in between drops them: connect to PostgreSQL itself, or let it pool whole sessions";
    Finding::warning("time-outs", result, mend)
}

fn check_sqlite(facts: &SqliteFacts) -> Finding {
    let result = Told::ours(format!(
        "version {}, journal {}, synchronous {}, {} MiB",
        facts.version,
        facts.journal_mode,
        facts.synchronous,
        facts.bytes >> 20
    ));
    if facts.journal_mode == "wal" && facts.synchronous >= SYNCHRONOUS_FULL {
        Finding::good("SQLite", result)
    } else {
        Finding::bad("SQLite", result, "keep the file on a local disk: on this one SQLite can't have WAL and FULL")
    }
}

/// While no service has run on a dump that was put back, there is no stop yet that would tell of it.
async fn check_place(ledger: &Ledger) -> anyhow::Result<Vec<Finding>> {
    let result = "in another database than before: was a backup put back?";
    let mend =
        "before anything is started: `regua restored --lost-since T`; `--nothing-lost` if nothing ran since the dump was begun";
    Ok(if ledger.stands_elsewhere().await? { vec![Finding::bad(PLACE, result, mend)] } else { Vec::new() })
}

async fn check_write(ledger: &Ledger) -> Finding {
    let begun = Instant::now();
    let written = tokio::time::timeout(WITHIN, ledger.write_nothing()).await;
    let took = begun.elapsed();
    match written {
        Err(_) => {
            Finding::bad("writes", "no write ends within 8 s", "see what holds the database: a lock, a full disk, a lost standby")
        }
        Ok(Err(error)) => {
            Finding::bad("writes", Chain(&error).to_string(), "let this user write to the ledger's tables, and see to the disk")
        }
        Ok(Ok(())) if took > WRITE_SLOW => {
            let result = Told::ours(format!("a commit took {} ms", took.as_millis()));
            Finding::warning(
                "writes",
                result,
                "dispatchers slow down and hold back when commits take so long: see to the disk and the way to it",
            )
        }
        Ok(Ok(())) => Finding::good("writes", Told::ours(format!("a commit took {} ms", took.as_millis()))),
    }
}

async fn check_integrity(ledger: &Ledger) -> Finding {
    match tokio::time::timeout(INTEGRITY_WITHIN, ledger.quick_check()).await {
        Err(_) => {
            let look = "run `sqlite3 regua.db 'PRAGMA quick_check'` on a copy when there is time";
            Finding::warning("integrity", "the file is too large to be looked through within 30 s", look)
        }
        Ok(Err(error)) => Finding::bad("integrity", Chain(&error).to_string(), "restore a backup, then `regua restored`"),
        Ok(Ok(Some(said))) => Finding::bad("integrity", said, "restore a backup, then `regua restored`"),
        Ok(Ok(None)) => Finding::good("integrity", "SQLite finds its file whole"),
    }
}

fn check_disk(path: &Path) -> Option<Finding> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned);
    let disk = rustix::fs::statvfs(&folder).ok()?;
    Some(grade_disk(disk.f_bavail.saturating_mul(disk.f_frsize), std::fs::metadata(path).map_or(0, |file| file.len())))
}

fn grade_disk(free: u64, used: u64) -> Finding {
    let result = Told::ours(format!("{} MiB free beside the ledger's {} MiB", free >> 20, used >> 20));
    if free < DISK_MIN {
        return Finding::bad("disk", result, "make room: without it nothing is written, and so nothing is sent");
    }
    if free < used {
        return Finding::warning("disk", result, "make room for a copy of the ledger's file: a backup and VACUUM need one");
    }
    Finding::good("disk", result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Grade;

    fn server() -> PostgresFacts {
        PostgresFacts {
            version: 15_00_04,
            in_recovery: false,
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".into(),
            has_synchronous_standby: false,
            connections_max: 97,
            connections_used: 12,
            lost_bounds: Vec::new(),
            bytes: 0,
        }
    }

    /// The grades of server, durability, connections and time-outs.
    #[track_caller]
    fn check(change: impl FnOnce(&mut PostgresFacts), grades: [Grade; 4]) {
        let mut facts = server();
        change(&mut facts);
        let findings = check_postgres(&facts);
        assert_eq!(findings.iter().map(|finding| finding.grade).collect::<Vec<_>>(), grades, "{findings:?}");
        assert!(findings.iter().all(|finding| finding.result.for_support().is_some()), "settings may be told");
    }

    #[test]
    fn each_setting_of_postgresql_that_can_lose_or_refuse_work_is_told() {
        use Grade::{Ok, Problem, Warning};
        check(|_| {}, [Ok; 4]);
        check(|facts| facts.version = 14_00_12, [Problem, Ok, Ok, Ok]);
        check(|facts| facts.in_recovery = true, [Problem, Ok, Ok, Ok]);
        check(|facts| facts.fsync = false, [Ok, Problem, Ok, Ok]);
        check(|facts| facts.full_page_writes = false, [Ok, Problem, Ok, Ok]);
        check(|facts| facts.synchronous_commit = "off".into(), [Ok, Problem, Ok, Ok]);
        check(|facts| facts.synchronous_commit = "local".into(), [Ok; 4]);
        check(|facts| (facts.synchronous_commit, facts.has_synchronous_standby) = ("local".into(), true), [Ok, Warning, Ok, Ok]);
        check(|facts| facts.connections_max = 20, [Ok, Ok, Warning, Ok]);
        check(|facts| facts.connections_used = 90, [Ok, Ok, Warning, Ok]);
        check(|facts| facts.lost_bounds = vec!["lock_timeout"], [Ok, Ok, Ok, Warning]);
    }

    #[test]
    fn a_schema_of_another_version_a_file_without_wal_and_a_full_disk_are_problems() {
        assert_eq!(check_schema(SCHEMA).grade, Grade::Ok);
        for found in [0, SCHEMA - 1, SCHEMA + 1] {
            assert_eq!(check_schema(found).grade, Grade::Problem, "{found}");
        }
        let facts = |journal_mode: &str, synchronous| {
            check_sqlite(&SqliteFacts { version: "3.46".into(), journal_mode: journal_mode.into(), synchronous, bytes: 0 }).grade
        };
        assert_eq!([facts("wal", 2), facts("delete", 2), facts("wal", 1)], [Grade::Ok, Grade::Problem, Grade::Problem]);
        let disk = |free: u64, used: u64| grade_disk(free << 20, used << 20).grade;
        assert_eq!([disk(1000, 10), disk(1000, 1001), disk(100, 10)], [Grade::Ok, Grade::Warning, Grade::Problem]);
    }
}
