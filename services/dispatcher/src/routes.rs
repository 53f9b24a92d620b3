//! Where each channel's messages go: a client per integration, kept fresh.

use crate::Dispatcher;
use crate::config::{CONNECT_TIMEOUT, REQUEST_TIMEOUT};
use regua_domain::ids::ChannelId;
use regua_ledger::LedgerError;
use regua_ledger::release::Route;
use regua_opa_suite::{BaseUrl, OpaClient, OpaClientConfig};
use regua_pipeline::{Tokens, allows_private_urls};
use regua_telemetry::health::Readiness;
use regua_telemetry::logging::Chain;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How often the integrations are read again.
const FRESH_EVERY: Duration = Duration::from_secs(5);

/// A channel's way to the provider.
#[derive(Clone)]
pub struct Way {
    /// The channel with its integration.
    pub route: Route,
    /// The integration's client.
    pub client: OpaClient,
    /// The token that it was built with: another one in the file, the environment or the ledger asks for another client.
    token: SecretString,
}

/// The ways of all channels, as of the last look.
#[derive(Default)]
pub struct Routes(RwLock<HashMap<ChannelId, Way>>);

impl Routes {
    /// The way of a channel; `None` while its integration can't be used.
    pub fn of(&self, channel: ChannelId) -> Option<Way> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&channel).cloned()
    }

    /// All ways.
    pub fn all(&self) -> Vec<Way> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Reads the routes again and again. An integration whose token is missing stops alone: its channels have no way, and `/readyz` says why.
pub async fn keep_fresh(dispatcher: Arc<Dispatcher>) {
    let mut every = tokio::time::interval(FRESH_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match look(&dispatcher).await {
            Ok((routes, tokens, allow_private)) => refresh(&dispatcher, routes, &tokens, allow_private),
            Err(error) => tracing::debug!(error = %Chain(&error), "dispatcher.routes_not_read"),
        }
    }
}

async fn look(dispatcher: &Dispatcher) -> Result<(Vec<Route>, Tokens, bool), LedgerError> {
    let Dispatcher { pipeline, process, .. } = dispatcher;
    let tokens = Tokens::load(&pipeline.ledger, &process.config, &process.environment).await?;
    Ok((pipeline.ledger.routes().await?, tokens, allows_private_urls(&pipeline.ledger, &process.config).await?))
}

fn refresh(dispatcher: &Dispatcher, routes: Vec<Route>, tokens: &Tokens, allow_private: bool) {
    let mut fresh = HashMap::new();
    let mut clients: HashMap<_, Result<(OpaClient, SecretString), String>> = HashMap::new();
    for route in routes {
        let health = dispatcher.process.health.scoped("dispatcher");
        let check = format!("integration {}", route.integration);
        if !route.enabled {
            health.remove(&check);
            continue;
        }
        let client = clients.entry(route.integration_id).or_insert_with(|| client(dispatcher, &route, tokens, allow_private));
        match client {
            Ok((client, token)) => {
                health.set(&check, Readiness::Ready);
                fresh.insert(route.channel_id, Way { client: client.clone(), token: token.clone(), route });
            }
            Err(why) => health.set(&check, Readiness::degraded(why.clone())),
        }
    }
    *dispatcher.routes.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
}

/// The client of a route's integration: the known one, unless its address or token changed.
fn client(
    dispatcher: &Dispatcher,
    route: &Route,
    tokens: &Tokens,
    allow_private: bool,
) -> Result<(OpaClient, SecretString), String> {
    let token = tokens.of(&route.token, &route.integration).map_err(|error| Chain(&error).to_string())?;
    let known = dispatcher.routes.of(route.channel_id);
    if let Some(way) = known.filter(|way| way.route == *route && way.token.expose_secret() == token.expose_secret()) {
        return Ok((way.client, token));
    }
    let (base, _) = BaseUrl::parse(&route.url, allow_private).map_err(|error| format!("its url can't be used: {error}"))?;
    let mut config = OpaClientConfig::new(base, token.clone());
    config.connect_timeout = CONNECT_TIMEOUT;
    config.request_timeout = REQUEST_TIMEOUT;
    let client = OpaClient::new(config).map_err(|error| Chain(&error).to_string())?;
    Ok((client, token))
}
