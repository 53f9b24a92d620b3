//! Asks Opa! Suite for each channel's daily allowance and notes it in the ledger, where every start goes by it.
//!
//! Other systems that send through the same number spend it too, so no count of our own takes its place.

use crate::Dispatcher;
use crate::routes::Way;
use regua_domain::ids::ChannelId;
use regua_ledger::LedgerError;
use regua_telemetry::logging::Chain;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked whether a channel is due to be asked about.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// When that is first: the routes have been read by then.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(1);

/// Asks again and again, for one channel after the other.
pub async fn keep_asking(dispatcher: Arc<Dispatcher>) {
    let mut every = tokio::time::interval_at(Instant::now() + FIRST_LOOK_AFTER, LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = HashSet::new();
    loop {
        every.tick().await;
        for way in dispatcher.routes.all() {
            if let Err(error) = ask(&dispatcher, &way, &mut told).await {
                tracing::debug!(channel = %way.route.channel_id, error = %Chain(&error), "allowance.not_noted");
            }
        }
    }
}

/// `told`: the channels of which the log has it that their allowance can't be read.
async fn ask(dispatcher: &Dispatcher, way: &Way, told: &mut HashSet<ChannelId>) -> Result<(), LedgerError> {
    let (ledger, channel) = (&dispatcher.pipeline.ledger, way.route.channel_id);
    let Some(look) = ledger.take_allowance_look(channel).await? else { return Ok(()) };
    match way.client.daily_allowance(&way.route.provider_channel_id).await {
        Ok(reported) => {
            told.remove(&channel);
            if let Some(reported) = reported {
                tracing::debug!(%channel, sent = reported.sent, limit = reported.limit, available = reported.available, "allowance.reported");
            }
            ledger.note_allowance(look, reported.map(|reported| reported.available)).await
        }
        Err(error) if error.is_an_answer() => {
            if told.insert(channel) {
                tracing::warn!(%channel, error = %Chain(&error), "allowance.unreadable: taken for none reported");
            }
            ledger.note_allowance(look, None).await
        }
        // What was reported before holds until it is old.
        Err(error) => {
            tracing::debug!(%channel, error = %Chain(&error), "allowance.not_read");
            Ok(())
        }
    }
}
