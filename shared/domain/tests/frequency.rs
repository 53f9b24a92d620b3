//! The caps of a person: at most so many on a day and on seven days in a row, whatever is counted and taken back in whichever order.

use chrono::{Days, NaiveDate};
use proptest::prelude::*;
use regua_domain::frequency::{CAP_DAYS, Frequency, Precedence, SentByDay};
use regua_domain::ids::MessageId;
use regua_domain::money::Centavos;
use regua_domain::stage::Stage;
use std::collections::BTreeMap;
use uuid::Uuid;

fn day(number: u64) -> NaiveDate {
    "2026-03-09".parse::<NaiveDate>().expect("a date") + Days::new(number)
}

fn sent(days: &[(u64, u32)]) -> SentByDay {
    let mut sent = SentByDay::default();
    for (number, times) in days {
        (0..*times).for_each(|_| sent.count(day(*number)));
    }
    sent
}

const CAPS: Frequency = Frequency { per_day: 2, per_7_days: 4 };

#[track_caller]
fn check(before: &[(u64, u32)], places: u32, first_later: u64) {
    let sent = sent(before);
    assert_eq!(sent.places(day(10), CAPS), places, "{before:?}");
    assert_eq!(sent.first_day_with_a_place(day(10), CAPS), day(first_later), "{before:?}");
}

#[test]
fn a_place_is_free_where_neither_the_day_nor_its_week_is_full() {
    check(&[], 2, 11);
    check(&[(10, 1)], 1, 11);
    check(&[(10, 2)], 0, 11);
    check(&[(9, 2), (10, 1)], 1, 11);
    check(&[(9, 2), (10, 2)], 0, 16);
    check(&[(4, 1), (5, 1), (8, 1), (10, 1)], 0, 11);
    check(&[(4, 2), (6, 2)], 0, 11);
    check(&[(3, 2), (6, 2)], 2, 11);
    check(&[(5, 2), (8, 2)], 0, 12);
}

/// A zone that is ahead has counted tomorrow already: today's message would be one too many for tomorrow's seven days.
#[test]
fn what_was_counted_on_a_later_day_takes_its_place_too() {
    let sent = sent(&[(9, 1), (11, 2), (12, 1)]);
    assert_eq!(sent.places(day(10), CAPS), 0);
    assert_eq!(sent.places(day(5), CAPS), 1, "their seven days have one place left");
    assert_eq!(sent.places(day(4), CAPS), 2);
}

#[test]
fn what_is_taken_back_is_free_again_and_forgotten_days_stay_forgotten() {
    let mut sent = sent(&[(10, 2)]);
    sent.take_back(day(10));
    assert_eq!(sent.places(day(10), CAPS), 1);
    sent.take_back(day(10));
    assert_eq!(sent, SentByDay::default());
    sent.take_back(day(10));
    assert_eq!(sent, SentByDay::default());
}

#[test]
fn the_more_advanced_stage_goes_first_then_the_older_due_date_then_the_larger_amount() {
    let claim = |stage, due, amount, id| Precedence::new(stage, Some(day(due)), Centavos(amount), MessageId(Uuid::from_u128(id)));
    let best_first = [
        claim(Stage::PendingQuery, 9, 1, 9),
        claim(Stage::Overdue, 1, 1, 8),
        claim(Stage::Overdue, 2, 3, 7),
        claim(Stage::Overdue, 2, 2, 5),
        claim(Stage::Overdue, 2, 2, 6),
        claim(Stage::PreDue, 0, 9, 1),
    ];
    let mut sorted = best_first;
    sorted.reverse();
    sorted.sort_unstable();
    assert_eq!(sorted, best_first);
}

proptest! {
    /// Any interleaving of starts and proofs that one never left, over several weeks, with days that come out of order by one.
    #[test]
    fn the_caps_hold_for_any_interleaving(
        steps in prop::collection::vec((0_u64..3, any::<bool>(), any::<prop::sample::Index>()), 1..120),
        per_day in 1_u32..4,
        per_7_days in 1_u32..9,
    ) {
        let caps = Frequency { per_day, per_7_days };
        let (mut kept, mut log, mut today) = (SentByDay::default(), Vec::new(), 20_u64);
        for (step, starts, index) in steps {
            today += step;
            let on = day(today - u64::from(index.index(2) == 1));
            if starts {
                if kept.places(on, caps) > 0 {
                    kept.count(on);
                    log.push(on);
                }
            } else if !log.is_empty() {
                kept.take_back(log.swap_remove(index.index(log.len())));
            }
            let by_day = log.iter().fold(BTreeMap::new(), |mut days, on| { *days.entry(*on).or_insert(0_u32) += 1; days });
            prop_assert!(by_day.values().all(|sent| *sent <= per_day));
            for first in by_day.keys() {
                let week: u32 = by_day.range(*first..*first + Days::new(CAP_DAYS)).map(|(_, sent)| sent).sum();
                prop_assert!(week <= per_7_days, "{week} in the seven days from {first}");
            }
        }
        let next = kept.first_day_with_a_place(day(today), caps);
        prop_assert!(next > day(today) && next <= day(today + 2 * CAP_DAYS) && kept.places(next, caps) > 0);
        let between = day(today + 1).iter_days().take_while(|day| *day < next);
        prop_assert!(between.into_iter().all(|day| kept.places(day, caps) == 0), "it is the first one");
    }
}
