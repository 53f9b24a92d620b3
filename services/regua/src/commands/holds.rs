//! `regua hold`: customers and invoices that are left alone to the end of a date.

use crate::commands::changes::who;
use crate::commands::lists::{PAGE, cell};
use crate::commands::{Outcome, Session};
use crate::operator::Request;
use crate::operator::holds::{HoldRequest, LiftRequest};
use crate::output::{self, Format};
use chrono::NaiveDate;
use regua_domain::switches::HoldKind;
use regua_ledger::holds::Hold;
use serde_json::{Value, json};

/// What `regua hold` is told of one customer or invoice.
pub struct Held {
    /// Customer or invoice.
    pub kind: HoldKind,
    /// Its id in the ERP.
    pub id: String,
    /// Why.
    pub why: String,
    /// The source's name.
    pub source: Option<String>,
}

impl Session {
    pub async fn hold(&self, held: Held, until_on: NaiveDate, force: bool, format: Format) -> anyhow::Result<Outcome> {
        let Held { kind, id: subject, why, source } = held;
        let request = HoldRequest { kind, subject, until_on, why, source, force, by: who() };
        self.submit_and_tell(Request::Hold(request), format).await
    }

    pub async fn hold_remove(&self, held: Held, format: Format) -> anyhow::Result<Outcome> {
        let Held { kind, id: subject, why, source } = held;
        self.submit_and_tell(Request::LiftHold(LiftRequest { kind, subject, why, source, by: who() }), format).await
    }

    pub async fn hold_list(&self, format: Format) -> anyhow::Result<Outcome> {
        let mut after = None;
        loop {
            let page = self.ledger.holds(after, PAGE).await?;
            let lines: Vec<_> = page.iter().map(hold_json).collect();
            let headings: &[&str] = &["source", "kind", "id", "until", "by", "since", "why"];
            let fields = headings;
            output::list(format, &lines, if after.is_none() { headings } else { &[""; 7] }, |hold| {
                fields.iter().map(|field| cell(&hold[*field])).collect()
            })?;
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.id),
                _ => return Ok(Outcome::Done),
            }
        }
    }
}

/// A hold as `regua hold list --json` and `regua policy explain --json` tell it.
pub(super) fn hold_json(hold: &Hold) -> Value {
    json!({
        "source": hold.source, "kind": hold.kind, "id": hold.subject, "until": hold.until_on, "by": hold.set_by, "since": hold.since_at,
        "why": hold.why,
    })
}
