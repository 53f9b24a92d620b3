//! What the limits promise over time, for any order of asking.

use crate::{LEAD, World, now, ready};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use regua_domain::admission::{BUDGET_PERIOD, Budget, HORIZON, PHONE_SPACING, Person, Recipient, Snapshot, Verdict};
use regua_domain::frequency::Frequency;
use regua_domain::message::{DeferReason, State};
use std::collections::BTreeMap;

proptest! {
    /// F6: whoever asks whenever, no half-open second holds more slots than the limit.
    #[test]
    fn f6_no_second_holds_more_slots_than_the_limit(limit in 1_u32..1000, waits in prop::collection::vec(0_i64..60_000, 150)) {
        let mut world = World::new();
        world.gate.per_second = Some(limit);
        let (mut asked, mut slots) = (now(), Vec::new());
        for wait in waits {
            asked += TimeDelta::microseconds(wait);
            (world.recipient, world.person) = (Recipient::default(), Person::default());
            world.budget.used = 0;
            if let Verdict::Start { slot_at, .. } = world.admit_at(&ready(), asked) {
                prop_assert!(slot_at >= asked + LEAD && slot_at <= asked + HORIZON);
                slots.push(slot_at);
            }
        }
        for (place, first) in slots.iter().enumerate() {
            let within = slots[place..].iter().take_while(|slot| **slot < *first + TimeDelta::seconds(1)).count();
            prop_assert!(within <= limit as usize, "{within} within a second at {limit} per second");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// … and while somebody asks often enough, the slots of ten seconds are at least 98% of it.
    #[test]
    fn f6_waiting_work_gets_98_percent_of_the_limit(limit in 20_u32..300, every_ms in 5_i64..150) {
        let mut world = World::new();
        world.gate.per_second = Some(limit);
        let (mut asked, mut started) = (now(), 0_u32);
        while asked < now() + TimeDelta::seconds(10) {
            loop {
                (world.recipient, world.person) = (Recipient::default(), Person::default());
                world.budget.used = 0;
                match world.admit_at(&ready(), asked) {
                    Verdict::Start { .. } => started += 1,
                    _ => break,
                }
            }
            asked += TimeDelta::milliseconds(every_ms);
        }
        prop_assert!(started >= limit * 10 * 98 / 100, "{started} of {}", limit * 10);
    }

    /// F18, F11: any mix of phones keeps spacing, cap and budget, and each message is put off for its phone at most once.
    #[test]
    fn f18_spacing_cap_and_budget_hold_for_any_mix_of_phones(
        phones in prop::collection::vec(0_usize..5, 1..40),
        per_day in 1_u32..12,
        limit in 1_u32..6,
        step_ms in 50_i64..400,
    ) {
        let mut run = Mix::new(per_day, limit, phones);
        run.go(TimeDelta::milliseconds(step_ms));
        run.check()?;
    }
}

/// Messages of several phones, asked for again and again while minutes pass.
struct Mix {
    per_day: u32,
    limit: u32,
    /// Of each message: its phone, its snapshot, how often it was put off for the spacing.
    waiting: Vec<(usize, Snapshot, u32)>,
    recipients: BTreeMap<usize, (Recipient, Person)>,
    started: Vec<(usize, DateTime<Utc>)>,
    put_off_most: u32,
}

impl Mix {
    fn new(per_day: u32, limit: u32, phones: Vec<usize>) -> Self {
        let waiting = phones.into_iter().map(|phone| (phone, ready(), 0)).collect();
        Self { per_day, limit, waiting, recipients: BTreeMap::new(), started: Vec::new(), put_off_most: 0 }
    }

    fn go(&mut self, step: TimeDelta) {
        let mut world = World { caps: Frequency { per_day: self.per_day, per_7_days: self.per_day }, ..World::new() };
        let mut asked = now();
        while asked < now() + TimeDelta::minutes(5) {
            let due =
                |snapshot: &Snapshot| snapshot.state != State::Sent && snapshot.next_attempt_at.is_none_or(|at| at <= asked);
            for (phone, snapshot, put_off) in self.waiting.iter_mut().filter(|(_, snapshot, _)| due(snapshot)) {
                (world.recipient, world.person) = self.recipients.get(phone).cloned().unwrap_or_default();
                world.budget = Budget { limit: Some(self.limit), used: used(&self.recipients, asked), frees_at: None };
                world.gate.paused_until = None;
                match world.admit_at(snapshot, asked) {
                    Verdict::Start { slot_at, .. } => {
                        self.started.push((*phone, slot_at));
                        snapshot.state = State::Sent;
                    }
                    Verdict::Postpone { until, why, phone_slot_at } => {
                        *put_off += u32::from(why == DeferReason::PhoneSpacing);
                        self.put_off_most = self.put_off_most.max(*put_off);
                        snapshot.state = State::Scheduled;
                        snapshot.next_attempt_at = Some(until);
                        snapshot.phone_slot_at = phone_slot_at;
                    }
                    Verdict::NoSlot { .. } | Verdict::Skip { .. } | Verdict::NotWaiting => {}
                }
                self.recipients.insert(*phone, (world.recipient.clone(), world.person.clone()));
            }
            asked += step;
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut last: BTreeMap<usize, (DateTime<Utc>, u32)> = BTreeMap::new();
        let mut started = self.started.clone();
        started.sort_by_key(|(_, slot_at)| *slot_at);
        for (phone, slot_at) in started {
            let (before, sent) = last.get(&phone).copied().unwrap_or((slot_at - PHONE_SPACING, 0));
            prop_assert!(slot_at >= before + PHONE_SPACING, "{before} {slot_at}");
            prop_assert!(sent < self.per_day);
            last.insert(phone, (slot_at, sent + 1));
        }
        prop_assert!(last.len() <= self.limit as usize, "{} people", last.len());
        prop_assert!(self.put_off_most <= 1, "put off {} times", self.put_off_most);
        Ok(())
    }
}

fn used(recipients: &BTreeMap<usize, (Recipient, Person)>, now: DateTime<Utc>) -> u32 {
    let counted = recipients.values().filter(|(recipient, _)| recipient.counted_at.is_some_and(|at| at + BUDGET_PERIOD > now));
    u32::try_from(counted.count()).expect("a few")
}
