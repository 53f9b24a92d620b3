//! What watches Régua: rules, alerts with their pages and tests, dashboards. Prometheus's own tools read the first three.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Finding, sources};
use crate::cargo::{Error, Workspace, run};

const ALERTS: &str = "ops/prometheus/rules/alerts.yml";
const RULE_TESTS: &str = "ops/prometheus/tests";
const RUNBOOKS: &str = "ops/runbooks";
const DASHBOARDS: &str = "ops/grafana/dashboards";
const DATA_SOURCES: &str = "ops/grafana/provisioning/datasources/regua.yml";

/// Checks that every alert has what a person needs, a page and a test; that every page has an alert; that every panel says what it shows; and
/// has promtool and amtool read the rest and run the rules' tests, and the rules' copy for Kubernetes compared.
pub fn check(workspace: &Workspace) -> Result<Vec<Finding>, Error> {
    let rules = sources::read(&workspace.root().join(ALERTS))?;
    let pages = files(workspace, RUNBOOKS, "md")?;
    let tests = files(workspace, RULE_TESTS, "yml")?;
    let mut findings = of_alerts(&rules, &pages, &tests.iter().map(|(_, text)| text.as_str()).collect::<String>());
    let data_sources = sources::read(&workspace.root().join(DATA_SOURCES))?;
    for (path, text) in files(workspace, DASHBOARDS, "json")? {
        let dashboard: Value = serde_json::from_str(&text)?;
        findings.extend(of_dashboard(&path, &dashboard, &data_sources));
    }
    for words in [
        "promtool check config ops/prometheus/prometheus.yml",
        "amtool check-config ops/alertmanager/alertmanager.yml",
        "sh ops/kubernetes/prometheus-operator/make-rules --check",
    ] {
        tool(workspace, words.split(' '))?;
    }
    tool(workspace, ["promtool", "test", "rules"].into_iter().chain(tests.iter().map(|(path, _)| path.as_str())))?;
    Ok(findings)
}

/// Runs a tool in the root folder; it prints what is wrong.
fn tool<'w>(workspace: &Workspace, mut words: impl Iterator<Item = &'w str>) -> Result<(), Error> {
    let mut command = Command::new(words.next().unwrap_or_default());
    run(command.args(words).current_dir(workspace.root()).stdin(Stdio::null()))
}

/// The files of a folder with this extension: path from the root folder and text, sorted.
fn files(workspace: &Workspace, folder: &str, extension: &str) -> Result<Vec<(String, String)>, Error> {
    let path = workspace.root().join(folder);
    let fail = |source| Error::Read { path: path.clone(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(&path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        if let Some(name) = file.file_name().and_then(|name| name.to_str())
            && file.extension().is_some_and(|is| is == extension)
        {
            found.push((format!("{folder}/{name}"), sources::read(&file)?));
        }
    }
    found.sort();
    Ok(found)
}

fn finding(what: String, place: &str, mend: &str) -> Finding {
    Finding { what, place: place.to_owned(), mend: mend.to_owned() }
}

/// The alerts of a file of rules: name, and the lines of its rule.
fn alerts(rules: &str) -> impl Iterator<Item = (&str, &str)> {
    rules.split("- alert: ").skip(1).filter_map(|rule| rule.split_once('\n').map(|(name, lines)| (name.trim(), lines)))
}

/// The value of a key of a rule that stands on one line.
fn value<'r>(rule: &'r str, key: &str) -> Option<&'r str> {
    rule.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))
}

fn of_alerts(rules: &str, pages: &[(String, String)], tests: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for (name, rule) in alerts(rules) {
        for key in ["expr", "labels", "summary", "description"] {
            if value(rule, key).is_none() {
                findings.push(finding(format!("{name} has no {key}"), ALERTS, "say it on a line of the rule"));
            }
        }
        match value(rule, "runbook_url").and_then(|url| pages.iter().find(|(path, _)| path == url)) {
            Some((path, text)) => {
                used.insert(path.as_str());
                if !sources::has_word(text, name) {
                    findings.push(finding(format!("the page doesn't name {name}"), path, "name every alert that leads here"));
                }
            }
            None => findings.push(finding(
                format!("{name} has no page"),
                ALERTS,
                "write one in ops/runbooks and name it in runbook_url",
            )),
        }
        if !sources::has_word(tests, name) {
            findings.push(finding(format!("no test names {name}"), RULE_TESTS, "let its thing happen in a test of promtool"));
        }
    }
    let unused = pages.iter().map(|(path, _)| path.as_str()).filter(|path| !used.contains(path));
    findings
        .extend(unused.map(|path| finding("no alert leads to this page".to_owned(), path, "name it in an alert, or delete it")));
    findings
}

fn of_dashboard(path: &str, dashboard: &Value, data_sources: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ids = BTreeSet::new();
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let known = |source: &Value| source["uid"].as_str().is_some_and(|uid| data_sources.contains(&format!("uid: {uid}\n")));
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        let title = panel["title"].as_str().unwrap_or("a panel");
        let mut say = |holds: bool, what: &str, mend: &str| {
            if !holds {
                findings.push(finding(format!("{title}: {what}"), path, mend));
            }
        };
        say(text(&panel["title"]), "no title", "say in a few words what it shows");
        say(ids.insert(panel["id"].as_u64()), "its id is another panel's", "give it one of its own");
        if panel["type"] == "row" {
            continue;
        }
        say(text(&panel["description"]), "no description", "say what it means and what to do about it");
        say(text(&panel["fieldConfig"]["defaults"]["unit"]), "no unit", "name Grafana's unit, `none` for a bare number");
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        say(targets.iter().any(|target| text(&target["expr"])), "no expression", "ask for something");
        let fixed = [panel].into_iter().chain(targets).all(|asking| known(&asking["datasource"]));
        say(fixed, "its data source isn't provisioned by a fixed uid", "use a uid of ops/grafana/provisioning/datasources");
    }
    for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
        if variable["type"] == "query" && !known(&variable["datasource"]) {
            findings.push(finding(
                format!("variable {}: its data source isn't provisioned", variable["name"]),
                path,
                "use a fixed uid",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RULES: &str = "groups:\n  - name: g\n    rules:\n      - alert: Down\n        expr: up == 0\n        labels: {severity: critical}\n        \
                         annotations:\n          summary: a\n          description: b\n          runbook_url: ops/runbooks/down.md\n";

    fn told(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.what.as_str()).collect()
    }

    fn page(name: &str, text: &str) -> (String, String) {
        (format!("ops/runbooks/{name}.md"), text.to_owned())
    }

    #[test]
    fn an_alert_has_its_words_a_page_that_names_it_and_a_test() {
        let down = page("down", "Alerta: `Down`");
        assert_eq!(told(&of_alerts(RULES, std::slice::from_ref(&down), "alertname: Down")), [""; 0]);
        let lost = RULES.replace("summary: a", "").replace("down.md", "lost.md");
        assert_eq!(
            told(&of_alerts(&lost, &[down], "")),
            ["Down has no summary", "Down has no page", "no test names Down", "no alert leads to this page"]
        );
        assert_eq!(told(&of_alerts(RULES, &[page("down", "Alerta: `Downer`")], "Down")), ["the page doesn't name Down"]);
    }

    #[test]
    fn a_panel_says_what_it_shows_and_asks_a_provisioned_source() {
        let source = json!({ "type": "prometheus", "uid": "p" });
        let target = json!({ "expr": "up", "datasource": source });
        let whole = json!({ "id": 1, "type": "stat", "title": "t", "description": "d", "datasource": source,
                            "fieldConfig": { "defaults": { "unit": "s" } }, "targets": [target] });
        let bare = json!({ "id": 1, "type": "stat", "title": "u", "datasource": { "uid": "q" }, "targets": [] });
        let row = json!({ "id": 2, "type": "row", "title": "r" });
        let board = json!({ "panels": [whole, row, bare], "templating": { "list": [{ "type": "query", "name": "v" }] } });
        assert_eq!(
            told(&of_dashboard("a.json", &board, "  - name: x\n    uid: p\n")),
            [
                "u: its id is another panel's",
                "u: no description",
                "u: no unit",
                "u: no expression",
                "u: its data source isn't provisioned by a fixed uid",
                "variable \"v\": its data source isn't provisioned"
            ]
        );
    }
}
