//! Clocks: the ledger's is the only one that decides. This host's must agree with it; the products' are only told, for who compares logs.

use super::{Finding, Scene, Told, What};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use regua_domain::configuration::SourceKind;
use regua_ledger::SKEW_MAX;

/// How far a product's may be off: a `Date` has whole seconds, and nothing goes by it.
const THEIR_SKEW_MAX: TimeDelta = TimeDelta::minutes(1);

/// Compares this host's clock with the ledger's, then those of every product that is in use.
pub async fn check(scene: &Scene<'_>) -> anyhow::Result<Vec<Finding>> {
    let skew = scene.ledger.host_skew().await?;
    let host = if skew > SKEW_MAX {
        let result = Told::ours(format!("this host's is {:.1} s off the ledger's", skew.as_secs_f64()));
        Finding::bad("clock", result, "set this host's clock, and the database's, by NTP: no service is ready with such a one")
    } else {
        Finding::good("clock", "this host's agrees with the ledger's")
    };
    let integrations = scene.configuration.integrations.iter().filter(|integration| integration.enabled);
    let integrations = integrations.map(|integration| (What::named("clock of Opa! Suite", &integration.name), &integration.url));
    let sources = scene.configuration.sources.iter().filter_map(|source| match &source.kind {
        SourceKind::Ixc { url, .. } => Some((What::named("clock of IXC", &source.name), url)),
        SourceKind::Files => None,
    });
    let theirs = join_all(integrations.chain(sources).map(|(what, url)| their_clock(scene, what, url.as_str()))).await;
    Ok(std::iter::once(host).chain(theirs.into_iter().flatten()).collect())
}

/// What the `Date` of an answer says. Nothing of an address that can't be reached: that is told where the product is.
async fn their_clock(scene: &Scene<'_>, what: What, url: &str) -> Option<Finding> {
    let glance = regua_outbound::glance(url, scene.allow_private, 0).await.ok()?;
    let read_at = Utc::now();
    let date = glance.date.and_then(|date| DateTime::parse_from_rfc2822(&date).ok())?;
    let off = scene.ledger.off_by(date.to_utc(), read_at).await.ok()?;
    Some(graded(what, off))
}

fn graded(what: What, off: TimeDelta) -> Finding {
    if off.abs() <= THEIR_SKEW_MAX {
        return Finding::good(what, "agrees with the ledger's to a minute");
    }
    let side = if off > TimeDelta::zero() { "ahead of" } else { "behind" };
    let result = Told::ours(format!("{} s {side} the ledger's", off.abs().num_seconds()));
    Finding::warning(what, result, "nothing here goes by it, but have it set by NTP: the day turns there at another hour")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Grade;

    #[test]
    fn a_products_clock_that_is_more_than_a_minute_off_is_told_with_its_side() {
        let graded = |seconds| graded("clock".into(), TimeDelta::seconds(seconds));
        assert_eq!([graded(59).grade, graded(-60).grade], [Grade::Ok; 2]);
        assert!(graded(61).result.text().contains("61 s ahead") && graded(-3600).result.text().contains("3600 s behind"));
        assert_eq!(graded(61).grade, Grade::Warning);
    }
}
