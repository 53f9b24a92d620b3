//! Stops: raised by people and by answers, read by top-up and start.

use crate::Ledger;
use crate::audit::{self, By, Entry};
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::new_id;
use chrono::{DateTime, Utc};
use regua_domain::audit::Action;
use regua_domain::ids::{BusinessId, ChannelId, IntegrationId, PolicyId, StopId};
use regua_domain::stage::Stage;
use regua_domain::stop::StopScope;
use serde_json::json;
use std::collections::HashSet;

/// A stop to be raised.
#[derive(Clone, Debug)]
pub struct NewStop {
    /// What it holds back.
    pub scope: StopScope,
    /// Which one of that scope: an id, a stage's name, a template's id; empty for everything.
    pub target: String,
    /// Who raises it: a person's name or `answer`.
    pub raised_by: String,
    /// Why: a person's words or a provider's code.
    pub why: String,
    /// When it ends by itself.
    pub until_at: Option<DateTime<Utc>>,
}

/// A stop in force.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Its id.
    pub id: StopId,
    /// What it holds back.
    pub scope: StopScope,
    /// Which one of that scope.
    pub target: String,
    /// What people call it: the name of what the configuration names, else the target.
    pub name: String,
    /// Who raised it.
    pub raised_by: String,
    /// Why.
    pub why: String,
    /// Since when.
    pub since_at: DateTime<Utc>,
    /// When it ends by itself.
    pub until_at: Option<DateTime<Utc>>,
    /// When it is checked next, if it was checked before.
    pub next_check_at: Option<DateTime<Utc>>,
}

/// What a message belongs to, for the question whether a stop holds it.
pub(crate) struct Belongs<'a> {
    pub business: BusinessId,
    pub integration: IntegrationId,
    pub channel: ChannelId,
    pub template: &'a str,
    pub policy: PolicyId,
    pub stage: Stage,
}

/// The stops in force at one instant.
#[derive(Default)]
pub(crate) struct Stops(HashSet<(StopScope, String)>);

impl Stops {
    pub(crate) async fn load(tx: &mut Tx, now: DateTime<Utc>) -> Result<Self, LedgerError> {
        let sql = sql!("SELECT scope, target FROM stops WHERE lifted_at IS NULL AND (until_at IS NULL OR until_at > $1)");
        let rows = tx.fetch(sql, values![now]).await?;
        rows.iter()
            .map(|row| Ok((row.named("scope", StopScope::parse)?, row.text("target")?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn hold(&self, belongs: &Belongs<'_>) -> bool {
        !self.0.is_empty()
            && StopScope::ALL.iter().any(|&scope| {
                let target = match scope {
                    StopScope::Everything => String::new(),
                    StopScope::Business => belongs.business.to_string(),
                    StopScope::Integration => belongs.integration.to_string(),
                    StopScope::Channel => belongs.channel.to_string(),
                    StopScope::Template => belongs.template.to_owned(),
                    StopScope::Policy => belongs.policy.to_string(),
                    StopScope::Stage => belongs.stage.as_str().to_owned(),
                };
                self.0.contains(&(scope, target))
            })
    }

    /// Whether a stop holds every message of a channel.
    pub(crate) fn hold_channel(&self, business: BusinessId, integration: IntegrationId, channel: ChannelId) -> bool {
        let held = |scope, target: String| self.0.contains(&(scope, target));
        held(StopScope::Everything, String::new())
            || held(StopScope::Business, business.to_string())
            || held(StopScope::Integration, integration.to_string())
            || held(StopScope::Channel, channel.to_string())
    }
}

async fn in_force(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<Stop>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT s.id, s.scope, s.target, s.raised_by, s.why, s.since_at, s.until_at, s.next_check_at, COALESCE(
                    (SELECT name FROM businesses WHERE s.scope = 'business' AND CAST(id AS TEXT) = s.target),
                    (SELECT name FROM integrations WHERE s.scope = 'integration' AND CAST(id AS TEXT) = s.target),
                    (SELECT name FROM channels WHERE s.scope = 'channel' AND CAST(id AS TEXT) = s.target),
                    (SELECT name FROM policies WHERE s.scope = 'policy' AND CAST(id AS TEXT) = s.target), s.target) AS name
                 FROM stops s WHERE s.lifted_at IS NULL AND (s.until_at IS NULL OR s.until_at > $1) ORDER BY s.since_at"
            ),
            values![now],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Stop {
                id: StopId(row.id("id")?),
                scope: row.named("scope", StopScope::parse)?,
                target: row.text("target")?,
                name: row.text("name")?,
                raised_by: row.text("raised_by")?,
                why: row.text("why")?,
                since_at: row.instant("since_at")?,
                until_at: row.opt_instant("until_at")?,
                next_check_at: row.opt_instant("next_check_at")?,
            })
        })
        .collect()
}

/// As [`Ledger::raise_stop`].
pub(crate) async fn raise(tx: &mut Tx, stop: &NewStop, now: DateTime<Utc>) -> Result<bool, LedgerError> {
    tx.execute(
        sql!("UPDATE stops SET lifted_at = until_at, lifted_by = 'time' WHERE lifted_at IS NULL AND until_at <= $1"),
        values![now],
    )
    .await?;
    let raised = tx
        .execute(
            sql!(
                "INSERT INTO stops (id, scope, target, raised_by, why, since_at, until_at)
                 VALUES ($1, $2, $3, $4, $5, $6, CAST($7 AS BIGINT)) ON CONFLICT DO NOTHING"
            ),
            values![new_id(), stop.scope.as_str(), &stop.target, &stop.raised_by, &stop.why, now, stop.until_at],
        )
        .await?;
    if raised == 1 {
        let target = named(tx, stop.scope, &stop.target).await?;
        let became = Some(json!({ "scope": stop.scope, "target": stop.target, "until": stop.until_at }));
        let (by, why) = (stop.raised_by.as_str(), Some(stop.why.as_str()));
        audit::note(tx, Entry { by, action: Action::StopRaised, target: &target, why, was: None, became }, now).await?;
    }
    Ok(raised == 1)
}

/// What a stop holds back, as the audit log names it: its scope, and the name that the configuration has for its target.
async fn named(tx: &mut Tx, scope: StopScope, target: &str) -> Result<String, LedgerError> {
    let sql = match scope {
        StopScope::Everything | StopScope::Template | StopScope::Stage => {
            return Ok(format!("{scope} {target}").trim_end().into());
        }
        StopScope::Business => sql!("SELECT name FROM businesses WHERE CAST(id AS TEXT) = $1"),
        StopScope::Integration => sql!("SELECT name FROM integrations WHERE CAST(id AS TEXT) = $1"),
        StopScope::Channel => sql!("SELECT name FROM channels WHERE CAST(id AS TEXT) = $1"),
        StopScope::Policy => sql!("SELECT name FROM policies WHERE CAST(id AS TEXT) = $1"),
    };
    let name = tx.fetch_optional(sql, values![target]).await?.map(|row| row.text("name")).transpose()?;
    Ok(format!("{scope} {}", name.as_deref().unwrap_or(target).trim_start()))
}

/// As [`lift_by`], without a reason.
pub(crate) async fn lift(
    tx: &mut Tx,
    scope: StopScope,
    target: &str,
    raised_by: Option<&str>,
    by: &str,
    now: DateTime<Utc>,
) -> Result<u64, LedgerError> {
    lift_by(tx, scope, target, raised_by, &By { who: by.to_owned(), why: None }, now).await
}

/// Lifts the stops of a scope and target, of one author or of all; how many there were.
async fn lift_by(
    tx: &mut Tx,
    scope: StopScope,
    target: &str,
    raised_by: Option<&str>,
    by: &By,
    now: DateTime<Utc>,
) -> Result<u64, LedgerError> {
    let lifted = tx
        .fetch(
            sql!(
                "UPDATE stops SET lifted_at = $1, lifted_by = $2 WHERE scope = $3 AND target = $4 AND lifted_at IS NULL
                    AND raised_by = COALESCE(CAST($5 AS TEXT), raised_by) RETURNING raised_by, why, since_at"
            ),
            values![now, &by.who, scope.as_str(), target, raised_by],
        )
        .await?;
    note_lifted(tx, scope, target, &lifted, by, now).await
}

/// Lifts the one stop of an id; false if it had been lifted meanwhile.
pub(crate) async fn lift_one(
    tx: &mut Tx,
    stop: StopId,
    (scope, target): (StopScope, &str),
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, LedgerError> {
    let lifted = tx
        .fetch(
            sql!(
                "UPDATE stops SET lifted_at = $1, lifted_by = $2 WHERE id = $3 AND lifted_at IS NULL RETURNING raised_by, why, since_at"
            ),
            values![now, by, stop],
        )
        .await?;
    let by = By { who: by.to_owned(), why: None };
    Ok(note_lifted(tx, scope, target, &lifted, &by, now).await? > 0)
}

/// Writes into the audit log which stops were lifted; how many.
async fn note_lifted(
    tx: &mut Tx,
    scope: StopScope,
    target: &str,
    lifted: &[Row],
    by: &By,
    now: DateTime<Utc>,
) -> Result<u64, LedgerError> {
    let was = lifted.iter().map(|row| {
        Ok::<_, LedgerError>(
            json!({ "raised_by": row.text("raised_by")?, "why": row.text("why")?, "since": row.instant("since_at")? }),
        )
    });
    let was = was.collect::<Result<Vec<_>, _>>()?;
    if !was.is_empty() {
        let (name, was) = (named(tx, scope, target).await?, Some(json!(was)));
        let entry = Entry { by: &by.who, action: Action::StopLifted, target: &name, why: by.why.as_deref(), was, became: None };
        audit::note(tx, entry, now).await?;
    }
    Ok(lifted.len() as u64)
}

impl Ledger {
    /// Raises a stop; one that is in force already with the same scope, target and author stays as it is. Of answers each cause is a stop of its
    /// own. True if it is new.
    pub async fn raise_stop(&self, stop: NewStop) -> Result<bool, LedgerError> {
        self.db
            .write(move |tx| {
                let stop = stop.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    raise(tx, &stop, now).await
                })
            })
            .await
    }

    /// Raises a stop that an answer of that time taught, unless one like it was lifted since: whoever lifted it knew better. Whether it is new.
    pub async fn raise_answered_stop(&self, stop: NewStop, answered_at: DateTime<Utc>) -> Result<bool, LedgerError> {
        self.db
            .write(move |tx| {
                let stop = stop.clone();
                Box::pin(async move {
                    let lifted = sql!(
                        "SELECT 1 AS one FROM stops WHERE scope = $1 AND target = $2 AND lifted_at >= $3 AND lifted_by <> 'time' LIMIT 1"
                    );
                    let lifted = tx.fetch_optional(lifted, values![stop.scope.as_str(), &stop.target, answered_at]).await?;
                    let now = tx.now().await?;
                    if lifted.is_some() { Ok(false) } else { raise(tx, &stop, now).await }
                })
            })
            .await
    }

    /// Lifts every stop of a scope and target; how many there were.
    pub async fn resume(&self, scope: StopScope, target: String, by: By) -> Result<u64, LedgerError> {
        self.db
            .write(move |tx| {
                let (target, by) = (target.clone(), by.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    lift_by(tx, scope, &target, None, &by, now).await
                })
            })
            .await
    }

    /// The target of a stop, by the name that a person knows: an id for what the configuration names, the name itself for a stage or a
    /// template. `None` if there is nothing of that name.
    pub async fn stop_target(&self, scope: StopScope, name: &str) -> Result<Option<String>, LedgerError> {
        let sql = match scope {
            StopScope::Everything => return Ok(Some(String::new())),
            StopScope::Template => return Ok(Some(name.to_owned())),
            StopScope::Stage => return Ok(Stage::parse(name).map(|stage| stage.as_str().to_owned())),
            StopScope::Business => sql!("SELECT id FROM businesses WHERE name = $1"),
            StopScope::Integration => sql!("SELECT id FROM integrations WHERE name = $1"),
            StopScope::Channel => sql!("SELECT id FROM channels WHERE name = $1"),
            StopScope::Policy => sql!("SELECT id FROM policies WHERE name = $1"),
        };
        let row = self.db.read().await?.fetch_optional(sql, values![name]).await?;
        row.map(|row| row.id("id").map(|id| id.to_string())).transpose()
    }

    /// The stops in force, oldest first.
    pub async fn stops(&self) -> Result<Vec<Stop>, LedgerError> {
        let mut tx = self.db.read().await?;
        let now = tx.now().await?;
        in_force(&mut tx, now).await
    }
}
