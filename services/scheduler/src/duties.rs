//! The periodic duties on messages, each bounded and safe in any number of schedulers.

use regua_ledger::LedgerError;
use regua_ledger::sweeps::HINT_LOST_AFTER;
use regua_pipeline::Pipeline;

/// Attempts whose lease expired become doubtful, never queued again.
pub async fn rescue(pipeline: &Pipeline) -> Result<(), LedgerError> {
    let rescued = pipeline.ledger.rescue().await?;
    if rescued > 0 {
        tracing::error!(messages = rescued, "message.in_doubt: nobody reported these attempts; see `regua in-doubt list`");
    }
    Ok(())
}

/// Messages whose time has passed end.
pub async fn expire(pipeline: &Pipeline) -> Result<(), LedgerError> {
    let expired = pipeline.ledger.expire().await?;
    if expired > 0 {
        tracing::warn!(messages = expired, "message.expired");
    }
    Ok(())
}

/// Queued messages whose hints the broker lost wait again: only while the broker has fewer hints than the ledger has queued messages.
pub async fn find_lost_hints(pipeline: &Pipeline) -> Result<(), LedgerError> {
    let queued = pipeline.ledger.queued().await?;
    if queued == 0 {
        return Ok(());
    }
    let ready = match pipeline.broker.ready_hints().await {
        Ok(ready) => ready,
        Err(error) => {
            tracing::debug!(%error, "scheduler.broker_depth_unknown");
            return Ok(());
        }
    };
    if ready >= queued {
        return Ok(());
    }
    let lost = pipeline.ledger.unqueue(HINT_LOST_AFTER).await?;
    if lost > 0 {
        tracing::warn!(messages = lost, queued, ready, "message.hint_lost");
    }
    Ok(())
}
