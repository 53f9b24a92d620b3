//! Stops, as they are raised, lifted and told: each is an alarm, and says what ends it.

use chrono::{DateTime, Utc};
use regua_domain::stop::{BY_ANSWER, BY_LEDGER, BY_TEMPLATE, StopScope, check_after, is_automatic};
use regua_ledger::stops::{NewStop, Stop};
use regua_ledger::{Ledger, LedgerError};
use regua_opa_suite::StopReason;

/// Raises a stop and sounds the alarm, once for each: true if it is new. `/metrics` counts what the ledger has.
pub async fn raise_stop(ledger: &Ledger, stop: NewStop) -> Result<bool, LedgerError> {
    raised(ledger, stop.clone(), ledger.raise_stop(stop).await?).await
}

/// As [`raise_stop`], of a stop that an answer of that time taught: one that was lifted since stays lifted.
pub async fn raise_answered_stop(ledger: &Ledger, stop: NewStop, answered_at: DateTime<Utc>) -> Result<bool, LedgerError> {
    raised(ledger, stop.clone(), ledger.raise_answered_stop(stop, answered_at).await?).await
}

/// As [`raise_stop`], if the ledger stands elsewhere than before.
pub(crate) async fn raise_stop_if_elsewhere(ledger: &Ledger, stop: NewStop) -> Result<bool, LedgerError> {
    raised(ledger, stop.clone(), ledger.stop_if_elsewhere(stop).await?).await
}

async fn raised(ledger: &Ledger, stop: NewStop, is_new: bool) -> Result<bool, LedgerError> {
    let (scope, target, by, why) = (stop.scope, stop.target, stop.raised_by, stop.why);
    if is_new {
        let name = stop_name(ledger, scope, &target).await;
        stop_raised(scope, &name, &by, &why);
    }
    Ok(is_new)
}

/// What people call the target of a stop in force; the target itself if the ledger doesn't tell.
pub async fn stop_name(ledger: &Ledger, scope: StopScope, target: &str) -> String {
    let stops = ledger.stops().await.unwrap_or_default();
    let found = stops.into_iter().find(|stop| stop.scope == scope && stop.target == target);
    found.map_or_else(|| target.to_owned(), |stop| stop.name)
}

/// The alarm of a stop that was raised: an error if no person did it, for then a person should look.
pub fn stop_raised(scope: StopScope, target: &str, by: &str, why: &str) {
    let mend = mend(by, why, None);
    if is_automatic(by) {
        tracing::error!(%scope, target, by, why, mend, "stop.raised");
    } else {
        tracing::warn!(%scope, target, by, why, "stop.raised");
    }
}

/// The other end of an alarm. A check that lifts a stop ends what no person began, so it is told as loudly.
pub fn stop_lifted(scope: StopScope, target: &str, by: &str, why: &str) {
    tracing::warn!(%scope, target, by, why, "stop.lifted");
}

/// When a stop is checked next, and lifted if its cause is gone; `None`: only a person lifts it, or its end.
pub fn next_check_at(stop: &Stop) -> Option<DateTime<Utc>> {
    is_checked(&stop.raised_by, &stop.why).then(|| stop.next_check_at.unwrap_or(stop.since_at + check_after(0)))
}

/// What ends a stop, for whoever reads that there is one.
pub fn what_ends(stop: &Stop) -> String {
    mend(&stop.raised_by, &stop.why, next_check_at(stop))
}

fn is_checked(raised_by: &str, why: &str) -> bool {
    raised_by == BY_ANSWER && StopReason::named(why).is_some_and(|reason| reason.check().is_some())
}

fn mend(raised_by: &str, why: &str, next_check_at: Option<DateTime<Utc>>) -> String {
    match raised_by {
        BY_LEDGER => "nothing is sent until `regua restored` says what was lost".into(),
        BY_TEMPLATE => "see `regua notice list`, then `regua notice accept NOTICE --why TEXT`".into(),
        _ if is_checked(raised_by, why) => {
            let when = next_check_at.map_or_else(String::new, |at| format!(", next at {}", at.to_rfc3339()));
            format!("it is checked again and again{when}, and lifted when its cause is gone; `regua resume` lifts it at once")
        }
        _ => "lift it with `regua resume` when its cause is gone: no check does".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raised_by: &str, why: &str, checked: bool, says: &str) {
        assert_eq!(is_checked(raised_by, why), checked, "{raised_by} {why}");
        let told = mend(raised_by, why, None);
        assert!(told.contains(says), "{told}");
    }

    /// What WhatsApp blocked is not asked for by trying: a person decides.
    #[test]
    fn only_what_a_check_can_prove_is_lifted_by_one() {
        let checked = ["redirected", "unauthorized", "forbidden", "channel_not_found", "template_not_found"];
        for why in checked.into_iter().chain(["template_paused", "template_disabled"]) {
            check(BY_ANSWER, why, true, "lifted when its cause is gone");
        }
        for why in ["not_served", "spam_limited", "policy_blocked", "account_locked", "5 rejections in a row"] {
            check(BY_ANSWER, why, false, "no check does");
        }
        check("ana", "unauthorized", false, "regua resume");
        check(BY_LEDGER, "unauthorized", false, "regua restored");
        check(BY_TEMPLATE, "template_not_found", false, "regua notice accept");
    }
}
