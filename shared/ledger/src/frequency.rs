//! How often people were written to: counted by a start, taken back by the proof that nothing left.
//!
//! A person is a phone, whichever business and channel writes to it, so a person's row is locked after those of the recipients. What a proof
//! takes back is what its own attempt counted, on the day it counted it: others may have counted since.

use crate::database::Tx;
use crate::error::LedgerError;
use crate::snapshot::json_ids;
use regua_domain::admission::Person;
use regua_domain::frequency::SentByDay;
use regua_domain::ids::AttemptId;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// People by the keys of their phones, locked in that order and changed in memory.
#[derive(Default)]
pub(crate) struct People {
    now: BTreeMap<String, Person>,
    /// Of those that have a row: what it said, and its version.
    before: BTreeMap<String, (Person, i64)>,
}

impl People {
    /// Locks people. Those that were never written to have no row yet: two starts that make it at once meet in [`People::store`].
    pub(crate) async fn lock(tx: &mut Tx, phone_keys: BTreeSet<String>) -> Result<Self, LedgerError> {
        let rows = tx
            .fetch(
                sql!("SELECT phone_key, days, version FROM people WHERE phone_key", (among 1 text), " ORDER BY phone_key", for_update),
                values![json!(phone_keys).to_string()],
            )
            .await?;
        let mut people = Self::default();
        for row in &rows {
            let person = Person { sent: row.json("days")?, ahead: 0 };
            people.now.insert(row.text("phone_key")?, person.clone());
            people.before.insert(row.text("phone_key")?, (person, row.int("version")?));
        }
        for phone_key in phone_keys {
            people.now.entry(phone_key).or_default();
        }
        Ok(people)
    }

    /// One of those that were locked.
    pub(crate) fn get(&self, phone_key: &str) -> Option<&Person> {
        self.now.get(phone_key)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, phone_key: &str) -> Option<&mut Person> {
        self.now.get_mut(phone_key)
    }

    /// Writes those that changed.
    ///
    /// # Errors
    /// [`LedgerError::Overtaken`] when another transaction made a row that this one is about to make.
    pub(crate) async fn store(&self, tx: &mut Tx) -> Result<(), LedgerError> {
        let rows: Vec<_> = self
            .now
            .iter()
            .filter_map(|(phone_key, person)| {
                let (before, version) =
                    self.before.get(phone_key).map_or((None, 0), |(before, version)| (Some(before), *version));
                let changed = before.map_or(person.sent != SentByDay::default(), |before| before.sent != person.sent);
                changed.then(|| json!({"phone_key": phone_key, "days": person.sent, "version": version + 1}))
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let number = rows.len() as u64;
        let written = tx
            .execute(
                sql!(
                    "INSERT INTO people (phone_key, days, version) SELECT r.phone_key, r.days, r.version FROM ",
                    (rows 1 r phone_key: text, days: text, version: bigint),
                    " WHERE true ORDER BY 1 ON CONFLICT (phone_key) DO UPDATE SET days = excluded.days, version = excluded.version
                      WHERE people.version = excluded.version - 1"
                ),
                values![json!(rows).to_string()],
            )
            .await?;
        if written == number { Ok(()) } else { Err(LedgerError::Overtaken) }
    }

    /// Locks the people for whom these attempts count.
    pub(crate) async fn lock_of_attempts(tx: &mut Tx, attempts: &[AttemptId]) -> Result<Self, LedgerError> {
        let counted = counted(tx, attempts).await?;
        Self::lock(tx, counted.into_values().map(|(phone_key, _)| phone_key).collect()).await
    }

    /// Takes back what attempts counted that certainly sent nothing; each once, for it counts for nobody any more.
    pub(crate) async fn take_back(&mut self, tx: &mut Tx, attempts: &[AttemptId]) -> Result<(), LedgerError> {
        let counted = counted(tx, attempts).await?;
        if counted.is_empty() {
            return Ok(());
        }
        for (phone_key, day) in counted.values() {
            if let Some(person) = self.now.get_mut(phone_key) {
                person.sent.take_back(*day);
            }
        }
        tx.execute(
            sql!("UPDATE attempts SET counted_on = NULL WHERE id", (among 1 uuid)),
            values![json_ids(counted.keys().map(|id| id.0))],
        )
        .await?;
        self.store(tx).await
    }
}

/// Whom each of these attempts counts for, and on which day.
async fn counted(tx: &mut Tx, attempts: &[AttemptId]) -> Result<BTreeMap<AttemptId, (String, chrono::NaiveDate)>, LedgerError> {
    if attempts.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = tx
        .fetch(
            sql!(
                "SELECT a.id, a.counted_on, m.phone_key FROM attempts a JOIN messages m ON m.id = a.message_id
                 WHERE a.counted_on IS NOT NULL AND m.phone_key IS NOT NULL AND a.id",
                (among 1 uuid)
            ),
            values![json_ids(attempts.iter().map(|id| id.0))],
        )
        .await?;
    rows.iter().map(|row| Ok((AttemptId(row.id("id")?), (row.text("phone_key")?, row.date("counted_on")?)))).collect()
}
