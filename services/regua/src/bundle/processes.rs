//! What running processes say of themselves: the numbers of `/metrics` and the checks of `/readyz`, without the words.

use super::names::Names;
use regua_domain::message::{DeferReason, FailReason, SkipReason, State};
use regua_domain::schedule::TaskKind;
use regua_domain::stage::Stage;
use regua_domain::stop::StopScope;
use regua_telemetry::config::Service;
use regua_telemetry::health::ReadyReport;
use serde_json::{Value, json};

/// A page is read up to here.
const BYTES_MAX: usize = 2 << 20;
/// What begins every metric of ours; what follows is letters and `_`, which are chosen in the code.
const OURS: &str = "regua_";
/// The checks that a process has whatever it is configured with.
const CHECKS: [&str; 10] =
    ["ledger", "broker", "stops", "queue", "ledger_speed", "ticks", "shutdown", "release", "duties", "sources"];
/// Label values that are no value of a closed set, and still ours.
const WORDS: [&str; 12] = [
    "sent",
    "retry",
    "defer",
    "fail",
    "doubt",
    "given_back",
    "caught_up",
    "dropped",
    "accepted",
    "refused",
    "ignored",
    "unknown",
];

pub(super) async fn told(urls: &[String], names: &mut Names) -> Value {
    let mut processes = Vec::new();
    for url in urls {
        let base = url.trim_end_matches('/');
        let (ready, metrics) = tokio::join!(page(base, "readyz"), page(base, "metrics"));
        let process = names.alias("process", url);
        processes.push(json!({
            "process": process,
            "readyz": ready.map(|(status, text)| readyz(status, &text, names)),
            "metrics": metrics.map(|(_, text)| samples(&text, names)),
        }));
    }
    processes.into()
}

/// A page of a process of ours; nothing of one that doesn't answer.
async fn page(base: &str, path: &str) -> Option<(u16, String)> {
    // An operator names their own process, which is on this host or in their network.
    let glance = regua_outbound::glance(&format!("{base}/{path}"), true, BYTES_MAX).await.ok()?;
    Some((glance.status, String::from_utf8_lossy(&glance.body).into_owned()))
}

fn readyz(status: u16, text: &str, names: &mut Names) -> Value {
    let report = serde_json::from_str::<ReadyReport>(text).ok();
    let checks = report.map(|report| {
        let checks = report.checks.into_iter();
        checks.map(|check| json!({ "check": check_name(&check.name, names), "ready": check.ready, "is_degraded": check.ready && check.why.is_some() })).collect::<Vec<_>>()
    });
    json!({ "status": status, "checks": checks })
}

/// `dispatcher/ledger` as it is; of another one only that it is one.
fn check_name(name: &str, names: &mut Names) -> String {
    let (service, check) = name.rsplit_once('/').map_or(("", name), |(service, check)| (service, check));
    let is_ours = SERVICES.iter().any(|known| known.name() == service) || service.is_empty();
    if is_ours && CHECKS.contains(&check) { name.to_owned() } else { names.alias("check", name) }
}

const SERVICES: [Service; 5] =
    [Service::Scheduler, Service::BillingEvaluator, Service::Dispatcher, Service::Console, Service::Regua];

/// The samples of a page: what isn't read as one of ours is left out.
fn samples(text: &str, names: &mut Names) -> Vec<String> {
    text.lines().filter_map(|line| sample(line, names)).collect()
}

fn sample(line: &str, names: &mut Names) -> Option<String> {
    let (series, value) = line.rsplit_once(' ')?;
    let value: f64 = value.parse().ok()?;
    let (name, labels) = series.split_once('{').map_or((series, None), |(name, labels)| (name, labels.strip_suffix('}')));
    if !name.strip_prefix(OURS)?.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
        return None;
    }
    let mut told = Vec::new();
    for (label, value) in labels.into_iter().flat_map(pairs) {
        if !label.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            return None;
        }
        let value = if is_closed(&value) { value } else { names.any(&value) };
        told.push(format!("{label}=\"{value}\""));
    }
    Some(if told.is_empty() { format!("{name} {value}") } else { format!("{name}{{{}}} {value}", told.join(",")) })
}

/// Whether a label's value is one of a closed set, or a bound of a histogram.
fn is_closed(value: &str) -> bool {
    State::parse(value).is_some()
        || SkipReason::parse(value).is_some()
        || FailReason::parse(value).is_some()
        || DeferReason::parse(value).is_some()
        || Stage::parse(value).is_some()
        || StopScope::parse(value).is_some()
        || TaskKind::parse(value).is_some()
        || SERVICES.iter().any(|service| service.name() == value)
        || WORDS.contains(&value)
        || value == crate::status::VERSION
        || (value.len() <= 8 && value.parse::<f64>().is_ok())
}

/// The pairs of a label set; values may hold escaped quotes.
fn pairs(labels: &str) -> Vec<(&str, String)> {
    let (mut rest, mut found) = (labels, Vec::new());
    while let Some((label, after)) = rest.split_once("=\"") {
        let mut escaped = false;
        let end = after.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else { break };
        found.push((label.trim_start_matches(','), after[..end].replace("\\\"", "\"").replace("\\\\", "\\")));
        rest = &after[end + 1..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_metrics_numbers_and_closed_labels_stay_and_names_become_numbers() {
        let mut names = Names::default();
        names.alias("channel", "Cobrança da Maria");
        let page = "# HELP regua_messages Maria Silva\nregua_messages{state=\"sent\"} 12\nregua_up 1\n\
                    regua_sends_total{channel=\"Cobrança da Maria\",outcome=\"sent\"} 3\nother{phone=\"49999887766\"} 1\n\
                    regua_x{who=\"Ma\\\"ria, 1\",le=\"0.05\"} 2\nMaria Silva 49999887766\nregua_49999887766 1\nregua_y maria\n";
        let expected = [
            "regua_messages{state=\"sent\"} 12",
            "regua_up 1",
            "regua_sends_total{channel=\"channel 1\",outcome=\"sent\"} 3",
            "regua_x{who=\"other 1\",le=\"0.05\"} 2",
        ];
        assert_eq!(samples(page, &mut names), expected);
    }

    #[test]
    fn of_readiness_the_checks_stay_and_their_words_do_not() {
        let mut names = Names::default();
        let page = r#"{"ready":false,"checks":[{"name":"dispatcher/ledger","ready":true},
                       {"name":"dispatcher/provider Maria","ready":true,"why":"49999887766"},{"name":"broker","ready":false,"why":"at 10.0.0.1"}]}"#;
        let expected = json!({ "status": 503, "checks": [
            { "check": "dispatcher/ledger", "ready": true, "is_degraded": false },
            { "check": "check 1", "ready": true, "is_degraded": true },
            { "check": "broker", "ready": false, "is_degraded": false },
        ] });
        assert_eq!(readyz(503, page, &mut names), expected);
        assert_eq!(readyz(200, "Maria", &mut names), json!({ "status": 200, "checks": null }));
    }
}
