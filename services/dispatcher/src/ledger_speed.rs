//! Whether the ledger is fast enough for slots, as `/readyz` tells it: one judge for all lanes, which go by the lead of the moment.

use crate::Dispatcher;
use crate::config::LEAD_MAX;
use regua_telemetry::health::Readiness;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often it is judged.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks in a row that must agree before something else is told: the slowest of a second's starts are about the bound when a host is busy, and a
/// check that changes every second takes a dispatcher out of service and back, with a line in the log each time.
const AGREEING: u32 = 5;

/// Judges again and again.
pub async fn keep_telling(dispatcher: Arc<Dispatcher>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut verdict = Verdict::default();
    loop {
        every.tick().await;
        verdict.look(dispatcher.clock.starts().lead(Instant::now()) > LEAD_MAX);
        dispatcher.process.health.scoped("dispatcher").set("ledger_speed", verdict.readiness());
    }
}

/// What is told, and how many looks in a row said something else.
#[derive(Default)]
struct Verdict {
    is_slow: bool,
    dissenting: u32,
}

impl Verdict {
    const fn look(&mut self, is_slow: bool) {
        self.dissenting = if is_slow == self.is_slow { 0 } else { self.dissenting + 1 };
        if self.dissenting == AGREEING {
            *self = Self { is_slow, dissenting: 0 };
        }
    }

    fn readiness(&self) -> Readiness {
        if self.is_slow {
            let bound = (LEAD_MAX / 2).as_millis();
            return Readiness::not_ready(format!(
                "the ledger is too slow: more than one start in 100 takes longer than {bound} ms"
            ));
        }
        Readiness::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(looks: &str, told: &str) {
        let mut verdict = Verdict::default();
        let said = looks.chars().map(|look| {
            verdict.look(look == 's');
            if verdict.readiness() == Readiness::Ready { '.' } else { 'S' }
        });
        assert_eq!(said.collect::<String>(), told);
    }

    #[test]
    fn only_looks_that_agree_change_what_is_told() {
        check("ssss.ssss.", "..........");
        check("sssss....sss.....s", "....SSSSSSSSSSSS..");
    }
}
