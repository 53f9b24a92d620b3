//! `regua audit`: every intervention, the newest first.

use crate::commands::lists::{PAGE, cell};
use crate::commands::{Outcome, Session};
use crate::output::{self, Format};
use regua_ledger::audit::{Filter, Record};
use serde_json::{Value, json};

impl Session {
    pub async fn audit(&self, mut filter: Filter, number: u32, format: Format) -> anyhow::Result<Outcome> {
        let (mut left, mut headings) = (number, ["at", "by", "action", "target", "why", "was", "became"]);
        let fields = headings;
        loop {
            filter.limit = Some(left.min(PAGE));
            let page = self.ledger.audit_log(&filter).await?;
            let lines: Vec<_> = page.iter().map(record_json).collect();
            output::list(format, &lines, &headings, |record| fields.map(|field| cell(&record[field])).to_vec())?;
            left -= u32::try_from(page.len()).unwrap_or(left).min(left);
            headings = [""; 7];
            match page.last() {
                Some(last) if left > 0 && page.len() == PAGE as usize => filter.before = Some(last.id),
                _ => return Ok(Outcome::Done),
            }
        }
    }
}

fn record_json(record: &Record) -> Value {
    json!({
        "id": record.id, "at": record.at, "by": record.by, "action": record.action, "target": record.target, "why": record.why,
        "was": record.was, "became": record.became,
    })
}
