//! Templates: what they say as a person accepted it, kept to be compared with what Opa! Suite has now.
//!
//! The text that is seen first is the accepted one. Another one later, one that no longer fits its notices, or one that is gone stops the
//! messages of that template, and of no other, until a person accepts it or it is as before again.

use crate::Ledger;
use crate::audit::{self, Entry};
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::notices::read_filling;
use crate::stops::{self, NewStop};
use chrono::{DateTime, Utc};
use regua_domain::audit::Action;
use regua_domain::stop::{BY_TEMPLATE, StopScope};
use regua_domain::template::{TemplateFault, TemplateText, fits};
use serde_json::json;
use std::sync::Arc;

/// A template as Opa! Suite has it now.
#[derive(Clone, Debug)]
pub struct SeenTemplate {
    /// The integration's name.
    pub integration: String,
    /// The template's id.
    pub template_id: String,
    /// What it says; `None` when its channel doesn't have it.
    pub now: Option<TemplateText>,
}

/// A template that stops its messages.
#[derive(Clone, Debug)]
pub struct StoppedTemplate {
    /// The template's id.
    pub template_id: String,
    /// Why.
    pub fault: TemplateFault,
    /// Whether this look found it out.
    pub is_new: bool,
}

/// A template as a person sees it.
#[derive(Clone, Debug)]
pub struct Template {
    /// The integration's name.
    pub integration: String,
    /// The template's id.
    pub template_id: String,
    /// Its name in Opa! Suite, as it was last seen.
    pub name: String,
    /// What was accepted; `None` for one that was never there.
    pub text: Option<String>,
    /// What it said at the last look; `None` for one that was gone.
    pub seen_text: Option<String>,
    /// When that was.
    pub seen_at: DateTime<Utc>,
    /// Who accepted it, if it was another before.
    pub accepted_by: Option<String>,
}

/// What became of accepting a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// From now on it counts as it is now.
    Accepted {
        /// Whether it was stopped, and goes on.
        resumed: bool,
    },
    /// There is no notice of that name.
    UnknownNotice,
    /// Opa! Suite was never asked for it.
    NeverSeen,
    /// It can't be sent as it is now.
    Unfit(TemplateFault),
}

impl Ledger {
    /// Notes what templates say now, in the order of their ids; stops and resumes their messages. Those that are stopped.
    pub async fn note_templates(&self, mut seen: Vec<SeenTemplate>) -> Result<Vec<StoppedTemplate>, LedgerError> {
        if seen.is_empty() {
            return Ok(Vec::new());
        }
        seen.sort_by(|a, b| (&a.integration, &a.template_id).cmp(&(&b.integration, &b.template_id)));
        let seen = Arc::new(seen);
        self.db
            .write(move |tx| {
                let seen = Arc::clone(&seen);
                Box::pin(async move {
                    let now = tx.now().await?;
                    let mut stopped = Vec::new();
                    for template in seen.iter() {
                        stopped.extend(note(tx, template, now).await?);
                    }
                    Ok(stopped)
                })
            })
            .await
    }

    /// Accepts the template of a notice as Opa! Suite had it at the last look, and lifts its stop.
    pub async fn accept_template(&self, notice: String, by: String, why: String) -> Result<Accepted, LedgerError> {
        self.db
            .write(move |tx| {
                let (notice, by, why) = (notice.clone(), by.clone(), why.clone());
                Box::pin(async move { accept(tx, &notice, &by, &why).await })
            })
            .await
    }

    /// Every template that was ever seen.
    pub async fn templates(&self) -> Result<Vec<Template>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT t.template_id, t.name, t.text, t.seen_text, t.seen_at, t.accepted_by, i.name AS integration
                     FROM templates t JOIN integrations i ON i.id = t.integration_id ORDER BY i.name, t.name, t.template_id"
                ),
                vec![],
            )
            .await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<Template, LedgerError> {
    Ok(Template {
        integration: row.text("integration")?,
        template_id: row.text("template_id")?,
        name: row.text("name")?,
        text: row.opt_text("text")?,
        seen_text: row.opt_text("seen_text")?,
        seen_at: row.instant("seen_at")?,
        accepted_by: row.opt_text("accepted_by")?,
    })
}

async fn note(tx: &mut Tx, seen: &SeenTemplate, now: DateTime<Utc>) -> Result<Option<StoppedTemplate>, LedgerError> {
    let (name, text) = seen.now.as_ref().map(|now| (now.name.as_str(), now.text.as_str())).unzip();
    let row = tx
        .fetch_optional(
            sql!(
                "INSERT INTO templates (integration_id, template_id, name, text, seen_text, seen_at)
                 SELECT i.id, $2, COALESCE(CAST($3 AS TEXT), ''), CAST($4 AS TEXT), CAST($4 AS TEXT), $5 FROM integrations i WHERE i.name = $1
                 ON CONFLICT (integration_id, template_id) DO UPDATE SET
                    name = CASE WHEN excluded.name = '' THEN templates.name ELSE excluded.name END,
                    text = COALESCE(templates.text, excluded.text), seen_text = excluded.seen_text, seen_at = excluded.seen_at
                 RETURNING name, text"
            ),
            values![&seen.integration, &seen.template_id, name, text, now],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let fault = match fault_of(tx, seen).await? {
        None if row.opt_text("text")?.as_deref() != text => Some(TemplateFault::Changed { name: row.text("name")? }),
        fault => fault,
    };
    let Some(fault) = fault else {
        stops::lift(tx, StopScope::Template, &seen.template_id, Some(BY_TEMPLATE), "the template is as it was accepted", now)
            .await?;
        return Ok(None);
    };
    let stop = NewStop {
        scope: StopScope::Template,
        target: seen.template_id.clone(),
        raised_by: BY_TEMPLATE.into(),
        why: fault.to_string(),
        until_at: None,
    };
    let is_new = stops::raise(tx, &stop, now).await?;
    Ok(Some(StoppedTemplate { template_id: seen.template_id.clone(), fault, is_new }))
}

/// Why the first of the notices in use that have this template can't be sent with it.
async fn fault_of(tx: &mut Tx, seen: &SeenTemplate) -> Result<Option<TemplateFault>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT n.variables, n.payment, n.media FROM notices n JOIN integrations i ON i.id = n.integration_id
                 WHERE n.template_id = $1 AND i.name = $2
                    AND EXISTS (SELECT 1 FROM policy_stages ps JOIN policies p ON p.id = ps.policy_id WHERE ps.notice_id = n.id AND ps.enabled AND p.enabled)
                 ORDER BY n.id"
            ),
            values![&seen.template_id, &seen.integration],
        )
        .await?;
    for row in &rows {
        if let Err(fault) = fits(&seen.template_id, seen.now.as_ref(), &read_filling(row)?.parameters) {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

async fn accept(tx: &mut Tx, notice: &str, by: &str, why: &str) -> Result<Accepted, LedgerError> {
    let found = tx
        .fetch_optional(
            sql!("SELECT integration_id, template_id, variables, payment, media FROM notices WHERE name = $1"),
            values![notice],
        )
        .await?;
    let Some(found) = found else { return Ok(Accepted::UnknownNotice) };
    let (integration, template_id) = (found.id("integration_id")?, found.text("template_id")?);
    let row = tx
        .fetch_optional(
            sql!("SELECT name, text, seen_text FROM templates WHERE integration_id = $1 AND template_id = $2", for_update),
            values![integration, &template_id],
        )
        .await?;
    let Some(row) = row else { return Ok(Accepted::NeverSeen) };
    let name = row.text("name")?;
    let now = row.opt_text("seen_text")?.map(|text| TemplateText { name, text });
    if let Err(fault) = fits(&template_id, now.as_ref(), &read_filling(&found)?.parameters) {
        return Ok(Accepted::Unfit(fault));
    }
    let at = tx.now().await?;
    tx.execute(
        sql!(
            "UPDATE templates SET text = seen_text, accepted_at = $3, accepted_by = $4, accepted_why = $5
             WHERE integration_id = $1 AND template_id = $2"
        ),
        values![integration, &template_id, at, by, why],
    )
    .await?;
    let was = Some(json!({ "template": template_id, "text": row.opt_text("text")? }));
    let became = Some(json!({ "template": template_id, "text": row.opt_text("seen_text")? }));
    let entry = Entry { by, action: Action::TemplateAccepted, target: notice, why: Some(why), was, became };
    audit::note(tx, entry, at).await?;
    let lifted = stops::lift(tx, StopScope::Template, &template_id, Some(BY_TEMPLATE), by, at).await?;
    Ok(Accepted::Accepted { resumed: lifted > 0 })
}
