//! Whether the process is alive and ready, in words.

use crate::metrics::MetricFamily;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a component says about itself. The words are for a person and name no secret and no customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It works.
    Ready,
    /// A part of it doesn't, for this reason, but the process does its work: an integration that is stopped, a provider that is down.
    Degraded(String),
    /// The process can't do its work, for this reason.
    NotReady(String),
}

impl Readiness {
    /// Not ready, for this reason.
    pub fn not_ready(why: impl Into<String>) -> Self {
        Self::NotReady(why.into())
    }

    /// Ready but for this.
    pub fn degraded(why: impl Into<String>) -> Self {
        Self::Degraded(why.into())
    }

    const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::Degraded(_))
    }
}

/// The checks and heartbeats of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Health {
    registry: Arc<Registry>,
    scope: String,
}

#[derive(Debug, Default)]
struct Registry {
    checks: Mutex<BTreeMap<String, Readiness>>,
    beats: Mutex<BTreeMap<u64, Beat>>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Beat {
    name: String,
    bound: Duration,
    last: Instant,
}

impl Health {
    /// No checks: ready until a component says otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same registry, with `scope/` before every name: one of several services in one process.
    #[must_use]
    pub fn scoped(&self, scope: &str) -> Self {
        Self { registry: Arc::clone(&self.registry), scope: self.name(scope) + "/" }
    }

    /// Announces checks that have to be set before the process is ready.
    pub fn expect(&self, checks: &[&str]) {
        for check in checks {
            lock(&self.registry.checks).entry(self.name(check)).or_insert_with(|| Readiness::not_ready("has not reported yet"));
        }
    }

    /// Sets a check. A change is logged.
    pub fn set(&self, check: &str, readiness: Readiness) {
        let check = self.name(check);
        let before = lock(&self.registry.checks).insert(check.clone(), readiness.clone());
        if before.as_ref() == Some(&readiness) {
            return;
        }
        match readiness {
            Readiness::Ready => tracing::info!(check, "ready"),
            Readiness::Degraded(why) => tracing::warn!(check, why, "degraded"),
            Readiness::NotReady(why) => tracing::warn!(check, why, "not ready"),
        }
    }

    /// Removes a check whose component is no more.
    pub fn remove(&self, check: &str) {
        lock(&self.registry.checks).remove(&self.name(check));
    }

    /// Promises a sign of life at least every `bound`; a process that breaks the promise is not alive and should be started anew.
    /// Dropping the heartbeat ends the promise.
    pub fn heartbeat(&self, name: &str, bound: Duration) -> Heartbeat {
        let id = self.registry.next_id.fetch_add(1, Ordering::Relaxed);
        let beat = Beat { name: self.name(name), bound, last: Instant::now() };
        lock(&self.registry.beats).insert(id, beat);
        Heartbeat { registry: Arc::clone(&self.registry), id }
    }

    /// Whether the process is ready, and what every check says.
    pub fn readiness(&self) -> ReadyReport {
        let checks = lock(&self.registry.checks);
        let checks: Vec<_> = checks.iter().map(|(name, readiness)| CheckReport::of(name, readiness)).collect();
        ReadyReport { ready: checks.iter().all(|check| check.ready), checks }
    }

    /// What every check says, as metrics.
    pub(crate) fn families(&self) -> Vec<MetricFamily> {
        let mut ready =
            MetricFamily::gauge("regua_component_ready", "What /readyz says of a component: 1 ready or degraded, 0 not ready.");
        let mut degraded = MetricFamily::gauge("regua_component_degraded", "Whether a component works in part only.");
        for check in self.readiness().checks {
            let of = [("component", check.name.as_str())];
            ready = ready.count(&of, u64::from(check.ready));
            degraded = degraded.count(&of, u64::from(check.ready && check.why.is_some()));
        }
        vec![ready, degraded]
    }

    /// Whether the process is alive, and which heartbeats are overdue.
    pub fn liveness(&self) -> LiveReport {
        self.liveness_at(Instant::now())
    }

    fn liveness_at(&self, now: Instant) -> LiveReport {
        let beats = lock(&self.registry.beats);
        let overdue = |beat: &&Beat| now.saturating_duration_since(beat.last) > beat.bound;
        let stalled: Vec<_> = beats.values().filter(overdue).map(|beat| Stall::of(beat, now)).collect();
        LiveReport { live: stalled.is_empty(), stalled }
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.scope)
    }
}

/// A promise of signs of life; see [`Health::heartbeat`].
#[derive(Debug)]
#[must_use = "dropping it ends the promise"]
pub struct Heartbeat {
    registry: Arc<Registry>,
    id: u64,
}

impl Heartbeat {
    /// Gives a sign of life.
    pub fn beat(&self) {
        if let Some(beat) = lock(&self.registry.beats).get_mut(&self.id) {
            beat.last = Instant::now();
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        lock(&self.registry.beats).remove(&self.id);
    }
}

/// What `/readyz` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyReport {
    /// Whether every check is ready.
    pub ready: bool,
    /// Every check, by name.
    pub checks: Vec<CheckReport>,
}

/// One check in `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The component.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// What is wrong; also told of what is ready but degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl CheckReport {
    fn of(name: &str, readiness: &Readiness) -> Self {
        let why = match readiness {
            Readiness::Ready => None,
            Readiness::Degraded(why) | Readiness::NotReady(why) => Some(why.clone()),
        };
        Self { name: name.to_owned(), ready: readiness.is_ready(), why }
    }
}

/// What `/livez` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveReport {
    /// Whether no heartbeat is overdue.
    pub live: bool,
    /// The overdue heartbeats.
    pub stalled: Vec<Stall>,
}

/// One overdue heartbeat in `/livez`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stall {
    /// The component.
    pub name: String,
    /// What it promised, in milliseconds.
    pub bound_ms: u64,
    /// How long ago its last sign of life was, in milliseconds.
    pub silent_ms: u64,
}

impl Stall {
    fn of(beat: &Beat, now: Instant) -> Self {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self { name: beat.name.clone(), bound_ms: ms(beat.bound), silent_ms: ms(now.saturating_duration_since(beat.last)) }
    }
}

/// The maps are whole after every statement, so a panic elsewhere doesn't spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Reading;

    #[track_caller]
    fn check(health: &Health, ready: bool, checks: &[(&str, bool, Option<&str>)]) {
        let checks =
            checks.iter().map(|(name, ready, why)| CheckReport { name: (*name).into(), ready: *ready, why: why.map(Into::into) });
        assert_eq!(health.readiness(), ReadyReport { ready, checks: checks.collect() });
    }

    #[test]
    fn a_process_is_ready_when_every_check_is() {
        let health = Health::new();
        check(&health, true, &[]);
        health.expect(&["ledger", "broker"]);
        check(
            &health,
            false,
            &[("broker", false, Some("has not reported yet")), ("ledger", false, Some("has not reported yet"))],
        );
        health.set("ledger", Readiness::Ready);
        health.set("broker", Readiness::not_ready("connection refused"));
        check(&health, false, &[("broker", false, Some("connection refused")), ("ledger", true, None)]);
        health.set("broker", Readiness::degraded("one of two connections"));
        check(&health, true, &[("broker", true, Some("one of two connections")), ("ledger", true, None)]);
        health.expect(&["ledger"]);
        check(&health, true, &[("broker", true, Some("one of two connections")), ("ledger", true, None)]);
        health.remove("broker");
        check(&health, true, &[("ledger", true, None)]);
    }

    #[test]
    fn metrics_tell_ready_degraded_and_not_ready_apart() {
        let health = Health::new();
        health.set("ledger", Readiness::Ready);
        health.set("stops", Readiness::degraded("everything is stopped"));
        health.set("broker", Readiness::not_ready("connection refused"));
        let told = [("broker", 0, 0), ("ledger", 1, 0), ("stops", 1, 1)].into_iter().fold(
            ["regua_component_ready", "regua_component_degraded"].map(|name| (name, Vec::new())),
            |[mut ready, mut degraded], (component, is_ready, is_degraded)| {
                let of = vec![("component", component.to_owned())];
                ready.1.push((of.clone(), Reading::Number(f64::from(is_ready))));
                degraded.1.push((of, Reading::Number(f64::from(is_degraded))));
                [ready, degraded]
            },
        );
        assert_eq!(health.families().into_iter().map(|family| (family.name, family.samples)).collect::<Vec<_>>(), told);
    }

    #[test]
    fn services_in_one_process_keep_their_checks_apart() {
        let health = Health::new();
        health.scoped("scheduler").set("ledger", Readiness::Ready);
        health.scoped("dispatcher").scoped("a").set("ledger", Readiness::not_ready("too slow"));
        check(&health, false, &[("dispatcher/a/ledger", false, Some("too slow")), ("scheduler/ledger", true, None)]);
    }

    #[test]
    fn a_heartbeat_is_overdue_after_its_bound_and_until_the_next_beat() {
        let health = Health::new();
        let bound = Duration::from_secs(30);
        let heartbeat = health.scoped("scheduler").heartbeat("ticks", bound);
        let began = Instant::now();
        assert!(health.liveness_at(began).live);
        let late = began + bound + Duration::from_secs(1);
        let report = health.liveness_at(late);
        assert!(!report.live);
        assert_eq!((report.stalled[0].name.as_str(), report.stalled[0].bound_ms), ("scheduler/ticks", 30_000));
        assert!(report.stalled[0].silent_ms > 30_000, "{report:?}");

        lock(&health.registry.beats).get_mut(&heartbeat.id).unwrap().last = began.checked_sub(bound * 2).unwrap_or(began);
        heartbeat.beat();
        assert!(health.liveness_at(began + bound).live, "a beat renews the promise");
        drop(heartbeat);
        assert!(health.liveness_at(late + bound).live, "a dropped heartbeat promises nothing");
    }
}
