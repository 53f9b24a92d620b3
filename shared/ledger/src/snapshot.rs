//! What the ledger knows of messages that are about to be topped up or started: one statement for both.

use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::mirror::told::with_what_was_told;
use crate::notices::read_filling;
use crate::stops::{Belongs, Stops};
use crate::totals::TotalsOf;
use chrono::{NaiveDate, TimeDelta};
use regua_domain::admission::Snapshot;
use regua_domain::decide::DatedStage;
use regua_domain::filling::Filling;
use regua_domain::frequency::Precedence;
use regua_domain::ids::{AttemptId, BusinessId, ChannelId, CustomerId, IntegrationId, MessageId, NoticeId, PolicyId, SourceId};
use regua_domain::message::State;
use regua_domain::mirror::Invoice;
use regua_domain::money::Centavos;
use regua_domain::policy::ClosedDay;
use regua_domain::render::NoticePlan;
use regua_domain::stage::Stage;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A message's snapshot with the keys that the transaction needs.
pub(crate) struct Loaded {
    pub id: MessageId,
    pub source_id: SourceId,
    pub snapshot: Snapshot,
    pub phone_key: String,
    pub attempts: u32,
    pub channel_id: ChannelId,
    pub business_id: BusinessId,
    pub integration_id: IntegrationId,
    pub limits: Limits,
    pub precedence: Precedence,
    /// The attempt before.
    pub attempt: Option<AttemptId>,
    /// The `traceparent` of the run that decided it.
    pub run_trace: Option<String>,
}

impl Loaded {
    fn customer(&self) -> Option<&CustomerId> {
        self.snapshot.invoice.as_ref()?.customer_id.as_ref()
    }
}

/// The limits of a message's channel and business; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub per_second: Option<u32>,
    pub recipients_per_24h: Option<u32>,
}

impl Limits {
    pub(crate) fn read(row: &Row) -> Result<Self, LedgerError> {
        let limit = |column| Ok::<_, LedgerError>(row.opt_int(column)?.and_then(|n| u32::try_from(n).ok()));
        Ok(Self { per_second: limit("per_second")?, recipients_per_24h: limit("recipients_per_24h")? })
    }
}

/// Loads the snapshots of `ids` as they are on `today`, the provider's date, in the order of their ids. Lock the rows before, where the
/// result decides a write.
pub(crate) async fn load(tx: &mut Tx, ids: &[MessageId], today: NaiveDate, stops: &Stops) -> Result<Vec<Loaded>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT m.id, m.source_id, m.state, m.stage, m.next_attempt_at, m.expires_at, m.due_on, m.occasion, m.facts_version, m.phone_key, m.phone_slot_at,
                        m.amount, m.attempts, m.attempt_id, r.trace AS run_trace, m.channel_id, m.policy_id, ch.business_id, ch.integration_id, ch.per_second, b.recipients_per_24h,
                        i.record AS invoice, CASE WHEN m.due_on IS NOT NULL AND i.told_at >= i.observed_at THEN i.told END AS told, i.pix_code, i.pix_amount, i.pix_expires_on, c.record AS customer, hi.until_on AS invoice_held_until, hc.until_on AS customer_held_until,
                        ps.days, n.id AS notice_id, n.channel_id AS notice_channel_id,
                        n.template_id, n.variables, n.payment, n.media, nc.provider_id AS provider_channel_id, COALESCE(ps.hours, p.hours) AS hours,
                        nx.stage AS next_stage, nx.days AS next_days, nx.closed_day, COALESCE(nx.hours, p.hours) AS next_hours,
                        COALESCE(p.stated_activated_on, nx.activated_on, p.activated_on) AS next_active_from,
                        EXISTS (SELECT 1 FROM opt_outs o WHERE o.phone_key = m.phone_key AND o.scope IN ('all', CAST(ch.business_id AS TEXT))) AS opted_out,
                        (COALESCE(r.approval, '') = 'waiting') AS unapproved, s.max_age_s, s.last_look_s, s.last_look_unanswered, s.look_again_at,
                        CASE WHEN s.enabled THEN s.complete_at END AS complete_at,
                        CASE WHEN m.stage = 'bureau_removed' THEN c.observed_at ELSE i.observed_at END AS observed_at,
                        CASE WHEN m.stage = 'renegotiated' THEN
                          (SELECT MIN(a.due_on) FROM invoices a WHERE a.source_id = m.source_id AND a.renegotiation_id = m.occasion
                              AND a.renegotiation_id <> '' AND a.is_open) END AS renegotiated_to
                 FROM messages m
                 JOIN channels ch ON ch.id = m.channel_id
                 JOIN businesses b ON b.id = ch.business_id
                 JOIN sources s ON s.id = m.source_id
                 JOIN runs r ON r.id = m.run_id
                 LEFT JOIN invoices i ON i.source_id = m.source_id AND i.id = m.subject AND m.stage <> 'bureau_removed'
                 LEFT JOIN customers c ON c.source_id = m.source_id
                    AND c.id = CASE WHEN m.stage = 'bureau_removed' THEN m.subject ELSE i.customer_id END
                 LEFT JOIN holds hi ON hi.source_id = m.source_id AND hi.kind = 'invoice' AND hi.subject = m.subject AND hi.lifted_at IS NULL
                 LEFT JOIN holds hc ON hc.source_id = m.source_id AND hc.kind = 'customer' AND hc.subject = i.customer_id AND hc.lifted_at IS NULL
                 LEFT JOIN policies p ON p.id = m.policy_id AND p.enabled
                 LEFT JOIN policy_stages ps ON ps.policy_id = p.id AND ps.stage = m.stage AND ps.enabled
                 LEFT JOIN policy_stages nx ON nx.policy_id = ps.policy_id AND nx.enabled AND nx.days =
                     (SELECT MIN(later.days) FROM policy_stages later WHERE later.policy_id = ps.policy_id AND later.enabled AND later.days > ps.days)
                 LEFT JOIN notices n ON n.id = ps.notice_id
                 LEFT JOIN channels nc ON nc.id = n.channel_id
                 WHERE m.id",
                (among 1 uuid),
                " ORDER BY m.id"
            ),
            values![json_ids(ids.iter().map(|id| id.0))],
        )
        .await?;
    let mut notices = Notices::default();
    let mut loaded = rows.iter().map(|row| read(row, today, stops, &mut notices)).collect::<Result<Vec<_>, _>>()?;
    add_totals(tx, &mut loaded).await?;
    Ok(loaded)
}

/// Adds up what the customers owe in all, for the messages whose notice says it.
async fn add_totals(tx: &mut Tx, loaded: &mut [Loaded]) -> Result<(), LedgerError> {
    let says_it = |message: &&Loaded| message.snapshot.notice.as_ref().is_some_and(NoticePlan::needs_totals);
    let customers = loaded.iter().filter(says_it).filter_map(|message| Some((message.source_id, message.customer()?)));
    let totals = TotalsOf::load(tx, customers).await?;
    for message in loaded {
        message.snapshot.totals = totals.of(message.source_id, message.customer());
    }
    Ok(())
}

fn read(row: &Row, today: NaiveDate, stops: &Stops, notices: &mut Notices) -> Result<Loaded, LedgerError> {
    let stage = row.named("stage", Stage::parse)?;
    let notice = match row.opt_id("notice_id")? {
        Some(id) => notices.plan(NoticeId(id), row)?,
        None => None,
    };
    let mut invoice: Option<Invoice> = row.opt_json("invoice")?;
    if let Some(mut found) = invoice.take() {
        crate::pix::add_code(row, &mut found, today)?;
        invoice = Some(with_what_was_told(row, found)?);
    }
    // A row that the last sync didn't confirm is as old as its own look, however young the source is.
    let looked_at = row.opt_instant("complete_at")?.zip(row.opt_instant("observed_at")?).map(|(source, row)| source.min(row));
    let fresh_until = looked_at.zip(TimeDelta::try_seconds(row.int("max_age_s")?));
    let belongs = Belongs {
        business: BusinessId(row.id("business_id")?),
        integration: IntegrationId(row.id("integration_id")?),
        channel: ChannelId(row.id("channel_id")?),
        template: notice.as_ref().map_or("", |notice| notice.template_id.as_str()),
        policy: PolicyId(row.id("policy_id")?),
        stage,
    };
    Ok(Loaded {
        id: MessageId(row.id("id")?),
        source_id: SourceId(row.id("source_id")?),
        phone_key: row.opt_text("phone_key")?.unwrap_or_default(),
        attempts: row.small("attempts")?,
        attempt: row.opt_id("attempt_id")?.map(AttemptId),
        run_trace: row.opt_text("run_trace")?,
        channel_id: belongs.channel,
        business_id: belongs.business,
        integration_id: belongs.integration,
        limits: Limits::read(row)?,
        precedence: Precedence::new(stage, row.opt_date("due_on")?, Centavos(row.int("amount")?), MessageId(row.id("id")?)),
        snapshot: Snapshot {
            stage,
            days: row.opt_int("days")?,
            state: row.named("state", State::parse)?,
            next_attempt_at: row.opt_instant("next_attempt_at")?,
            expires_at: row.instant("expires_at")?,
            due_on: row.opt_date("due_on")?,
            occasion: row.text("occasion")?,
            renegotiated_to: row.opt_date("renegotiated_to")?,
            facts_version: row.text("facts_version")?,
            phone_slot_at: row.opt_instant("phone_slot_at")?,
            invoice,
            customer: row.opt_json("customer")?,
            totals: None,
            opted_out: row.flag("opted_out")?,
            stopped: stops.hold(&belongs) || row.flag("unapproved")?,
            held_until: crate::holds::held_until(row)?,
            fresh_until: fresh_until.map(|(at, age)| at + age),
            look: crate::looks::of_title(row, stage)?,
            notice,
            hours: row.opt_json("hours")?,
            next_stage: next_stage(row)?,
        },
    })
}

/// The stage that comes after a row's own in its policy.
fn next_stage(row: &Row) -> Result<Option<DatedStage>, LedgerError> {
    let Some(stage) = row.opt_named("next_stage", Stage::parse)? else { return Ok(None) };
    Ok(Some(DatedStage {
        stage,
        days: row.int("next_days")?,
        active_from: row.date("next_active_from")?,
        closed_day: crate::configuration::read_closed_day(row, stage)?.unwrap_or(ClosedDay::default_of(stage)),
        hours: row.opt_json("next_hours")?,
    }))
}

/// What the notices met in one load fill their templates with.
#[derive(Default)]
struct Notices(HashMap<NoticeId, Option<Filling>>);

impl Notices {
    /// The notice of a row; `None` when what it says is no longer understood.
    fn plan(&mut self, id: NoticeId, row: &Row) -> Result<Option<NoticePlan>, LedgerError> {
        let known = match self.0.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(read_filling(row).ok()),
        };
        let Some(filling) = known else { return Ok(None) };
        Ok(Some(NoticePlan {
            id,
            channel_id: ChannelId(row.id("notice_channel_id")?),
            provider_channel_id: row.text("provider_channel_id")?,
            template_id: row.text("template_id")?,
            filling: filling.clone(),
        }))
    }
}

/// A JSON array of ids, as `(among …)` takes it.
pub(crate) fn json_ids(ids: impl Iterator<Item = uuid::Uuid>) -> String {
    serde_json::Value::from(ids.map(|id| id.to_string()).collect::<Vec<_>>()).to_string()
}
