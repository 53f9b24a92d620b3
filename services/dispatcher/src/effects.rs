//! What an answer means for more than its message: a pause, a stop, a breaker that opens.
//!
//! Each is noted in the ledger, for every dispatcher, in a transaction of its own and however often that has to be tried. Until it is noted, this
//! dispatcher sends nothing through what it concerns, nor what it had started before.

use crate::Dispatcher;
use crate::config::HORIZON;
use crate::decide::Effect;
use crate::finisher::AGAIN;
use chrono::{DateTime, Utc};
use regua_domain::ids::ChannelId;
use regua_domain::message::DeferReason;
use regua_domain::stop::{BY_ANSWER, StopScope};
use regua_ledger::LedgerError;
use regua_ledger::release::Route;
use regua_ledger::stops::NewStop;
use regua_pipeline::raise_answered_stop;
use regua_telemetry::health::Readiness;
use regua_telemetry::logging::Chain;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an effect holds back: of such a scope, this one.
type Held = (StopScope, String);

/// What is held back here because the ledger doesn't have it yet.
#[derive(Default)]
pub struct Effects(Mutex<HashMap<Held, Holding>>);

/// Why something is held back.
#[derive(Default)]
struct Holding {
    /// How many answers say so.
    answers: usize,
    /// What is being tried again: by one answer each, for what is noted twice may meet what a check or a person has lifted in between.
    tried_again: Vec<Effect>,
}

impl Effects {
    /// Whether nothing may go this way now; with a template, nothing that is sent with it.
    pub fn hold(&self, route: &Route, template: Option<&str>) -> bool {
        let held = self.lock();
        held.keys().any(|one| held_by(one.0, route, template.unwrap_or_default()) == *one)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Held, Holding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an answer that came this way, to this template, holds back of such a scope.
fn held_by(scope: StopScope, route: &Route, template: &str) -> Held {
    let target = match scope {
        StopScope::Integration => route.integration_id.to_string(),
        StopScope::Channel => route.channel_id.to_string(),
        StopScope::Business => route.business_id.to_string(),
        StopScope::Template => template.to_owned(),
        // No answer stops these: should one ever, everything stops.
        StopScope::Everything | StopScope::Policy | StopScope::Stage => return (StopScope::Everything, String::new()),
    };
    (scope, target)
}

/// An effect that the ledger may not have yet, or hasn't had for long. While it lives, it holds back here what it is about.
pub struct Unnoted<'a> {
    dispatcher: &'a Dispatcher,
    channel: ChannelId,
    effect: Effect,
    held: Held,
    /// When the answer came, by the ledger's clock: what a person or a check has lifted since stays lifted.
    learned_at: DateTime<Utc>,
    is_noted: bool,
    is_tried_again: bool,
}

impl<'a> Unnoted<'a> {
    fn new(dispatcher: &'a Dispatcher, effect: Effect, route: &Route, template: &str) -> Self {
        let scope = match &effect {
            Effect::Pause { .. } | Effect::OpenBreaker => StopScope::Channel,
            Effect::Stop { scope, .. } => *scope,
        };
        let held = held_by(scope, route, template);
        dispatcher.effects.lock().entry(held.clone()).or_default().answers += 1;
        Self {
            dispatcher,
            channel: route.channel_id,
            effect,
            held,
            learned_at: dispatcher.clock.now(),
            is_noted: false,
            is_tried_again: false,
        }
    }

    /// Whether nobody else tries the same again: from now on this one does.
    fn takes_over(&mut self) -> bool {
        let mut held = self.dispatcher.effects.lock();
        let tried_again = &mut held.entry(self.held.clone()).or_default().tried_again;
        if tried_again.contains(&self.effect) {
            return false;
        }
        tried_again.push(self.effect.clone());
        self.is_tried_again = true;
        true
    }

    /// Tries once to note it; whether the ledger has it now.
    async fn note(&mut self, tries: u32) -> bool {
        let noted = match &self.effect {
            Effect::Pause { until } => self.pause(*until).await,
            Effect::Stop { why, .. } => self.stop(why).await,
            Effect::OpenBreaker => self.open_breaker().await,
        };
        let (scope, target) = &self.held;
        if let Err(error) = &noted {
            let effect = &self.effect;
            tracing::warn!(%scope, target, ?effect, tries, error = %Chain(error), "effect.not_noted: nothing goes through it from here");
        }
        self.is_noted = noted.is_ok();
        self.tell_readiness(noted.err().as_ref());
        self.is_noted
    }

    /// `/readyz` says what is held back because the ledger doesn't take it.
    fn tell_readiness(&self, error: Option<&LedgerError>) {
        // One answer speaks for all that say the same.
        if !self.is_tried_again {
            return;
        }
        let (scope, target) = &self.held;
        let (health, check) =
            (self.dispatcher.process.health.scoped("dispatcher"), format!("{scope} {target}").trim_end().to_owned());
        match error {
            Some(error) => {
                let why =
                    format!("nothing is sent through it, for the ledger doesn't take what an answer taught: {}", Chain(error));
                health.set(&check, Readiness::degraded(why));
            }
            None => health.remove(&check),
        }
    }

    async fn pause(&self, until: DateTime<Utc>) -> Result<(), LedgerError> {
        let why = DeferReason::Throttled;
        self.dispatcher.pipeline.ledger.pause_channel(self.channel, until, why).await?;
        tracing::warn!(channel = %self.channel, %until, %why, "channel.paused");
        Ok(())
    }

    async fn stop(&self, why: &str) -> Result<(), LedgerError> {
        let (scope, target) = self.held.clone();
        let stop = NewStop { scope, target, raised_by: BY_ANSWER.into(), why: why.into(), until_at: None };
        raise_answered_stop(&self.dispatcher.pipeline.ledger, stop, self.learned_at).await.map(drop)
    }

    /// Opens the gate's breaker, for every dispatcher: the channel rests, then one probe at a time is sent over all of them (F26 e). This dispatcher
    /// counts its own failures, so that the hot path writes nothing more; with others that fail at the same time, a few more fail before one has
    /// counted to the bound.
    async fn open_breaker(&self) -> Result<(), LedgerError> {
        if let Some(until) = self.dispatcher.pipeline.ledger.open_breaker(self.channel, rand::random()).await? {
            tracing::warn!(channel = %self.channel, %until, "breaker.opened");
        }
        Ok(())
    }
}

impl Drop for Unnoted<'_> {
    fn drop(&mut self) {
        let mut held = self.dispatcher.effects.lock();
        let Some(holding) = held.get_mut(&self.held) else { return };
        holding.answers -= 1;
        if self.is_tried_again {
            holding.tried_again.retain(|effect| *effect != self.effect);
        }
        if holding.answers == 0 {
            held.remove(&self.held);
        }
    }
}

/// What is to be noted of an answer that came this way, to this template.
pub fn learn<'a>(dispatcher: &'a Dispatcher, effects: Vec<Effect>, route: &Route, template: &str) -> Vec<Unnoted<'a>> {
    effects.into_iter().map(|effect| Unnoted::new(dispatcher, effect, route, template)).collect()
}

/// Tries once to note each.
pub async fn note(mut learned: Vec<Unnoted<'_>>) -> Vec<Unnoted<'_>> {
    for one in &mut learned {
        one.note(1).await;
    }
    learned
}

/// Tries again until the ledger has all of them, and holds back for as long as something may have been started before that. The places bound how
/// many wait here; only the end of the shutdown's grace drops them.
pub async fn insist(mut learned: Vec<Unnoted<'_>>) {
    for one in &mut learned {
        if one.is_noted || !one.takes_over() {
            continue;
        }
        let mut tries = 1;
        loop {
            tokio::time::sleep(AGAIN.delay(tries, rand::random())).await;
            tries += 1;
            if one.note(tries).await {
                break;
            }
        }
    }
    if !learned.is_empty() {
        tokio::time::sleep(HORIZON).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regua_domain::configuration::SecretRef;
    use regua_domain::ids::{BusinessId, IntegrationId};
    use uuid::Uuid;

    /// A channel, its business and its integration, by their numbers.
    fn route(channel: u128, business: u128, integration: u128) -> Route {
        Route {
            channel: "Cobrança".into(),
            channel_id: ChannelId(Uuid::from_u128(channel)),
            provider_channel_id: String::new(),
            business_id: BusinessId(Uuid::from_u128(business)),
            integration_id: IntegrationId(Uuid::from_u128(integration)),
            integration: String::new(),
            url: String::new(),
            token: SecretRef::Env(String::new()),
            enabled: true,
        }
    }

    /// Whether what channel 1 of business 2 and integration 3 learns with template `t` holds these back.
    #[track_caller]
    fn check(scope: StopScope, way: &Route, template: Option<&str>, expected: bool) {
        let effects = Effects::default();
        effects.lock().entry(held_by(scope, &route(1, 2, 3), "t")).or_default().answers = 1;
        assert_eq!(effects.hold(way, template), expected, "{scope} {way:?} {template:?}");
    }

    #[test]
    fn what_the_ledger_does_not_have_yet_holds_back_what_it_concerns_and_nothing_else() {
        for (scope, same, other) in [
            (StopScope::Channel, route(1, 9, 9), route(9, 2, 3)),
            (StopScope::Business, route(9, 2, 9), route(1, 9, 3)),
            (StopScope::Integration, route(9, 9, 3), route(1, 2, 9)),
        ] {
            for template in [None, Some("t"), Some("u")] {
                check(scope, &same, template, true);
                check(scope, &other, template, false);
            }
        }
        for (template, expected) in [(Some("t"), true), (Some("u"), false), (None, false)] {
            check(StopScope::Template, &route(9, 9, 9), template, expected);
        }
        check(StopScope::Everything, &route(9, 9, 9), None, true);
        assert!(!Effects::default().hold(&route(1, 2, 3), Some("t")));
    }
}
