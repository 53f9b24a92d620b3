//! Commands that need no ledger.

use crate::commands::Outcome;
use crate::output::{self, say};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use regua_domain::phone;
use regua_domain::schedule::Schedule;
use std::io::BufRead as _;

/// `regua phone`: input, `+55…` or `-`, reason; tabs between.
pub fn phone(numbers: &[String]) -> anyhow::Result<Outcome> {
    let mut all_valid = true;
    let mut say = |input: &str| {
        let (number, reason) = match phone::parse(input) {
            Ok(phone) => (phone.e164().to_owned(), "ok".to_owned()),
            Err(refusal) => {
                all_valid = false;
                let meant = refusal.suggestion().map(|phone| format!(" ({}?)", phone.e164())).unwrap_or_default();
                ("-".to_owned(), format!("{}{meant}", refusal.as_str()))
            }
        };
        say!("{input}\t{number}\t{reason}");
    };
    if numbers.is_empty() {
        for line in std::io::stdin().lock().lines() {
            say(&line?);
        }
    } else {
        for number in numbers {
            say(number);
        }
    }
    Ok(if all_valid { Outcome::Done } else { Outcome::DidNotHold })
}

/// `regua schedule next`: one RFC 3339 instant with offset per line.
pub fn schedule_next(schedule: &str, zone: Tz, from: Option<DateTime<Utc>>, count: usize) -> Outcome {
    let schedule: Schedule = match schedule.parse() {
        Ok(schedule) => schedule,
        Err(error) => return Outcome::Misused(regua_telemetry::logging::Chain(&error).to_string()),
    };
    let mut at = from.unwrap_or_else(Utc::now);
    for _ in 0..count {
        let Some(next) = schedule.next_after(zone, at) else { break };
        output::line(next.with_timezone(&zone).to_rfc3339());
        at = next;
    }
    Outcome::Done
}
