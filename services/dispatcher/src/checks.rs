//! Lifts stops that an answer raised, when what is asked shows that their cause is gone. Nothing is sent to find that out.
//!
//! It is here because here are the clients, each with its integration's present token. Of several dispatchers one has each check.

use crate::Dispatcher;
use crate::routes::Way;
use regua_domain::ids::ChannelId;
use regua_domain::stop::{BY_CHECK, BY_TEMPLATE, StopScope};
use regua_domain::template::TemplateText;
use regua_ledger::LedgerError;
use regua_ledger::stop_checks::DueCheck;
use regua_ledger::templates::SeenTemplate;
use regua_opa_suite::{ListError, StopCheck, StopReason};
use regua_pipeline::{stop_lifted, stop_name, stop_raised};
use regua_telemetry::logging::Chain;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether a check is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why a stop stays.
#[derive(Debug)]
enum NotLifted {
    /// Its cause is still there, or can't be asked for from here.
    Stays,
    /// Opa! Suite gave no list.
    List(ListError),
    /// The ledger failed.
    Ledger(LedgerError),
}

impl From<ListError> for NotLifted {
    fn from(error: ListError) -> Self {
        Self::List(error)
    }
}

impl From<LedgerError> for NotLifted {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// Looks again and again whether a stop's check is due.
pub async fn keep_checking(dispatcher: Arc<Dispatcher>) {
    let whys: Vec<&str> = StopReason::ALL.iter().filter(|why| why.check().is_some()).map(|why| why.as_str()).collect();
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match dispatcher.pipeline.ledger.take_stop_check(&whys).await {
            Ok(Some(due)) => check(&dispatcher, due).await,
            Ok(None) => {}
            Err(error) => tracing::debug!(error = %Chain(&error), "stop.check_not_taken"),
        }
    }
}

async fn check(dispatcher: &Dispatcher, due: DueCheck) {
    let (scope, why) = (due.scope, due.why.clone());
    let name = stop_name(&dispatcher.pipeline.ledger, scope, &due.target).await;
    match lift(dispatcher, due).await {
        Ok(true) => stop_lifted(scope, &name, BY_CHECK, &why),
        // Somebody else lifted it meanwhile, and said so.
        Ok(false) => {}
        Err(NotLifted::Stays) => tracing::info!(%scope, target = name, why, "stop.checked: it stays"),
        Err(NotLifted::List(error)) => {
            tracing::info!(%scope, target = name, why, error = %Chain(&error), "stop.checked: it stays");
        }
        Err(NotLifted::Ledger(error)) => tracing::warn!(%scope, target = name, why, error = %Chain(&error), "stop.not_checked"),
    }
}

/// Asks for what the stop's cause was about; lifts the stop if it is gone.
async fn lift(dispatcher: &Dispatcher, due: DueCheck) -> Result<bool, NotLifted> {
    let is_gone = match StopReason::named(&due.why).and_then(StopReason::check) {
        Some(StopCheck::Token) => takes_the_token(dispatcher, &due.target).await?,
        Some(StopCheck::Channel) => has_the_channel(dispatcher, &due.target).await?,
        Some(StopCheck::Template) => has_the_template(dispatcher, &due.target).await?,
        None => false,
    };
    if !is_gone {
        return Err(NotLifted::Stays);
    }
    Ok(dispatcher.pipeline.ledger.pass_stop_check(due).await?)
}

async fn takes_the_token(dispatcher: &Dispatcher, integration: &str) -> Result<bool, ListError> {
    let Some(way) = dispatcher.routes.all().into_iter().find(|way| way.route.integration_id.to_string() == integration) else {
        return Ok(false);
    };
    way.client.channels().await.map(|_| true)
}

async fn has_the_channel(dispatcher: &Dispatcher, channel: &str) -> Result<bool, ListError> {
    let Some(way) = dispatcher.routes.all().into_iter().find(|way| way.route.channel_id.to_string() == channel) else {
        return Ok(false);
    };
    let listed = way.client.channels().await?;
    Ok(listed.iter().any(|listed| listed.id == way.route.provider_channel_id && listed.is_active && listed.is_whatsapp()))
}

/// Every channel that sends the template must have it, as it was accepted: its look is noted as any other.
async fn has_the_template(dispatcher: &Dispatcher, template: &str) -> Result<bool, NotLifted> {
    let ledger = &dispatcher.pipeline.ledger;
    let ways: Option<Vec<Way>> = ledger
        .channels_of_template(template)
        .await?
        .into_iter()
        .map(|channel: ChannelId| dispatcher.routes.of(channel))
        .collect();
    let Some(ways) = ways.filter(|ways| !ways.is_empty()) else { return Ok(false) };
    let mut seen = Vec::with_capacity(ways.len());
    for way in ways {
        let listed = way.client.channel_templates(&way.route.provider_channel_id).await?;
        let Some(found) = listed.into_iter().find(|listed| listed.id == template) else { return Ok(false) };
        let now = Some(TemplateText { name: found.name, text: found.text });
        seen.push(SeenTemplate { integration: way.route.integration.clone(), template_id: template.to_owned(), now });
    }
    let changed = ledger.note_templates(seen).await?;
    for stopped in changed.iter().filter(|stopped| stopped.is_new) {
        stop_raised(StopScope::Template, template, BY_TEMPLATE, &stopped.fault.to_string());
    }
    Ok(changed.is_empty())
}
