//! Holds a process at an exact point of a transaction, from outside: triggers in the world's own database wait for a lock that the harness has.
//!
//! No test's code is in the product. A connection says whose it is (`chaos.place`, of the database URL); while a row of `chaos_barriers` names its
//! place and the point, a trigger there waits for an advisory lock. A point *before* the commit is an ordinary trigger: who is killed there
//! rolls back. A point *at* the commit is a deferred one: the server is committing, will commit once the lock is free, and only the answer
//! is still to come. Whoever is suspended then has committed and doesn't know it yet.

use crate::crew::Place;
use regua_e2e::Database;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use std::time::{Duration, Instant};

/// Before what the ledger gives up: it waits for a lock for 5 s.
const REACHED_WITHIN: Duration = Duration::from_millis(3500);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The first key of the advisory locks; a place's number is added.
const KEY: i64 = 777_000;

const SCHEMA: &str = "
CREATE TABLE chaos_barriers (point TEXT NOT NULL, place INT NOT NULL);
CREATE FUNCTION chaos_wait() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE here INT := NULLIF(current_setting('chaos.place', true), '');
BEGIN
    IF EXISTS (SELECT 1 FROM chaos_barriers WHERE point = TG_ARGV[0] AND place = here) THEN
        PERFORM pg_advisory_xact_lock_shared(777000 + here);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_inserting BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION chaos_wait('inserting');
CREATE CONSTRAINT TRIGGER chaos_marked AFTER UPDATE OF state ON messages DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'queued') EXECUTE FUNCTION chaos_wait('marked');
CREATE CONSTRAINT TRIGGER chaos_started AFTER INSERT ON attempts DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION chaos_wait('started');
CREATE TRIGGER chaos_finishing BEFORE UPDATE OF outcome ON attempts
    FOR EACH ROW WHEN (NEW.outcome = 'sent') EXECUTE FUNCTION chaos_wait('finishing');
CREATE CONSTRAINT TRIGGER chaos_finished AFTER UPDATE OF outcome ON attempts DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.outcome = 'sent') EXECUTE FUNCTION chaos_wait('finished');
";

/// Where a process can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// An evaluator is inserting a batch, which is not committed.
    Inserting,
    /// A top-up's marks are being committed; nothing is published.
    Marked,
    /// A start is being committed; no request was made.
    Started,
    /// The provider has answered; the finish is not committed.
    Finishing,
    /// A finish is being committed; its hint isn't acked.
    Finished,
}

impl Point {
    const fn name(self) -> &'static str {
        match self {
            Self::Inserting => "inserting",
            Self::Marked => "marked",
            Self::Started => "started",
            Self::Finishing => "finishing",
            Self::Finished => "finished",
        }
    }
}

/// Writes the triggers into a ledger that exists.
pub async fn install(database: &Database) {
    database.execute(SCHEMA).await;
}

/// Who stands before a barrier.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The process.
    pub place: Place,
    backend: i32,
}

impl Held {
    /// Whether the server is through with what was held: its commit is done.
    pub async fn is_through(self, database: &Database) -> bool {
        database.count(&format!("pg_stat_activity WHERE pid = {} AND state = 'active'", self.backend)).await == 0
    }
}

/// A barrier that is up. Dropped without [`Barrier::lower`], its connection ends and with it the locks.
pub struct Barrier {
    database: Database,
    holder: PgConnection,
}

impl Barrier {
    /// Raises it for these places.
    pub async fn raise(database: &Database, point: Point, places: &[Place]) -> Self {
        let mut holder = PgConnection::connect(&database.url).await.expect("the database is up while a barrier is raised");
        for place in places {
            let lock = format!("SELECT pg_advisory_lock({})", key(*place));
            sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut holder).await.expect("nobody else takes these locks");
        }
        let rows: Vec<String> = places.iter().map(|place| format!("('{}', {})", point.name(), place.number())).collect();
        database.execute(&format!("INSERT INTO chaos_barriers VALUES {}", rows.join(", "))).await;
        Self { database: database.clone(), holder }
    }

    /// Waits until somebody stands before it; `None` if nobody came in time.
    pub async fn reached(&self) -> Option<Held> {
        let waiting =
            "SELECT CAST(objid AS TEXT), CAST(pid AS TEXT) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted LIMIT 1";
        let began = Instant::now();
        while began.elapsed() < REACHED_WITHIN {
            if let Some(row) = self.database.texts(waiting).await.first() {
                let number = row[0].parse::<i64>().ok()? - KEY;
                return Some(Held { place: Place::numbered(usize::try_from(number).ok()?)?, backend: row[1].parse().ok()? });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        None
    }

    /// Lets everybody pass, and nobody wait any more.
    pub async fn lower(self) {
        self.database.execute("DELETE FROM chaos_barriers").await;
        self.holder.close().await.expect("the database is up while a barrier is lowered");
    }
}

fn key(place: Place) -> i64 {
    KEY + i64::try_from(place.number()).expect("a small number")
}
