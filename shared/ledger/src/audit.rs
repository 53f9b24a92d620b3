//! The audit log: who changed what, when, why, and what was before and after. Written in the transaction of the change itself, never
//! altered, and never with a secret or a person's data: ids, names of the configuration, keys of phones.

use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::{Ledger, new_id};
use chrono::{DateTime, Utc};
use regua_domain::audit::Action;
use serde_json::Value;
use uuid::Uuid;

/// Records that one page of the log has at most.
pub const PAGE_MAX: u32 = 1000;

/// Who intervenes, and why.
#[derive(Clone, Debug)]
pub struct By {
    /// A person's name, or a process's or a check's.
    pub who: String,
    /// Why, in that person's words.
    pub why: Option<String>,
}

/// One intervention, about to be written.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// Who did it: a person's name, or a check's.
    pub by: &'a str,
    /// What was done.
    pub action: Action,
    /// To what, by name or id; empty for everything.
    pub target: &'a str,
    /// Why, in that person's words.
    pub why: Option<&'a str>,
    /// What was before.
    pub was: Option<Value>,
    /// What is now.
    pub became: Option<Value>,
}

/// One intervention of the past.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its id; ids ascend with time.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub by: String,
    /// What was done.
    pub action: Action,
    /// To what.
    pub target: String,
    /// Why.
    pub why: Option<String>,
    /// What was before.
    pub was: Option<Value>,
    /// What was then.
    pub became: Option<Value>,
}

/// Which records are asked for; each that is set restricts.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those of an instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Those of one person or check.
    pub by: Option<String>,
    /// Those of one kind.
    pub action: Option<Action>,
    /// Those of one target.
    pub target: Option<String>,
    /// Those that are older than a record.
    pub before: Option<Uuid>,
    /// How many at most; [`PAGE_MAX`] if it is none, or more.
    pub limit: Option<u32>,
}

/// A phone's key as the log may show it: its last four digits.
pub(crate) fn masked(phone_key: &str) -> String {
    let shown: String = phone_key.chars().skip(phone_key.chars().count().saturating_sub(4)).collect();
    format!("…{shown}")
}

/// Writes an intervention down, in the transaction that makes it.
pub(crate) async fn note(tx: &mut Tx, entry: Entry<'_>, now: DateTime<Utc>) -> Result<(), LedgerError> {
    tx.execute(
        sql!("INSERT INTO audit_log (id, at, by_whom, action, target, why, was, became) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"),
        values![
            new_id(),
            now,
            entry.by,
            entry.action.as_str(),
            entry.target,
            entry.why.map(str::to_owned),
            entry.was.map(|was| was.to_string()),
            entry.became.map(|became| became.to_string()),
        ],
    )
    .await?;
    Ok(())
}

impl Ledger {
    /// A page of the audit log, newest first; the next page is asked for with the last one's id as [`Filter::before`].
    pub async fn audit_log(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT id, at, by_whom, action, target, why, was, became FROM audit_log
                     WHERE at >= COALESCE(CAST($1 AS BIGINT), at) AND by_whom = COALESCE(CAST($2 AS TEXT), by_whom)
                        AND action = COALESCE(CAST($3 AS TEXT), action) AND target = COALESCE(CAST($4 AS TEXT), target) AND (",
                    (id 5),
                    " IS NULL OR id < ",
                    (id 5),
                    ") ORDER BY id DESC LIMIT $6"
                ),
                values![
                    filter.since,
                    filter.by.clone(),
                    filter.action.map(|action| action.as_str().to_owned()),
                    filter.target.clone(),
                    filter.before,
                    filter.limit.map_or(PAGE_MAX, |limit| limit.min(PAGE_MAX)),
                ],
            )
            .await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<Record, LedgerError> {
    let json = |name: &str| -> Result<Option<Value>, LedgerError> {
        let text = row.opt_text(name)?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| LedgerError::unreadable(name, &text))).transpose()
    };
    Ok(Record {
        id: row.id("id")?,
        at: row.instant("at")?,
        by: row.text("by_whom")?,
        action: row.named("action", Action::parse)?,
        target: row.text("target")?,
        why: row.opt_text("why")?,
        was: json("was")?,
        became: json("became")?,
    })
}
