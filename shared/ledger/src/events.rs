//! Events of invoices and customers: written with the mirror's rows, consumed with the message that they cause (F7).

use crate::Ledger;
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::evaluation::{NewMessage, Occasion, ask_consent, known_of};
use crate::new_id;
use crate::settings::Settings;
use crate::totals::TotalsOf;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::consent::Reach;
use regua_domain::decide::{Known, expires_at};
use regua_domain::events::{Called, Event, EventKind, EventOutcome, Facts, decide};
use regua_domain::ids::{ChannelId, MessageId, RunId, SourceId};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::pilot::Pilot;
use regua_domain::policy::PolicyPlan;
use regua_domain::stage::Stage;
use regua_domain::variables::Totals;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// Where the paging of a source's events stands: the last one's day and id.
#[derive(Clone, Debug, Default)]
pub struct EventCursor {
    happened_on: String,
    id: Uuid,
}

/// An event that is to be decided, with what is known of its subject.
#[derive(Clone, Debug)]
pub struct EventCandidate {
    /// Its id.
    pub id: Uuid,
    /// What happened.
    pub event: Event,
    /// Whom or what a message would be about: the invoice, of a renegotiation the first of the titles that it replaced, or the customer.
    pub subject: String,
    /// The subject's invoice.
    pub invoice: Option<Invoice>,
    /// Its customer.
    pub customer: Option<Customer>,
    /// The message that it has already.
    pub message: Option<Known>,
    /// Whether the customer may have had a dated notice about it.
    pub was_noticed: bool,
    /// Whether the same happened to it again later.
    pub is_overtaken: bool,
    /// Whether it was decided before; then only its skipped message may come back.
    pub is_consumed: bool,
    /// The due date of what a renegotiation put in its place.
    pub renegotiated_to: Option<NaiveDate>,
    /// What its customer owes in all.
    pub totals: Option<Totals>,
    /// The channels through which its customer asked not to be written to.
    pub opted_out: BTreeSet<ChannelId>,
}

/// What a run decided about one event.
#[derive(Clone, Debug)]
pub struct EventDecision {
    /// The event.
    pub id: Uuid,
    /// What it led to.
    pub outcome: EventOutcome,
    /// The message that tells it; the event stays as it was where that message can't be written now.
    pub message: Option<MessageId>,
}

/// An event as a person sees it.
#[derive(Clone, Debug, Serialize)]
pub struct EventView {
    /// What happened.
    pub kind: EventKind,
    /// The provider's date on which it happened.
    pub happened_on: NaiveDate,
    /// When the mirror saw it.
    pub observed_at: DateTime<Utc>,
    /// What it led to; `None` until a run has decided.
    pub outcome: Option<EventOutcome>,
    /// The run that decided.
    pub consumed_by: Option<RunId>,
    /// The message that tells it.
    pub message: Option<MessageId>,
}

/// Decides a page of events: what becomes of each, and the messages to be written. One renegotiation of several titles has one message.
pub fn decide_page(
    candidates: &[EventCandidate],
    policies: &[PolicyPlan],
    settings: &Settings,
    now: DateTime<Utc>,
) -> (Vec<NewMessage>, Vec<EventDecision>) {
    let today = settings.times().date_at(now);
    let (mut messages, mut decisions) = (Vec::<NewMessage>::new(), Vec::new());
    let mut told: HashMap<(EventKind, &str, &str), MessageId> = HashMap::new();
    for candidate in candidates {
        let EventCandidate { event, subject, message, .. } = candidate;
        let (id, existing) = (candidate.id, message.as_ref().map(|message| message.id));
        let key = (event.kind, event.occasion.as_str(), subject.as_str());
        let (outcome, message) = match decide(policies, &candidate.facts(&settings.pilot), &settings.provider, today) {
            Err(EventOutcome::Message) => (EventOutcome::Message, existing),
            Err(outcome) => (outcome, None),
            Ok(called) => {
                let id = *told.entry(key).or_insert_with(|| {
                    let message = new_message(candidate, called, settings, now);
                    let id = message.id;
                    messages.push(message);
                    id
                });
                (EventOutcome::Message, Some(id))
            }
        };
        if !candidate.is_consumed {
            decisions.push(EventDecision { id, outcome, message });
        }
    }
    (messages, decisions)
}

fn new_message(candidate: &EventCandidate, called: Called<'_>, settings: &Settings, now: DateTime<Utc>) -> NewMessage {
    let window = settings.times().of(candidate.customer.as_ref(), called.stage.hours);
    let opens_at = window.next_open(now);
    NewMessage {
        id: called.revives.unwrap_or_else(|| MessageId(new_id())),
        revives: called.revives.is_some(),
        subject: candidate.subject.clone(),
        stage: called.stage.stage,
        occasion: Occasion::Event(candidate.event.occasion.clone()),
        policy_id: called.policy.id,
        notice_id: called.stage.notice.id,
        channel_id: called.stage.notice.channel_id,
        stage_day: candidate.event.happened_on,
        opens_at,
        expires_at: expires_at(&window, opens_at, None, settings.expiry.open_windows),
        text: called.text,
    }
}

impl EventCandidate {
    fn facts<'a>(&'a self, pilot: &'a Pilot) -> Facts<'a> {
        Facts {
            event: &self.event,
            invoice: self.invoice.as_ref(),
            customer: self.customer.as_ref(),
            message: self.message.as_ref(),
            was_noticed: self.was_noticed,
            is_overtaken: self.is_overtaken,
            renegotiated_to: self.renegotiated_to,
            totals: self.totals,
            reach: Reach { opted_out: &self.opted_out, held_until: None, pilot },
        }
    }
}

/// Writes what happened to the subjects, in the transaction of the mirror's rows; how many.
pub(crate) async fn write(
    tx: &mut Tx,
    source_id: SourceId,
    found: &[(String, Event)],
    observed_at: DateTime<Utc>,
) -> Result<u64, LedgerError> {
    if found.is_empty() {
        return Ok(0);
    }
    let row = |(subject, event): &(String, Event)| {
        json!({
            "id": new_id(), "kind": event.kind, "subject": subject, "occasion": event.occasion, "happened_on": event.happened_on,
        })
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    tx.execute(
        sql!(
            "INSERT INTO events (id, source_id, kind, subject, occasion, happened_on, observed_at)
             SELECT r.id, $2, r.kind, r.subject, r.occasion, r.happened_on, $3 FROM ",
            (rows 1 r id: uuid, kind: text, subject: text, occasion: text, happened_on: text),
            " WHERE true"
        ),
        values![json!(rows).to_string(), source_id, observed_at],
    )
    .await
}

impl Ledger {
    /// A page of events that are to be decided, by day and id: those that no run has decided, and those since `told_since` whose message was
    /// skipped. With the cursor after them; `None` for it when there are no more.
    pub async fn events(
        &self,
        source_id: SourceId,
        told_since: NaiveDate,
        after: &EventCursor,
        limit: u32,
        with_totals: bool,
    ) -> Result<(Vec<EventCandidate>, Option<EventCursor>), LedgerError> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .fetch(
                sql!(
                    "WITH page AS (
                       SELECT * FROM (SELECT * FROM events WHERE source_id = $1 AND consumed_by IS NULL AND (happened_on, id) > ($2, ",
                    (id 3),
                    ") ORDER BY happened_on, id LIMIT $5) u
                       UNION ALL
                       SELECT * FROM (SELECT e.* FROM events e JOIN messages m ON m.id = e.message_id
                                      WHERE e.source_id = $1 AND e.message_id IS NOT NULL AND e.happened_on >= $4 AND (e.happened_on, e.id) > ($2, ",
                    (id 3),
                    ") AND m.state = 'skipped' ORDER BY e.happened_on, e.id LIMIT $5) t)
                     SELECT p.id, p.kind, p.subject, p.occasion, p.happened_on, (p.consumed_by IS NOT NULL) AS is_consumed,
                            i.record AS invoice, c.record AS customer,
                            EXISTS (SELECT 1 FROM events l WHERE l.source_id = $1 AND l.subject = p.subject AND l.kind = p.kind
                                    AND (l.observed_at, l.id) > (p.observed_at, p.id)) AS is_overtaken
                     FROM page p
                     LEFT JOIN invoices i ON i.source_id = $1 AND i.id = p.subject AND p.kind <> 'bureau_removed'
                     LEFT JOIN customers c ON c.source_id = $1 AND c.id = CASE WHEN p.kind = 'bureau_removed' THEN p.subject ELSE i.customer_id END
                     ORDER BY p.happened_on, p.id LIMIT $5"
                ),
                values![source_id, &after.happened_on, after.id, told_since, limit],
            )
            .await?;
        let next = match rows.last() {
            Some(last) if rows.len() == limit as usize => {
                Some(EventCursor { happened_on: last.text("happened_on")?, id: last.id("id")? })
            }
            _ => None,
        };
        let mut candidates = rows.iter().map(read_candidate).collect::<Result<Vec<_>, _>>()?;
        let zone = crate::settings::load(&mut tx).await?.window.zone;
        stand_for_renegotiations(&mut tx, source_id, &mut candidates).await?;
        for kind in [EventKind::Settled, EventKind::Cancelled, EventKind::Renegotiated, EventKind::BureauRemoved] {
            let mut of_kind: Vec<_> = candidates.iter_mut().filter(|candidate| candidate.event.kind == kind).collect();
            find_messages(&mut tx, source_id, kind, &mut of_kind, zone).await?;
        }
        find_notices(&mut tx, source_id, &mut candidates).await?;
        ask_consent(&mut tx, candidates.iter_mut().map(|event| (event.customer.as_ref(), &mut event.opted_out))).await?;
        if with_totals {
            let customers = candidates.iter().filter_map(|candidate| Some((source_id, &candidate.customer.as_ref()?.id)));
            let totals = TotalsOf::load(&mut tx, customers).await?;
            for candidate in &mut candidates {
                candidate.totals = totals.of(source_id, candidate.customer.as_ref().map(|customer| &customer.id));
            }
        }
        Ok((candidates, next))
    }

    /// What happened to an invoice, the earliest first, and what that led to; bounded.
    pub async fn events_of_invoice(&self, source_id: SourceId, invoice_id: &str) -> Result<Vec<EventView>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT kind, happened_on, observed_at, outcome, consumed_by, message_id FROM events
                     WHERE source_id = $1 AND subject = $2 AND kind <> 'bureau_removed' ORDER BY observed_at, id LIMIT 100"
                ),
                values![source_id, invoice_id],
            )
            .await?;
        let view = |row: &Row| {
            Ok(EventView {
                kind: row.named("kind", EventKind::parse)?,
                happened_on: row.date("happened_on")?,
                observed_at: row.instant("observed_at")?,
                outcome: row.opt_named("outcome", EventOutcome::parse)?,
                consumed_by: row.opt_id("consumed_by")?.map(RunId),
                message: row.opt_id("message_id")?.map(MessageId),
            })
        };
        rows.iter().map(view).collect()
    }
}

fn read_candidate(row: &Row) -> Result<EventCandidate, LedgerError> {
    Ok(EventCandidate {
        id: row.id("id")?,
        event: Event {
            kind: row.named("kind", EventKind::parse)?,
            occasion: row.text("occasion")?,
            happened_on: row.date("happened_on")?,
        },
        subject: row.text("subject")?,
        invoice: row.opt_json("invoice")?,
        customer: row.opt_json("customer")?,
        message: None,
        was_noticed: false,
        is_overtaken: row.flag("is_overtaken")?,
        is_consumed: row.flag("is_consumed")?,
        renegotiated_to: None,
        totals: None,
        opted_out: BTreeSet::new(),
    })
}

/// Of each renegotiation's titles the first that it replaced stands for all, whichever of them the event is of; the first open one's due
/// date is the new one.
async fn stand_for_renegotiations(
    tx: &mut Tx,
    source_id: SourceId,
    candidates: &mut [EventCandidate],
) -> Result<(), LedgerError> {
    let renegotiated = |candidate: &&mut EventCandidate| candidate.event.kind == EventKind::Renegotiated;
    let ids: HashSet<_> = candidates.iter_mut().filter(renegotiated).map(|candidate| candidate.event.occasion.clone()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let rows = tx
        .fetch(
            sql!(
                "SELECT renegotiation_id, is_open, due_on, record FROM invoices
                 WHERE source_id = $1 AND renegotiation_id <> '' AND renegotiation_id",
                (among 2 text),
                " ORDER BY id"
            ),
            values![source_id, json!(ids).to_string()],
        )
        .await?;
    let (mut replaced, mut due) = (HashMap::<String, Invoice>::new(), HashMap::<String, NaiveDate>::new());
    for row in &rows {
        let (id, invoice) = (row.text("renegotiation_id")?, row.json::<Invoice>("record")?);
        if row.flag("is_open")? {
            let first = due.entry(id).or_insert(invoice.due_on);
            *first = invoice.due_on.min(*first);
        } else if invoice.status == InvoiceStatus::Cancelled {
            replaced.entry(id).or_insert(invoice);
        }
    }
    for candidate in candidates.iter_mut().filter(renegotiated) {
        candidate.renegotiated_to = due.get(&candidate.event.occasion).copied();
        if let Some(first) = replaced.get(&candidate.event.occasion) {
            // A renegotiation is one customer's: whose it is doesn't change with the title that stands for it.
            candidate.subject.clone_from(&first.id.0);
            candidate.invoice = Some(first.clone());
        }
    }
    Ok(())
}

/// The messages that the events have already: of a renegotiation one for all titles, else by subject and occasion.
async fn find_messages(
    tx: &mut Tx,
    source_id: SourceId,
    kind: EventKind,
    candidates: &mut [&mut EventCandidate],
    zone: chrono_tz::Tz,
) -> Result<(), LedgerError> {
    let Some(stage) = kind.stage().filter(|_| !candidates.is_empty()) else { return Ok(()) };
    let rows = if stage == Stage::Renegotiated {
        let occasions: HashSet<_> = candidates.iter().map(|candidate| candidate.event.occasion.as_str()).collect();
        tx.fetch(
            sql!(
                "SELECT id, subject, stage, occasion, due_on, state, reason, NULL AS updated_at, NULL AS begun_at FROM messages
                 WHERE source_id = $1 AND stage = 'renegotiated' AND occasion",
                (among 2 text)
            ),
            values![source_id, json!(occasions).to_string()],
        )
        .await?
    } else {
        let subjects: HashSet<_> = candidates.iter().map(|candidate| candidate.subject.as_str()).collect();
        tx.fetch(
            sql!(
                "SELECT id, subject, stage, occasion, due_on, state, reason, NULL AS updated_at, NULL AS begun_at FROM messages
                 WHERE source_id = $1 AND stage = $3 AND subject",
                (among 2 text)
            ),
            values![source_id, json!(subjects).to_string(), stage.as_str()],
        )
        .await?
    };
    let mut known = HashMap::new();
    for row in &rows {
        let subject = if stage == Stage::Renegotiated { String::new() } else { row.text("subject")? };
        known.insert((subject, row.text("occasion")?), known_of(row, zone)?);
    }
    for candidate in candidates {
        let subject = if stage == Stage::Renegotiated { String::new() } else { candidate.subject.clone() };
        candidate.message = known.get(&(subject, candidate.event.occasion.clone())).cloned();
    }
    Ok(())
}

/// Which of the events' subjects may have been noticed before: the title itself, of a renegotiation any of its titles, of a customer any title.
async fn find_notices(tx: &mut Tx, source_id: SourceId, candidates: &mut [EventCandidate]) -> Result<(), LedgerError> {
    let of = |kinds: &[EventKind], key: fn(&EventCandidate) -> &str| -> BTreeMap<String, bool> {
        let concerned = candidates.iter().filter(|candidate| kinds.contains(&candidate.event.kind));
        concerned.map(|candidate| (key(candidate).to_owned(), false)).collect()
    };
    let mut titles = of(&[EventKind::Settled, EventKind::Cancelled], |candidate| &candidate.subject);
    let mut renegotiations = of(&[EventKind::Renegotiated], |candidate| &candidate.event.occasion);
    let mut customers = of(&[EventKind::BureauRemoved], |candidate| &candidate.subject);
    note(
        tx,
        sql!(
            "SELECT DISTINCT subject AS noticed FROM messages WHERE source_id = $1 AND due_on IS NOT NULL AND NOT redirected
                AND (state IN ('sending', 'sent', 'delivered', 'read', 'in_doubt') OR reason = 'doubt_expired') AND subject",
            (among 2 text)
        ),
        source_id,
        &mut titles,
    )
    .await?;
    note(
        tx,
        sql!(
            "SELECT DISTINCT i.renegotiation_id AS noticed FROM invoices i JOIN messages m ON m.source_id = i.source_id AND m.subject = i.id
             WHERE i.source_id = $1 AND i.renegotiation_id <> '' AND m.due_on IS NOT NULL AND NOT m.redirected AND NOT i.is_open
                AND (m.state IN ('sending', 'sent', 'delivered', 'read', 'in_doubt') OR m.reason = 'doubt_expired') AND i.renegotiation_id",
            (among 2 text)
        ),
        source_id,
        &mut renegotiations,
    )
    .await?;
    note(
        tx,
        sql!(
            "SELECT DISTINCT i.customer_id AS noticed FROM invoices i JOIN messages m ON m.source_id = i.source_id AND m.subject = i.id
             WHERE i.source_id = $1 AND m.due_on IS NOT NULL AND NOT m.redirected
                AND (m.state IN ('sending', 'sent', 'delivered', 'read', 'in_doubt') OR m.reason = 'doubt_expired') AND i.customer_id",
            (among 2 text)
        ),
        source_id,
        &mut customers,
    )
    .await?;
    for candidate in candidates {
        let known = match candidate.event.kind {
            EventKind::Renegotiated => renegotiations.get(&candidate.event.occasion),
            EventKind::BureauRemoved => customers.get(&candidate.subject),
            EventKind::Settled | EventKind::Cancelled | EventKind::Reopened => titles.get(&candidate.subject),
        };
        candidate.was_noticed = known.copied().unwrap_or(false);
    }
    Ok(())
}

/// Asks which of the keys were noticed.
async fn note(
    tx: &mut Tx,
    statement: crate::database::Sql,
    source_id: SourceId,
    keys: &mut BTreeMap<String, bool>,
) -> Result<(), LedgerError> {
    if keys.is_empty() {
        return Ok(());
    }
    let asked = json!(keys.keys().collect::<Vec<_>>()).to_string();
    for row in tx.fetch(statement, values![source_id, asked]).await? {
        keys.insert(row.text("noticed")?, true);
    }
    Ok(())
}

/// Which of the decided events no run has consumed, under the source's lock: the others' messages are somebody else's.
pub(crate) async fn unconsumed(tx: &mut Tx, decisions: &[EventDecision]) -> Result<HashSet<Uuid>, LedgerError> {
    if decisions.is_empty() {
        return Ok(HashSet::new());
    }
    let ids = crate::snapshot::json_ids(decisions.iter().map(|decision| decision.id));
    let rows = tx
        .fetch(sql!("SELECT id, consumed_by FROM events WHERE id", (among 1 uuid), " ORDER BY id", for_update), values![ids])
        .await?;
    let mut unconsumed = HashSet::with_capacity(rows.len());
    for row in &rows {
        if row.opt_id("consumed_by")?.is_none() {
            unconsumed.insert(row.id("id")?);
        }
    }
    Ok(unconsumed)
}

/// Marks [`unconsumed`] events as consumed by a run; how many.
pub(crate) async fn consume(tx: &mut Tx, run_id: RunId, decisions: &[&EventDecision]) -> Result<u64, LedgerError> {
    if decisions.is_empty() {
        return Ok(0);
    }
    let row = |decision: &&EventDecision| json!({"id": decision.id, "outcome": decision.outcome, "message_id": decision.message});
    let rows: Vec<_> = decisions.iter().map(row).collect();
    tx.execute(
        sql!(
            "UPDATE events SET outcome = r.outcome, message_id = r.message_id, consumed_by = $2 FROM ",
            (rows 1 r id: uuid, outcome: text, message_id: uuid),
            " WHERE events.id = r.id"
        ),
        values![json!(rows).to_string(), run_id],
    )
    .await
}
