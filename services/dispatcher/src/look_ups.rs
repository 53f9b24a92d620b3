//! Looks for doubtful messages in Opa! Suite's talks with customers, where an integration asks for it.
//!
//! It is here because here are the clients, each with its integration's present token. Of several dispatchers one has an integration's look,
//! and asks slowly: what people wait for in Opa! Suite comes first.

use crate::Dispatcher;
use crate::routes::Way;
use chrono::NaiveDate;
use regua_domain::look_up::Sought;
use regua_ledger::LedgerError;
use regua_ledger::look_ups::{Hit, LookUp};
use regua_ledger::receipts::{ReceiptAnswer, Received};
use regua_opa_suite::{LIST_PAGE_ROWS, ListError, OpaClient};
use regua_telemetry::logging::Chain;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often it is looked whether a look is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often an integration is asked while a look is under way.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Pages of talks that are read for the messages of one day; in a day with more talks than these hold, the later ones aren't found.
const PAGES_MAX: usize = 20;
/// Talks of one message that are read.
const TALKS_MAX: usize = 5;

/// Takes one look after the other, when there is one.
pub async fn keep_looking(dispatcher: Arc<Dispatcher>) {
    let mut every = interval(LOOK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match dispatcher.pipeline.ledger.take_look_up().await {
            Ok(Some(look_up)) => {
                if let Err(error) = look(&dispatcher, look_up).await {
                    tracing::warn!(error = %Chain(&error), "look_up.not_noted");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(error = %Chain(&error), "look_up.not_taken"),
        }
    }
}

/// A look without an answer isn't noted: the same is looked for again when its time is over.
async fn look(dispatcher: &Dispatcher, look_up: LookUp) -> Result<(), LedgerError> {
    let integration = look_up.integration;
    let Some(way) = dispatcher.routes.all().into_iter().find(|way| way.route.integration_id == integration) else {
        return Ok(());
    };
    match hits(&way, &look_up.sought).await {
        Ok(hits) => {
            let sought = look_up.sought.len();
            let received = dispatcher.pipeline.ledger.note_look_up(look_up, hits).await?;
            tell(dispatcher, &way, sought, &received);
        }
        Err(error) => {
            count(dispatcher, "unanswered", look_up.sought.len());
            tracing::warn!(integration = way.route.integration, error = %Chain(&error), "look_up.unanswered");
        }
    }
    Ok(())
}

/// What is shown of what is looked for.
async fn hits(way: &Way, sought: &[Sought]) -> Result<Vec<Hit>, ListError> {
    let mut pace = interval(ASK_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut by_days: BTreeMap<(NaiveDate, NaiveDate), Vec<&Sought>> = BTreeMap::new();
    for one in sought {
        by_days.entry(one.days()).or_default().push(one);
    }
    let mut hits = Vec::new();
    for (days, sought) in by_days {
        for (one, talks) in talks_of(&way.client, &mut pace, days, &sought).await? {
            hits.extend(hit(&way.client, &mut pace, one, &talks).await?);
        }
    }
    Ok(hits)
}

/// The talks with each one's phone through its channel, as many as are read.
async fn talks_of<'a>(
    client: &OpaClient,
    pace: &mut Interval,
    (first, last): (NaiveDate, NaiveDate),
    sought: &[&'a Sought],
) -> Result<Vec<(&'a Sought, Vec<String>)>, ListError> {
    let mut found: Vec<(&Sought, Vec<String>)> = sought.iter().map(|one| (*one, Vec::new())).collect();
    let mut begins_with = None;
    for page in 0..PAGES_MAX {
        pace.tick().await;
        let talks = client.conversations(first, last, page * LIST_PAGE_ROWS).await?;
        let first_id = talks.first().map(|talk| talk.id.clone());
        // The server ignores `skip`: there is nothing new.
        if first_id == begins_with {
            break;
        }
        for talk in &talks {
            let of_it = found.iter_mut().filter(|(one, _)| {
                talk.phone.as_ref() == Some(&one.phone) && talk.channel_id.eq_ignore_ascii_case(&one.provider_channel_id)
            });
            of_it.filter(|(_, ids)| ids.len() < TALKS_MAX).for_each(|(_, ids)| ids.push(talk.id.clone()));
        }
        if talks.len() < LIST_PAGE_ROWS {
            break;
        }
        begins_with = first_id;
    }
    Ok(found)
}

/// The first record of these talks that shows it.
async fn hit(client: &OpaClient, pace: &mut Interval, sought: &Sought, talks: &[String]) -> Result<Option<Hit>, ListError> {
    for talk in talks {
        pace.tick().await;
        let messages = client.conversation_messages(talk).await?;
        if let Some(shown) = messages.into_iter().find(|shown| sought.is_shown_by(shown)) {
            return Ok(Some(Hit { message: sought.message, attempt: sought.attempt, record: shown.id }));
        }
    }
    Ok(None)
}

fn tell(dispatcher: &Dispatcher, way: &Way, sought: usize, received: &Received) {
    let mut settled = 0;
    for answer in &received.answers {
        if let ReceiptAnswer::Moved { message, from, to, .. } = answer {
            settled += 1;
            tracing::info!(%message, %from, %to, "look_up.found");
        }
    }
    count(dispatcher, "found", settled);
    count(dispatcher, "not_found", sought - settled);
    tracing::debug!(integration = way.route.integration, sought, settled, "look_up.done");
}

fn count(dispatcher: &Dispatcher, outcome: &'static str, messages: usize) {
    let help = "Doubtful messages looked for in Opa! Suite's talks, by what came of it.";
    dispatcher.process.metrics.counter("regua_look_ups_total", help, &[("outcome", outcome)]).add(messages as u64);
}
