//! Messages that compete for one person's places: the better ones go first, whichever hints come first.
//!
//! A start asks who else could go to the same phone now, through whatever channel. It does so under the person's lock, so that nobody takes a
//! place in between. It finds them along an index of what waits, so that it costs the same however much a person was sent before.

use crate::database::Tx;
use crate::error::LedgerError;
use crate::frequency::People;
use crate::snapshot::{self, Loaded};
use crate::stops::Stops;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::admission::{Rules, Verdict, called_for};
use regua_domain::frequency::Precedence;
use regua_domain::ids::MessageId;
use regua_domain::message::DeferReason;
use regua_domain::money::Centavos;
use regua_domain::stage::Stage;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Messages that one start looks at to find who competes with its own.
const RIVALS_MAX: u32 = 4096;
/// Of one person's better messages, how many more than there are places are looked at closely.
const SPARE: usize = 4;

/// The messages that could go now, by phone.
#[derive(Default)]
pub(crate) struct Rivals(BTreeMap<String, BTreeSet<Precedence>>);

impl Rivals {
    /// Who competes with `batch`, the messages of a start, for what places are left today.
    pub(crate) async fn find(
        tx: &mut Tx,
        batch: &[Loaded],
        people: &People,
        rules: &Rules<'_>,
        stops: &Stops,
        now: DateTime<Utc>,
    ) -> Result<Self, LedgerError> {
        let Some(caps) = rules.caps else { return Ok(Self::default()) };
        let mut rivals = Self(due_by_phone(tx, batch, now).await?);
        let today: BTreeMap<&str, NaiveDate> = batch
            .iter()
            .map(|message| (message.phone_key.as_str(), message.snapshot.window(rules.terms.times).local_date(now)))
            .collect();
        let places = |phone_key: &str| {
            let person = people.get(phone_key).zip(today.get(phone_key));
            person.map_or(0, |(person, today)| person.sent.places(*today, caps)) as usize
        };
        rivals.0.retain(|phone_key, due| due.len() > places(phone_key));
        let own: BTreeSet<MessageId> = batch.iter().map(|message| message.id).collect();
        let close: Vec<MessageId> = rivals
            .0
            .iter()
            .flat_map(|(phone_key, due)| {
                due.iter().map(Precedence::id).filter(|id| !own.contains(id)).take(places(phone_key).saturating_add(SPARE))
            })
            .collect();
        let can_go: BTreeSet<MessageId> = if close.is_empty() {
            BTreeSet::new()
        } else {
            let loaded = snapshot::load(tx, &close, rules.terms.times.date_at(now), stops).await?;
            loaded.iter().filter(|message| could_go(message, rules, now)).map(|message| message.id).collect()
        };
        for due in rivals.0.values_mut() {
            due.retain(|claim| own.contains(&claim.id()) || can_go.contains(&claim.id()));
        }
        Ok(rivals)
    }

    /// How many messages to the same phone have a better claim and no place yet.
    pub(crate) fn ahead_of(&self, message: &Loaded) -> u32 {
        let better = self.0.get(&message.phone_key).map_or(0, |due| due.range(..message.precedence).count());
        u32::try_from(better).unwrap_or(u32::MAX)
    }

    /// What was decided about one of them: it competes on only while it is about to go.
    pub(crate) fn note(&mut self, message: &Loaded, verdict: &Verdict) {
        let about_to_go = matches!(
            verdict,
            Verdict::NoSlot { .. } | Verdict::Postpone { why: DeferReason::PhoneSpacing | DeferReason::FactsChanged, .. }
        );
        if let Some(due) = self.0.get_mut(&message.phone_key).filter(|_| !about_to_go) {
            due.remove(&message.precedence);
        }
    }
}

fn could_go(message: &Loaded, rules: &Rules<'_>, now: DateTime<Utc>) -> bool {
    let snapshot = &message.snapshot;
    !snapshot.stopped
        && snapshot.fresh_until.is_some_and(|until| until > now)
        && snapshot.window(rules.terms.times).next_open(now) <= now
        && called_for(snapshot, rules.terms, now).is_ok()
}

/// The waiting messages to the batch's phones that are released and due, or only wait for their turn at the phone, behind no closed gate.
async fn due_by_phone(
    tx: &mut Tx,
    batch: &[Loaded],
    now: DateTime<Utc>,
) -> Result<BTreeMap<String, BTreeSet<Precedence>>, LedgerError> {
    let phones: BTreeSet<&str> = batch.iter().map(|message| message.phone_key.as_str()).collect();
    let rows = tx
        .fetch(
            sql!(
                "SELECT m.id, m.phone_key, m.stage, m.due_on, m.amount FROM ",
                // Phone by phone, whatever the statistics say: those of a large table may have been taken while nothing waited, and then going
                // through all that waits now looks cheaper to PostgreSQL.
                {
                    postgres: "json_array_elements_text($1::json) p CROSS JOIN LATERAL
                       (SELECT * FROM messages w WHERE w.phone_key = p.value AND w.state IN ('held', 'scheduled', 'queued') OFFSET 0) m",
                    sqlite: "(SELECT * FROM messages w WHERE w.phone_key IN (SELECT value FROM json_each($1))
                       AND w.state IN ('held', 'scheduled', 'queued')) m"
                },
                " JOIN channels c ON c.id = m.channel_id
                 JOIN integrations i ON i.id = c.integration_id
                 JOIN gates g ON g.channel_id = m.channel_id
                 WHERE (g.paused_until IS NULL OR g.paused_until <= $2)
                   AND (m.state = 'queued'
                     OR m.state = 'scheduled' AND (m.next_attempt_at <= $2 OR m.phone_slot_at IS NOT NULL)
                     OR m.state = 'held' AND (m.next_attempt_at IS NULL OR m.next_attempt_at <= $2)
                        AND (i.release = 'immediate' OR m.run_planned_at <= i.released_through_at))
                 ORDER BY m.stage_rank DESC, m.due_on, m.amount DESC, m.id LIMIT $3"
            ),
            values![json!(phones).to_string(), now, RIVALS_MAX],
        )
        .await?;
    let mut due: BTreeMap<String, BTreeSet<Precedence>> = BTreeMap::new();
    for row in &rows {
        let (stage, id) = (row.named("stage", Stage::parse)?, MessageId(row.id("id")?));
        let claim = Precedence::new(stage, row.opt_date("due_on")?, Centavos(row.int("amount")?), id);
        due.entry(row.text("phone_key")?).or_default().insert(claim);
    }
    Ok(due)
}
