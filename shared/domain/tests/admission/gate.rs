//! The breaker's one probe, its growing rests, and the provider's own allowance.

use super::{LEASE, World, now, postpone, ready};
use chrono::TimeDelta;
use proptest::prelude::*;
use regua_domain::admission::{Recipient, Verdict};
use regua_domain::gate::{Allowance, Closing, Gate, REST, REST_MAX, SPREAD, rest};
use regua_domain::message::DeferReason;

/// F26 e.
#[test]
fn an_open_breaker_gives_one_probe_and_closes_the_gate_for_its_lease() {
    let mut world = World::new();
    assert!(matches!(world.admit(&ready()), Verdict::Start { is_probe: false, .. }));
    let mut world = World::new();
    world.gate.trips = 2;
    assert!(matches!(world.admit(&ready()), Verdict::Start { is_probe: true, .. }));
    assert_eq!(world.gate.closed_by, Some(Closing::Probe));
    assert_eq!(world.admit(&ready()), postpone(now() + LEASE, DeferReason::Gate), "whoever else comes waits");
    let verdict = world.admit_at(&ready(), now() + LEASE);
    assert!(matches!(verdict, Verdict::Start { is_probe: true, .. }), "a lease that ends gives the next probe: {verdict:?}");
}

#[test]
fn each_rest_is_twice_the_one_before_up_to_the_longest() {
    let rests: Vec<i64> = (0..8).map(|trips| rest(trips, 0.0).num_seconds()).collect();
    assert_eq!(rests, [60, 60, 120, 240, 480, 900, 900, 900]);
}

fn allowed(starts: u64, through: u64, until: TimeDelta) -> World {
    let mut world = World::new();
    world.gate = Gate { starts, allowance: Some(Allowance { through, until: now() + until }), ..world.gate };
    world
}

#[test]
fn no_more_start_than_the_providers_allowance_reaches_for_and_then_the_gate_is_closed() {
    let mut world = allowed(7, 8, TimeDelta::minutes(10));
    assert!(matches!(world.admit(&ready()), Verdict::Start { .. }));
    world.recipient = Recipient::default();
    world.gate.next_free_at = now();
    let until = now() + TimeDelta::minutes(10);
    assert_eq!(world.admit(&ready()), postpone(until, DeferReason::Budget));
    assert_eq!((world.gate.paused_until, world.gate.closed_by), (Some(until), Some(Closing::Allowance)));
    assert_eq!(world.gate.starts, 8, "what waits isn't counted");
}

#[test]
fn an_allowance_raises_no_budget() {
    let mut world = allowed(0, 1_000_000, TimeDelta::minutes(10));
    world.budget.limit = Some(0);
    assert!(matches!(world.admit(&ready()), Verdict::Postpone { why: DeferReason::Budget, .. }));
}

#[test]
fn an_old_report_holds_nothing() {
    assert!(matches!(allowed(8, 8, TimeDelta::zero()).admit(&ready()), Verdict::Start { .. }));
    assert_eq!(allowed(8, 8, TimeDelta::zero()).gate.left(now()), u64::MAX);
}

/// A channel without a limit has no slot to write, but its starts count where somebody else counts them.
#[test]
fn starts_count_on_a_channel_without_a_limit_if_an_allowance_was_reported() {
    let mut world = allowed(7, 8, TimeDelta::minutes(10));
    world.gate.per_second = None;
    assert!(matches!(world.admit(&ready()), Verdict::Start { .. }));
    assert_eq!(world.gate.starts, 8);
}

proptest! {
    #[test]
    fn no_rest_is_shorter_than_the_first_or_longer_than_the_longest(trips: u32, jitter in -1.0..2.0_f64) {
        let rest = rest(trips, jitter);
        prop_assert!(rest >= REST && rest <= REST_MAX + SPREAD, "{rest}");
    }
}
