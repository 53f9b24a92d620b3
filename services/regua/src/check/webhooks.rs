//! Webhooks: whether their secrets can be read, and when something was last heard.

use super::{Finding, Scene, What};
use chrono::{DateTime, TimeDelta, Utc};
use regua_ledger::webhooks::{Caller, Webhook};
use regua_telemetry::logging::Chain;

/// A platform that tells nothing for so long, while there was something to tell, isn't calling.
const SILENT_FOR: TimeDelta = TimeDelta::days(3);

/// Looks at every webhook that has a secret.
pub async fn check(scene: &Scene<'_>) -> anyhow::Result<Vec<Finding>> {
    let mut webhooks = scene.ledger.webhooks().await?;
    if webhooks.is_empty() {
        let result = "none is set up: what becomes of a message after Opa! Suite took it stays unknown, and a payment is seen by the next sync";
        return Ok(vec![Finding::good("webhooks", result)]);
    }
    webhooks.sort_by(|a, b| a.name.cmp(&b.name));
    let (heard, now) = (scene.ledger.webhooks_heard().await?, scene.ledger.now().await?);
    Ok(webhooks.iter().map(|webhook| of_one(scene, webhook, heard.get(&webhook.caller).copied(), now)).collect())
}

fn of_one(scene: &Scene<'_>, webhook: &Webhook, heard: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Finding {
    let kind = match webhook.caller {
        Caller::Integration(_) => "webhook of integration",
        Caller::Source(_) => "webhook of source",
    };
    let what = What::named(kind, &webhook.name);
    match scene.tokens.of(&webhook.secret, &webhook.name) {
        Err(error) => Finding::bad(
            what,
            Chain(&error).to_string(),
            "set its webhook_secret where the console runs: nobody is heard without",
        ),
        Ok(_) => when(what, heard, now),
    }
}

fn when(what: What, heard: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Finding {
    let look = "see that the other side calls https://YOUR-CONSOLE/webhooks/… with the secret: `regua webhooks samples`, and the console's log";
    match heard {
        None => Finding::warning(what, "its secret is set; nothing was heard yet, or not for long", look),
        Some(at) if now - at > SILENT_FOR => Finding::warning(what, told(at), look),
        Some(at) => Finding::good(what, told(at)),
    }
}

fn told(at: DateTime<Utc>) -> super::Told {
    super::Told::ours(format!("its secret is set; last heard {}", at.to_rfc3339()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Grade;

    #[test]
    fn a_webhook_that_fell_silent_is_told() {
        let now: DateTime<Utc> = "2026-11-24T13:00:00Z".parse().expect("an instant");
        let grade = |heard| when("webhook".into(), heard, now).grade;
        assert_eq!(grade(None), Grade::Warning);
        assert_eq!(grade(Some(now - SILENT_FOR)), Grade::Ok);
        assert_eq!(grade(Some(now - SILENT_FOR - TimeDelta::seconds(1))), Grade::Warning);
    }
}
