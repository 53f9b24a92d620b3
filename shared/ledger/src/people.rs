//! Opt-outs: who asked not to be written to, since when, how that became known, and by whom.

use crate::Ledger;
use crate::audit::{self, By, Entry, masked};
use crate::database::{Row, Tx, micros};
use crate::error::LedgerError;
use chrono::{DateTime, Utc};
use regua_domain::audit::Action;
use regua_domain::consent::{OptOutScope, OptOutSource};
use regua_domain::ids::{BusinessId, ChannelId};
use regua_domain::phone::{PhoneKey, choose};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Opt-outs that one transaction writes.
pub const OPT_OUT_BATCH: usize = 1000;
/// People of one call that the audit log names, if there are no more.
const NAMED_MAX: usize = 20;
/// The scope of an opt-out that holds for every business, as it is stored.
const ALL: &str = "all";

/// A recipient who asked not to be written to.
#[derive(Clone, Debug)]
pub struct OptOut {
    /// The canonical phone: area code and last eight digits.
    pub phone_key: String,
    /// Whose messages it ends.
    pub scope: OptOutScope,
    /// The business's name, if it is one business's.
    pub business: Option<String>,
    /// Since when.
    pub since_at: DateTime<Utc>,
    /// How it became known.
    pub source: OptOutSource,
    /// Who wrote it down.
    pub added_by: String,
    /// Why.
    pub why: String,
}

/// Somebody to be noted as opted out.
#[derive(Clone, Debug)]
pub struct NewOptOut {
    /// The phone.
    pub phone: PhoneKey,
    /// Since when; `None` is now.
    pub since_at: Option<DateTime<Utc>>,
    /// Why, in whose words.
    pub why: String,
}

/// What all opt-outs of one call have in common.
#[derive(Clone, Debug)]
pub struct OptOutOrigin {
    /// Whose messages they end.
    pub scope: OptOutScope,
    /// How they became known.
    pub source: OptOutSource,
    /// Who wrote them down.
    pub added_by: String,
}

/// What a call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptOutCounts {
    /// People who had none of this scope.
    pub new: u64,
    /// People who had a later one: they get the earlier date with all that belongs to it.
    pub earlier: u64,
}

impl Ledger {
    /// Adds opt-outs: the same again changes nothing, and of two the earlier one is kept. They hold from the next start on. Many are written
    /// in batches of [`OPT_OUT_BATCH`], the last one with the audit log's entry for all; a call that failed half-way may be repeated.
    pub async fn add_opt_outs(&self, opt_outs: Vec<NewOptOut>, origin: OptOutOrigin) -> Result<OptOutCounts, LedgerError> {
        let (mut counts, mut rest) = (OptOutCounts::default(), opt_outs.len());
        for batch in opt_outs.chunks(OPT_OUT_BATCH) {
            rest -= batch.len();
            let (batch, origin, before, given) = (batch.to_vec(), origin.clone(), counts, opt_outs.len());
            let is_last = rest == 0;
            counts = self
                .db
                .write(move |tx| {
                    let (batch, origin) = (batch.clone(), origin.clone());
                    Box::pin(async move {
                        let added = add(tx, &batch, &origin).await?;
                        let counts = OptOutCounts { new: before.new + added.new, earlier: before.earlier + added.earlier };
                        if is_last {
                            note_added(tx, &batch, &origin, given, counts).await?;
                        }
                        Ok(counts)
                    })
                })
                .await?;
        }
        Ok(counts)
    }

    /// Removes a person's opt-outs, of one scope or of all; how many there were. What was skipped for them comes back only when it is
    /// evaluated again.
    pub async fn remove_opt_out(&self, phone: PhoneKey, scope: Option<OptOutScope>, by: By) -> Result<u64, LedgerError> {
        self.db
            .write(move |tx| {
                let (phone, scope) = (phone.as_str().to_owned(), scope.map_or_else(String::new, stored));
                let by = by.clone();
                Box::pin(async move { remove(tx, &phone, &scope, &by).await })
            })
            .await
    }

    /// A page of opt-outs, by phone and scope, after the last one of the page before.
    pub async fn opt_outs(&self, after: Option<&OptOut>, limit: u32) -> Result<Vec<OptOut>, LedgerError> {
        let (phone_key, scope) = after.map_or_else(Default::default, |last| (last.phone_key.clone(), stored(last.scope)));
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT o.*, b.name AS business FROM opt_outs o LEFT JOIN businesses b ON CAST(b.id AS TEXT) = o.scope
                     WHERE (o.phone_key, o.scope) > ($1, $2) ORDER BY o.phone_key, o.scope LIMIT $3"
                ),
                values![phone_key, scope, limit],
            )
            .await?;
        rows.iter().map(read).collect()
    }

    /// The business of a name, or that of a channel of this name that belongs to none.
    pub async fn business_named(&self, name: &str) -> Result<Option<BusinessId>, LedgerError> {
        let alone = format!(" {name}");
        let row = self
            .db
            .read()
            .await?
            .fetch_optional(
                sql!("SELECT id FROM businesses WHERE name IN ($1, $2) ORDER BY name DESC LIMIT 1"),
                values![name, alone],
            )
            .await?;
        row.map(|row| row.id("id").map(BusinessId)).transpose()
    }
}

/// One entry of the audit log for one call: who they are only where they are few, and then by their last digits.
pub(crate) async fn note_added(
    tx: &mut Tx,
    last: &[NewOptOut],
    origin: &OptOutOrigin,
    given: usize,
    counts: OptOutCounts,
) -> Result<(), LedgerError> {
    let now = tx.now().await?;
    let is_short = given <= NAMED_MAX && origin.source != OptOutSource::File;
    let phones: BTreeSet<String> = last.iter().filter(|_| is_short).map(|opt_out| masked(opt_out.phone.as_str())).collect();
    let target = phones.into_iter().collect::<Vec<_>>().join(", ");
    let became = Some(json!({
        "given": given, "new": counts.new, "earlier": counts.earlier, "scope": stored(origin.scope), "source": origin.source,
    }));
    let why = last.first().filter(|_| is_short).map(|opt_out| opt_out.why.as_str());
    let entry = Entry { by: &origin.added_by, action: Action::OptOutAdded, target: &target, why, was: None, became };
    audit::note(tx, entry, now).await
}

async fn remove(tx: &mut Tx, phone: &str, scope: &str, by: &By) -> Result<u64, LedgerError> {
    let removed = tx
        .fetch(
            sql!("DELETE FROM opt_outs WHERE phone_key = $1 AND ($2 = '' OR scope = $2) RETURNING scope, since_at"),
            values![phone, scope],
        )
        .await?;
    if !removed.is_empty() {
        let was = removed
            .iter()
            .map(|row| Ok::<_, LedgerError>(json!({ "scope": row.text("scope")?, "since": row.instant("since_at")? })));
        let was = Some(json!(was.collect::<Result<Vec<_>, _>>()?));
        let (now, target) = (tx.now().await?, masked(phone));
        let (who, why) = (by.who.as_str(), by.why.as_deref());
        let entry = Entry { by: who, action: Action::OptOutRemoved, target: &target, why, was, became: None };
        audit::note(tx, entry, now).await?;
    }
    Ok(removed.len() as u64)
}

pub(crate) async fn add(tx: &mut Tx, batch: &[NewOptOut], origin: &OptOutOrigin) -> Result<OptOutCounts, LedgerError> {
    let now = tx.now().await?;
    // Of two lines about one person the earlier one.
    let mut earliest: BTreeMap<&str, (DateTime<Utc>, &str)> = BTreeMap::new();
    for opt_out in batch {
        let said = (opt_out.since_at.unwrap_or(now).min(now), opt_out.why.as_str());
        let known = earliest.entry(opt_out.phone.as_str()).or_insert(said);
        if said.0 < known.0 {
            *known = said;
        }
    }
    let rows: Vec<_> = earliest
        .iter()
        .map(|(phone_key, (since_at, why))| json!({"phone_key": phone_key, "since_at": micros(*since_at), "why": why}))
        .collect();
    let (rows, scope) = (json!(rows).to_string(), stored(origin.scope));
    let new = tx
        .execute(
            sql!(
                "INSERT INTO opt_outs (phone_key, scope, since_at, source, added_by, why) SELECT r.phone_key, $2, r.since_at, $3, $4, r.why FROM ",
                (rows 1 r phone_key: text, since_at: bigint, why: text),
                " WHERE true ORDER BY 1 ON CONFLICT DO NOTHING"
            ),
            values![&rows, &scope, origin.source.as_str(), &origin.added_by],
        )
        .await?;
    let earlier = tx
        .execute(
            sql!(
                "UPDATE opt_outs SET since_at = r.since_at, source = $3, added_by = $4, why = r.why FROM ",
                (rows 1 r phone_key: text, since_at: bigint, why: text),
                " WHERE opt_outs.phone_key = r.phone_key AND opt_outs.scope = $2 AND r.since_at < opt_outs.since_at"
            ),
            values![rows, scope, origin.source.as_str(), &origin.added_by],
        )
        .await?;
    Ok(OptOutCounts { new, earlier })
}

/// The channels through which each of these phones asked not to be written to.
pub(crate) async fn opted_out(
    tx: &mut Tx,
    phone_keys: &BTreeSet<String>,
) -> Result<HashMap<String, BTreeSet<ChannelId>>, LedgerError> {
    let mut channels: HashMap<String, BTreeSet<ChannelId>> = HashMap::new();
    let rows = tx
        .fetch(
            sql!(
                "SELECT o.phone_key, c.id FROM opt_outs o JOIN channels c ON o.scope = 'all' OR o.scope = CAST(c.business_id AS TEXT)
                 WHERE o.phone_key",
                (among 1 text)
            ),
            values![json!(phone_keys).to_string()],
        )
        .await?;
    for row in &rows {
        channels.entry(row.text("phone_key")?).or_default().insert(ChannelId(row.id("id")?));
    }
    Ok(channels)
}

/// The key of the phone that a customer's messages go to, if there is one.
pub(crate) fn phone_key_of(customer: &regua_domain::mirror::Customer) -> Option<String> {
    choose(&customer.whatsapp, &customer.mobile_phone).ok().map(|phone| phone.key().as_str().to_owned())
}

fn stored(scope: OptOutScope) -> String {
    match scope {
        OptOutScope::All => ALL.to_owned(),
        OptOutScope::Business(business) => business.0.to_string(),
    }
}

fn read(row: &Row) -> Result<OptOut, LedgerError> {
    let scope = row.named("scope", |text| match text {
        ALL => Some(OptOutScope::All),
        id => id.parse().ok().map(|id| OptOutScope::Business(BusinessId(id))),
    })?;
    Ok(OptOut {
        phone_key: row.text("phone_key")?,
        scope,
        business: row.opt_text("business")?.map(|name| name.trim_start().to_owned()),
        since_at: row.instant("since_at")?,
        source: row.named("source", OptOutSource::parse)?,
        added_by: row.text("added_by")?,
        why: row.text("why")?,
    })
}
