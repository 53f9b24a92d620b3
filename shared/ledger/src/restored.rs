//! A backup was put back: how the ledger notices, what a person says about it, and the doubt that it leaves.

use crate::audit::{self, Entry};
use crate::database::Tx;
use crate::error::LedgerError;
use crate::migrations::{self, Standing};
use crate::stops::{self, NewStop};
use crate::{Ledger, new_id};
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::audit::Action;
use regua_domain::stop::{BY_LEDGER, StopScope};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// The period that a restored backup knows nothing of: its stages may have been sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LostPeriod {
    /// The first day of it, for the record: whatever is still due was due, or became so, in it.
    pub since_on: NaiveDate,
    /// The last: the day of the restoration.
    pub until_on: NaiveDate,
    /// An id of then: what the ledger doesn't have and is older was lost with the backup, as has been said.
    #[serde(default)]
    pub ids_before: Option<Uuid>,
}

impl LostPeriod {
    /// Whether a message that is decided now, for a stage of that day, may have been sent in the period. What is due still, after the
    /// restoration, was due in the lost time unless its day came later: closed days may put the end of a stage off for weeks.
    pub fn may_have_sent(self, stage_day: NaiveDate) -> bool {
        stage_day <= self.until_on
    }

    /// Whether the restoration explains that the ledger doesn't have what bears this id: ids ascend with time.
    pub fn explains(self, id: Uuid) -> bool {
        self.ids_before.is_some_and(|before| id < before)
    }
}

pub(crate) async fn lost_period(tx: &mut Tx) -> Result<Option<LostPeriod>, LedgerError> {
    let row = tx.fetch_optional(sql!("SELECT value FROM settings WHERE name = 'lost_period'"), vec![]).await?;
    row.map(|row| row.json("value")).transpose()
}

impl Ledger {
    /// Says that a backup was restored and that nothing since `lost_since` is known. Every live message, and every message
    /// written later for a stage that was due in the lost time, counts as doubtful; the stop that the restoration caused is lifted.
    ///
    /// How many messages are in doubt now because of it.
    pub async fn restored(&self, lost_since: DateTime<Utc>, by: String) -> Result<u64, LedgerError> {
        let who = by.clone();
        self.db
            .write(move |tx| {
                let by = who.clone();
                Box::pin(async move { note_lost_period(tx, lost_since, &by).await })
            })
            .await?;
        let mut doubtful = 0;
        loop {
            let swept = self.db.write(|tx| Box::pin(doubt_live_messages(tx))).await?;
            doubtful += swept;
            if swept == 0 {
                break;
            }
        }
        self.db.write(move |tx| Box::pin(lift(tx, by.clone()))).await?;
        Ok(doubtful)
    }

    /// Says that the ledger was moved to where it stands now with everything that was in it: nothing was sent since that it doesn't know.
    pub async fn moved_whole(&self, by: String) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let by = by.clone();
                Box::pin(async move {
                    let (now, became) = (tx.now().await?, Some(json!({ "lost": "nothing" })));
                    let entry = Entry { by: &by, action: Action::Restored, target: "", why: None, was: None, became };
                    audit::note(tx, entry, now).await?;
                    lift(tx, by).await
                })
            })
            .await
    }

    /// Whether the ledger stands somewhere else than when it was last asked, and nobody has said why: its dump was put back, into whichever
    /// database. SQLite can't tell, and PostgreSQL not of a copy of its files.
    ///
    /// # Errors
    /// [`LedgerError::Newer`] when a newer Régua has taken away from the schema what this one needs, since [`Ledger::migrate`].
    pub async fn stands_elsewhere(&self) -> Result<bool, LedgerError> {
        let mut tx = self.db.read().await?;
        let schema = migrations::standing(&mut tx).await?;
        schema.admit()?;
        stands_elsewhere(&mut tx, &schema).await
    }

    /// Raises `stop` if the ledger stands elsewhere; true if it is new. Whoever says what was lost writes the same row first, so that what was
    /// answered is not raised again.
    pub async fn stop_if_elsewhere(&self, stop: NewStop) -> Result<bool, LedgerError> {
        self.db
            .write(move |tx| {
                let stop = stop.clone();
                Box::pin(async move {
                    tx.lock(sql!("SELECT id FROM ledger", for_update), vec![]).await?;
                    let schema = migrations::standing(tx).await?;
                    if !stands_elsewhere(tx, &schema).await? {
                        return Ok(false);
                    }
                    let now = tx.now().await?;
                    stops::raise(tx, &stop, now).await
                })
            })
            .await
    }
}

/// Where a ledger stands: a dump or a copy that is put in its place stands elsewhere.
struct Place {
    /// The server's cluster; empty where the ledger's role may not ask for it.
    server: String,
    /// The database and the ledger's own table in it.
    table: String,
}

impl Place {
    /// Where it stands now, and what was noted of that before. `None` on SQLite: a file doesn't know.
    async fn find(tx: &mut Tx) -> Result<Option<(Self, Option<String>)>, LedgerError> {
        if matches!(tx, Tx::Sqlite(_)) {
            return Ok(None);
        }
        let row = tx
            .fetch_one(
                sql!(
                    "SELECT stands_in, has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS may_ask,
                            CAST(d.oid AS TEXT) || '/' || CAST(CAST(CAST('ledger' AS regclass) AS oid) AS TEXT) AS of_table
                     FROM ledger, pg_database d WHERE d.datname = current_database()"
                ),
                vec![],
            )
            .await?;
        // In a statement of its own: naming the function is refused where calling it is.
        let server = if row.flag("may_ask")? {
            let asked = sql!("SELECT CAST(system_identifier AS TEXT) AS server FROM pg_control_system()");
            tx.fetch_one(asked, vec![]).await?.text("server")?
        } else {
            String::new()
        };
        Ok(Some((Self { server, table: row.text("of_table")? }, row.opt_text("stands_in")?)))
    }

    /// As it is noted.
    fn noted(&self) -> String {
        format!("{}/{}", self.server, self.table)
    }

    /// Whether what was noted is another place. A server that isn't known of one of them is no difference.
    fn is_another(&self, noted: &str) -> bool {
        let (server, table) = noted.split_once('/').unwrap_or(("", noted));
        table != self.table || (server != self.server && !server.is_empty() && !self.server.is_empty())
    }
}

/// This binary has brought the schema to where it knows it: one that is older now is a dump's.
async fn stands_elsewhere(tx: &mut Tx, schema: &Standing) -> Result<bool, LedgerError> {
    if schema.is_older() {
        return Ok(true);
    }
    let found = Place::find(tx).await?;
    Ok(found.is_some_and(|(place, noted)| noted.is_some_and(|noted| place.is_another(&noted))))
}

/// Remembers where the ledger stands, the first time that a binary looks, or the first time that one may ask for the server.
pub(crate) async fn note_where_it_stands(tx: &mut Tx) -> Result<(), LedgerError> {
    if let Some((place, noted)) = Place::find(tx).await? {
        let is_new = noted.is_none_or(|noted| noted.starts_with('/') && noted != place.noted() && !place.is_another(&noted));
        if is_new {
            note(tx, &place).await?;
        }
    }
    Ok(())
}

async fn note(tx: &mut Tx, place: &Place) -> Result<(), LedgerError> {
    tx.execute(sql!("UPDATE ledger SET stands_in = $1"), values![place.noted()]).await?;
    Ok(())
}

/// Writes down what is lost, and holds everything while the messages are gone through. Batches that are being committed come first, for they
/// don't know of it: the messages that they write are gone through too.
async fn note_lost_period(tx: &mut Tx, lost_since: DateTime<Utc>, by: &str) -> Result<(), LedgerError> {
    tx.lock(sql!("SELECT id FROM sources ORDER BY id", for_update), vec![]).await?;
    let now = tx.now().await?;
    if lost_since > now {
        return Err(LedgerError::Refused(format!("--lost-since {lost_since} lies in the future: the ledger's clock says {now}")));
    }
    let settings = crate::settings::load(tx).await?;
    let (since_on, until_on) = (settings.times().date_at(lost_since), settings.times().date_at(now));
    // A second restoration loses no less than the first.
    let since_on = lost_period(tx).await?.map_or(since_on, |known| known.since_on.min(since_on));
    let text = serde_json::to_string(&LostPeriod { since_on, until_on, ids_before: Some(new_id()) })
        .map_err(|_| LedgerError::unreadable("settings", "a period that is no JSON"))?;
    tx.execute(
        sql!("INSERT INTO settings (name, value) VALUES ('lost_period', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value"),
        values![text],
    )
    .await?;
    let stop = NewStop {
        scope: StopScope::Everything,
        target: String::new(),
        raised_by: BY_LEDGER.into(),
        why: "a backup was restored".into(),
        until_at: None,
    };
    stops::raise(tx, &stop, now).await?;
    let became = Some(json!({ "lost_since": lost_since, "first_day": since_on, "last_day": until_on }));
    audit::note(tx, Entry { by, action: Action::Restored, target: "", why: None, was: None, became }, now).await
}

/// Puts some of the live messages in doubt; how many.
async fn doubt_live_messages(tx: &mut Tx) -> Result<u64, LedgerError> {
    let now = tx.now().await?;
    tx.execute(
        sql!(
            "UPDATE messages SET state = 'in_doubt', reason = 'restored', queued_at = NULL, next_attempt_at = NULL, lease_expires_at = NULL,
                    updated_at = $1
             WHERE id IN (SELECT id FROM messages WHERE ",
            live,
            " ORDER BY id LIMIT $2",
            for_update,
            ")"
        ),
        values![now, crate::sweeps::SWEEP_MAX],
    )
    .await
}

/// Lifts the ledger's own stop, for what raised it has been said; a person's stays.
async fn lift(tx: &mut Tx, by: String) -> Result<(), LedgerError> {
    if let Some((place, _)) = Place::find(tx).await? {
        note(tx, &place).await?;
    }
    let now = tx.now().await?;
    stops::lift(tx, StopScope::Everything, "", Some(BY_LEDGER), &by, now).await?;
    Ok(())
}
