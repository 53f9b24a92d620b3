//! What running processes say of themselves: the numbers of `/metrics` and the checks of `/readyz`, without the words.

use super::names::Names;
use regua_domain::message::{DeferReason, DoubtReason, FailReason, SkipReason};
use regua_telemetry::config::Service;
use regua_telemetry::health::ReadyReport;
use serde_json::{Value, json};

/// A page is read up to here.
const BYTES_MAX: usize = 2 << 20;
/// What begins every metric of ours; what follows is letters and `_`, which are chosen in the code.
const OURS: &str = "regua_";
/// Labels whose values are words that the code has chosen (ops/docs/metrics.md): all but those that name what a provider has configured.
const CLOSED: [&str; 13] =
    ["became", "duty", "fate", "kind", "outcome", "raised_by", "reason", "scope", "service", "stage", "state", "webhook", "what"];
/// The family whose reasons are read from the ledger's rows.
const OF_ROWS: &str = "regua_messages";

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

/// `dispatcher/ledger` as it is; of one that ends in a name, as `dispatcher/provider NAME` does, only that it is one.
fn check_name(name: &str, names: &mut Names) -> String {
    let (service, check) = name.rsplit_once('/').map_or(("", name), |(service, check)| (service, check));
    let is_ours = SERVICES.iter().any(|known| known.name() == service) || service.is_empty();
    if is_ours && is_word(check) { name.to_owned() } else { names.alias("check", name) }
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
    if !is_word(name.strip_prefix(OURS)?) {
        return None;
    }
    let mut told = Vec::new();
    for (label, value) in labels.into_iter().flat_map(pairs) {
        if !is_word(label) {
            return None;
        }
        let value = match label {
            "component" => check_name(&value, names),
            _ if is_ours(name, label, &value) => value,
            _ => names.any(&value),
        };
        told.push(format!("{label}=\"{value}\""));
    }
    Some(if told.is_empty() { format!("{name} {value}") } else { format!("{name}{{{}}} {value}", told.join(",")) })
}

/// Whether a label's value is a word of ours, or a bound of a histogram.
fn is_ours(family: &str, label: &str, value: &str) -> bool {
    match label {
        "version" => value == crate::status::VERSION,
        "le" => value.len() <= 8 && value.parse::<f64>().is_ok(),
        _ if value.is_empty() => true,
        "reason" if family == OF_ROWS => is_reason(value),
        // What is read, not the name of an ERP.
        "source" if family == "regua_metrics_source_up" => is_word(value),
        _ => CLOSED.contains(&label) && is_word(value),
    }
}

/// Whether a message may have this reason.
fn is_reason(text: &str) -> bool {
    SkipReason::parse(text).is_some()
        || FailReason::parse(text).is_some()
        || DeferReason::parse(text).is_some()
        || DoubtReason::parse(text).is_some()
}

/// Whether it is written as the code writes its names.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '-')
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

    /// What stands between backticks in a cell of a table.
    fn quoted(cell: &str) -> Vec<&str> {
        cell.split('`').skip(1).step_by(2).collect()
    }

    /// A label that is new has to be sorted here: are its values words of ours, or names of a provider's?
    #[test]
    fn every_label_that_the_documentation_has_is_told_in_its_words_or_names_what_is_configured() {
        let page = include_str!("../../../../ops/docs/metrics.md");
        let mut values = 0;
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split(" | ").collect();
            let [family, _, labels, meaning] = cells[..] else { continue };
            let labels = quoted(labels);
            let (of_names, closed): (Vec<&str>, Vec<&str>) =
                labels.iter().partition(|label| ["channel", "business", "integration", "source", "component"].contains(*label));
            for label in closed.iter().filter(|label| **label != "version") {
                assert!(is_ours(family, label, "word"), "{family}: {label}");
            }
            for label in of_names {
                assert!(!is_ours(family, label, "word"), "{family}: {label}");
            }
            for value in quoted(meaning).into_iter().filter(|_| !closed.is_empty() && !labels.contains(&"component")) {
                values += 1;
                assert!(is_ours(family, closed[0], value), "{family}: {value}");
            }
        }
        assert!(values > 60, "the tables were read: {values}");
    }

    #[test]
    fn a_reason_from_a_row_is_told_only_if_it_is_one_and_every_one_is() {
        let told = |reason: &str| {
            let line = format!("regua_messages{{reason=\"{reason}\"}} 1");
            samples(&line, &mut Names::default()) == [line]
        };
        let names = SkipReason::ALL.iter().map(|reason| reason.as_str());
        let names = names.chain(FailReason::ALL.iter().map(|reason| reason.as_str()));
        let names = names.chain(DeferReason::ALL.iter().map(|reason| reason.as_str()));
        let names = names.chain(DoubtReason::ALL.iter().map(|reason| reason.as_str()));
        for reason in names {
            assert!(told(reason) && is_word(reason), "{reason}");
        }
        assert!(told("") && !told("maria_semente"));
        assert!(is_ours("regua_attempts_total", "reason", "closed_before_writing"));
        assert!(!is_ours("regua_attempts_total", "reason", "49999887766"));
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
