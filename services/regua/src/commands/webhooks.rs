//! What webhooks told.

use crate::commands::{Outcome, Session};
use crate::output::{self, Format};
use regua_ledger::receipts::ReceiptView;

impl Session {
    pub async fn webhook_samples(&self, format: Format) -> anyhow::Result<Outcome> {
        let samples = self.ledger.webhook_samples().await?;
        output::list(format, &samples, &["integration", "received at", "why", "shape"], |sample| {
            vec![sample.integration.clone(), sample.received_at.to_rfc3339(), sample.why.clone(), sample.shape.clone()]
        })?;
        Ok(Outcome::Done)
    }
}

/// What receipts said of a message, for a person; nothing if there are none.
pub(super) fn receipt_list(receipts: &[ReceiptView]) -> anyhow::Result<()> {
    if receipts.is_empty() {
        return Ok(());
    }
    let headings = ["receipt", "received at", "proved by", "attempt", "code", "it was"];
    output::list(Format::Human, receipts, &headings, |receipt| {
        vec![
            receipt.status.to_string(),
            receipt.received_at.to_rfc3339(),
            receipt.proved_by.to_string(),
            receipt.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
            receipt.provider_code.map(|code| code.to_string()).unwrap_or_default(),
            receipt.state_before.to_string(),
        ]
    })
}
