//! Release: the only publisher of hints.

use crate::Pipeline;
use futures::{StreamExt as _, stream};
use regua_broker::{Envelope, Hint};
use regua_domain::ids::{ChannelId, MessageId};
use regua_ledger::LedgerError;
use regua_telemetry::trace_context::TraceContext;

/// What a release did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Hints that the broker confirmed.
    pub published: u64,
    /// Messages that ended because they are not called for any more.
    pub skipped: u64,
    /// Whether a channel may have more waiting than there was room for.
    pub more: bool,
}

/// Channels that are topped up at once: most of a top-up is waiting for the ledger. The broker confirms one batch after the other, so that more would
/// only wait there.
const AT_ONCE: usize = 4;

/// Tops up every channel for which something waits: marks, commits, then publishes with confirms. What could not be published waits as before.
///
/// # Errors
/// A channel that failed, after all others had their turn; what was marked before that is found by the look for lost hints.
pub async fn release(pipeline: &Pipeline) -> Result<Released, LedgerError> {
    let mut all = Released::default();
    if pipeline.broker.status().problem().is_some() {
        // Nothing could be published: marking and unmarking the same messages again and again helps nobody.
        return Ok(all);
    }
    let channels = pipeline.ledger.waiting_channels().await?;
    let mut top_ups =
        stream::iter(channels.into_iter().map(|channel| release_channel(pipeline, channel, None))).buffer_unordered(AT_ONCE);
    let mut failed = None;
    while let Some(released) = top_ups.next().await {
        match released {
            Ok(released) => {
                all.published += released.published;
                all.skipped += released.skipped;
                all.more |= released.more;
            }
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(all), Err)
}

/// Tops up one channel; `bound` replaces its own bound, which only a benchmark does.
pub async fn release_channel(pipeline: &Pipeline, channel: ChannelId, bound: Option<u32>) -> Result<Released, LedgerError> {
    let top_up = pipeline.ledger.top_up(channel, bound).await?;
    let unpublished = publish(pipeline, &top_up.queued).await;
    let published = (top_up.queued.len() - unpublished.len()) as u64;
    if !unpublished.is_empty() {
        tracing::warn!(messages = unpublished.len(), "release.hints_not_published");
        pipeline.ledger.unqueue_unpublished(unpublished).await?;
    }
    if published + top_up.skipped > 0 {
        tracing::debug!(%channel, published, skipped = top_up.skipped, rendered_again = top_up.rendered_again, "release.topped_up");
    }
    Ok(Released { published, skipped: top_up.skipped, more: top_up.more })
}

async fn publish(pipeline: &Pipeline, messages: &[MessageId]) -> Vec<MessageId> {
    if messages.is_empty() {
        return Vec::new();
    }
    let trace = TraceContext::current().map(|trace| trace.as_str().to_owned());
    let hints: Vec<_> = messages.iter().map(|&message| Envelope { body: Hint { message }, trace: trace.clone() }).collect();
    match pipeline.broker.publish_hints(&hints).await {
        Ok(unconfirmed) => unconfirmed,
        Err(error) => {
            tracing::warn!(%error, "release.broker_unavailable");
            messages.to_vec()
        }
    }
}
