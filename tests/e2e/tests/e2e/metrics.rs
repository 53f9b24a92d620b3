//! `/metrics` of every role: what the tools of Prometheus accept, what a real one scrapes, and what the page of the documentation says.

use regua_e2e::{Program, Service, World, WorldOptions, until};
use regua_test_servers::Prometheus;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::block_in_place;

const PAGE: &str = include_str!("../../../../ops/docs/metrics.md");
/// The section of the page whose families one role alone exposes.
const OF_THE_LEDGER: &str = "Of the ledger";
const OF_EACH: &str = "Of each process";
/// There only where spans are exported, as no service here does.
const OF_TRACES: &str = "regua_spans_total";

/// A family as the page has it.
struct Told {
    kind: String,
    labels: BTreeSet<String>,
    /// The headings of the sections that name it.
    sections: Vec<String>,
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn told() -> BTreeMap<String, Told> {
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let mut section = "";
    for line in PAGE.lines() {
        section = line.strip_prefix("## ").unwrap_or(section);
        let cells: Vec<&str> = line.split(" | ").collect();
        let [names, kind, labels, ..] = cells[..] else { continue };
        for name in quoted(names) {
            let new = || Told { kind: kind.into(), labels: quoted(labels).collect(), sections: Vec::new() };
            told.entry(name).or_insert_with(new).sections.push(section.into());
        }
    }
    told
}

/// A family as a process exposes it: its kind and the names of its labels.
type Shown = BTreeMap<String, (String, BTreeSet<String>)>;

fn shown(text: &str) -> Shown {
    let mut shown = Shown::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            name.clone_into(&mut family);
            shown.insert(family.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let names = labels.split("\",").filter_map(|pair| Some(pair.split_once("=\"")?.0.to_owned()));
            shown.get_mut(&family).unwrap().1.extend(names.filter(|name| name != "le"));
        }
    }
    shown
}

/// Every family that a role exposes is on the page as it is, in a section of that role's.
fn check_against_the_page(role: &str, shown: &Shown, told: &BTreeMap<String, Told>) {
    for (name, (kind, labels)) in shown {
        let of = told.get(name).unwrap_or_else(|| panic!("{role}: {name} is not in ops/docs/metrics.md"));
        assert_eq!((kind, labels.is_subset(&of.labels)), (&of.kind, true), "{role}: {name} {labels:?}");
        let is_its = |section: &String| {
            section.starts_with(role)
                || section.starts_with(OF_EACH)
                || (section.starts_with(OF_THE_LEDGER) && role == "scheduler")
        };
        assert!(of.sections.iter().any(is_its), "{role} exposes {name}, which is told of {:?}", of.sections);
    }
}

async fn scraped(service: &mut Service) -> String {
    until("/metrics answers", async || service.get("/metrics").await.filter(|(status, _)| *status == 200)).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_exposes_what_the_page_tells_and_a_prometheus_scrapes_it() {
    let world = World::set(WorldOptions::customers(200)).await;
    let mut crew = world.crew(1).await;
    let mut console = world.spawn(Program::Console);
    console.ready().await;
    world.decide_as_the_demo().await;
    world.run("send-queued-messages").await;
    world.settled().await;
    let all = u32::try_from(world.database.count("messages").await).unwrap();
    let accepted = u32::try_from(world.opa.stats().accepted).unwrap();
    assert!(accepted > 20 && all > accepted, "{accepted} of {all}");

    let told = told();
    let mut targets = Vec::new();
    let roles = [
        ("scheduler", &mut crew.scheduler),
        ("billing-evaluator", &mut crew.evaluator),
        ("dispatcher", &mut crew.dispatchers[0]),
        ("console", &mut console),
    ];
    for (role, service) in roles {
        let text = scraped(service).await;
        block_in_place(|| Prometheus::check_metrics(&text)).unwrap_or_else(|error| panic!("{role}: {error}\n{text}"));
        let shown = shown(&text);
        check_against_the_page(role, &shown, &told);
        let is_shown = |section: &str| {
            let of = told.iter().filter(|(_, of)| of.sections.iter().any(|found| found.starts_with(section)));
            of.filter(|(name, _)| !shown.contains_key(*name) && *name != OF_TRACES)
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(is_shown(OF_EACH), Vec::<&str>::new(), "{role} lacks them");
        if role == "scheduler" {
            assert_eq!(is_shown(OF_THE_LEDGER), Vec::<&str>::new(), "{role} lacks them");
            assert_eq!(is_shown(role), Vec::<&str>::new(), "{role} lacks them");
        }
        targets.push((role, service.address().await));
    }

    let named: Vec<(&str, &str)> = targets.iter().map(|(role, address)| (*role, address.as_str())).collect();
    let prometheus = block_in_place(|| Prometheus::start(&named, &[], Duration::from_secs(1))).expect("it is installed");
    let value = |expression: &str| {
        let found = block_in_place(|| prometheus.query(expression)).expect("it answers");
        found.first().map(|(_, value)| *value)
    };
    let is = |expression: &'static str, expected: u32| {
        until(expression, async move || (value(expression) == Some(f64::from(expected))).then_some(()))
    };
    is("count(up == 1)", 4).await;
    // The ledger's families may be ten seconds old.
    is("sum(regua_messages)", all).await;
    is("regua_messages_evaluated", all).await;
    is("count(sum(regua_messages) == scalar(regua_messages_evaluated))", 1).await;
    is("sum(regua_messages{state='sent'})", accepted).await;
    is("sum(regua_attempts_total{outcome='accepted'})", accepted).await;
    is("sum(regua_request_duration_seconds_count)", accepted).await;
    is("sum(regua_request_duration_seconds_bucket{le='+Inf'})", accepted).await;
    is("sum(regua_waiting_messages)", 0).await;
    is("count(count by (component) (regua_component_ready{component='ledger'} == 1))", 1).await;
    is("sum(regua_duty_failing)", 0).await;
    is("sum(regua_tick_to_first_send_seconds_count)", 1).await;
}
