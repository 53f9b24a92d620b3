//! How long sending takes, and what binds.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::America::Sao_Paulo;
use proptest::prelude::*;
use regua_domain::calendar::Calendar;
use regua_domain::configuration::WindowSettings;
use regua_domain::forecast::{Binds, BudgetPart, Forecast, Load};
use regua_domain::sending_times::SendingTimes;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("an instant").to_utc()
}

fn forecast(load: Load, now: DateTime<Utc>) -> Forecast {
    let (settings, calendar) = (WindowSettings::business_hours(Sao_Paulo), Calendar::default());
    load.forecast(&SendingTimes { settings: &settings, calendar: &calendar }.of(None, None), now)
}

fn load(messages: u64) -> Load {
    Load { messages, recipients: messages, per_second: Some(10), budget: None, open_windows: 1 }
}

/// Monday 2026-03-09, 08:30 in São Paulo: the window opens at nine.
const EARLY: &str = "2026-03-09T11:30:00Z";

#[test]
fn it_begins_when_the_window_opens_and_takes_what_the_limit_takes() {
    let told = forecast(load(1000), at(EARLY));
    assert_eq!((told.begins_at, told.binds, told.unsent), (at("2026-03-09T12:00:00Z"), Binds::PerSecond, 0));
    assert_eq!((told.ends_at - told.begins_at).num_seconds(), 101, "a thousand at ten a second, one in a hundred slower");
}

#[test]
fn without_limits_it_takes_no_time() {
    let told = forecast(Load { per_second: None, ..load(1_000_000) }, at(EARLY));
    assert_eq!((told.ends_at, told.binds, told.unsent), (told.begins_at, Binds::Nothing, 0));
    assert_eq!(forecast(load(0), at(EARLY)).binds, Binds::Nothing);
}

/// Nine hours at ten a second are 320,788 messages, at the gate's distance of 101,001 µs.
#[test]
fn what_does_not_fit_into_its_windows_ends_unsent() {
    let told = forecast(load(400_000), at(EARLY));
    assert_eq!((told.binds, told.unsent), (Binds::Window, 400_000 - 320_788));
    let patient = forecast(Load { open_windows: 2, ..load(400_000) }, at(EARLY));
    assert_eq!((patient.binds, patient.unsent), (Binds::Window, 0));
    assert_eq!(patient.ends_at.with_timezone(&Sao_Paulo).date_naive().to_string(), "2026-03-10");
}

#[test]
fn the_budget_binds_where_it_is_smaller() {
    let budget = Some(BudgetPart { left: 100, per_24h: 250 });
    let told = forecast(Load { budget, open_windows: 3, ..load(400) }, at(EARLY));
    assert_eq!((told.binds, told.unsent), (Binds::Budget, 0));
    assert_eq!(told.ends_at.with_timezone(&Sao_Paulo).date_naive().to_string(), "2026-03-11", "100, 250 and 50");
    let two_each = forecast(Load { budget, recipients: 100, ..load(200) }, at(EARLY));
    assert_eq!((two_each.binds, two_each.unsent), (Binds::PerSecond, 0), "two messages to one person take one place");
}

proptest! {
    #[test]
    fn a_forecast_never_ends_before_it_begins_nor_loses_a_message(
        messages in 0_u64..2_000_000, per_second in proptest::option::of(1_u32..1000), left in proptest::option::of(0_u64..100_000),
        open_windows in 0_u16..40, minutes in 0_i64..500_000,
    ) {
        let budget = left.map(|left| BudgetPart { left, per_24h: left });
        let load = Load { messages, recipients: messages / 2 + 1, per_second, budget, open_windows };
        let told = forecast(load, at(EARLY) + TimeDelta::minutes(minutes));
        prop_assert!(told.ends_at >= told.begins_at && told.unsent <= messages);
        prop_assert!(told.unsent == 0 || matches!(told.binds, Binds::Budget | Binds::Window));
    }
}
