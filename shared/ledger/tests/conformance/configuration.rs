//! The configuration in the ledger.

use crate::databases::Fixture;
use crate::setup::{OTHER_TEMPLATE, Setup, TEMPLATE, parse, stage};
use crate::world::{World, begin};
use chrono::TimeDelta;
use regua_domain::configuration::{Configuration, Release};
use regua_ledger::LedgerError;
use regua_ledger::settings::Settings;
use std::num::NonZeroU32;

/// Everything that a configuration can say: two integrations, secrets of both kinds, limits and none, an event stage, a reserved task.
const FULL: &str = r##"
[[integration]]
name = "Matriz"
description = "A base"
url = "https://suporte.example.com/api/v1"
token_env = "OPA_TOKEN"
default = true
[[integration]]
name = "Filial"
url = "https://filial.example.com/api/v1"
token_file = "/run/secrets/filial"
release = "immediate"
[[integration]]
name = "Antiga"
url = "https://antiga.example.com/api/v1"
token_env = "OLD_TOKEN"
enabled = false
[[business]]
name = "Provedor"
recipients_per_24h = 10_000
[[business]]
name = "Sem limite"
recipients_per_24h = "unlimited"
[[channel]]
name = "Cobrança"
id = "0123456789abcdef01234567"
per_second = 200
business = "Provedor"
[[channel]]
name = "Avisos"
id = "0123456789abcdef01234568"
per_second = 0
business = "Sem limite"
[[channel]]
name = "Vendas"
integration = "Filial"
id = "0123456789abcdef01234569"
[[notice]]
name = "Lembrete"
channel = "Cobrança"
template = "0123456789abcdef01234570"
variables = "#cliente_razao#,#areceber_valor#"
[[notice]]
name = "Sem variáveis"
integration = "Filial"
channel = "Vendas"
template = "0123456789abcdef01234571"
[[policy]]
name = "Todos"
priority = 7
[[policy.stage]]
stage = "pre_due"
days = -3
notice = "Lembrete"
[[policy.stage]]
stage = "overdue"
days = 5
notice = "Lembrete"
[[policy.stage]]
stage = "settled"
notice = "Sem variáveis"
enabled = false
[[policy]]
name = "Desligada"
enabled = false
[[policy.stage]]
stage = "due_day"
days = 0
notice = "Lembrete"
[[task]]
kind = "update-collections"
minute = 0
hour = "8"
day_of_week = "1-5"
[[task]]
kind = "send-queued-messages"
minute = 30
hour = 8
zone = "America/Manaus"
missed = "skip"
catch_up = "90m"
[[task]]
kind = "reserved"
name = "Remessa"
minute = 15
hour = 6
[[source]]
name = "ERP"
kind = "ixc"
url = "https://ixc.example.com/webservice/v1"
token_env = "IXC_TOKEN"
days_back = 45
days_ahead = 20
max_age = "90m"
[[source]]
name = "Planilhas"
kind = "files"
max_age = "2d"
[window]
days = "1-6"
from = "08:30"
to = "20:00"
zone = "America/Manaus"
[caps]
per_day = 3
[expiry]
open_windows = 2
"##;

async fn migrated(f: &Fixture) -> regua_ledger::Ledger {
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    ledger.set_demo_clock(begin()).await.unwrap();
    ledger
}

async fn applied(ledger: &regua_ledger::Ledger) -> Configuration {
    ledger.configuration().await.unwrap().expect("one was applied")
}

async fn before_the_first_configuration_there_is_none(f: Fixture) {
    let ledger = migrated(&f).await;
    assert_eq!(ledger.configuration().await.unwrap(), None);
    assert_eq!(ledger.settings().await.unwrap(), Settings::new(chrono_tz::America::Sao_Paulo));
    assert!(ledger.policies().await.unwrap().is_empty() && ledger.tasks().await.unwrap().is_empty());
}

async fn what_is_applied_is_read_back(f: Fixture) {
    let ledger = migrated(&f).await;
    let configuration = parse(FULL);
    ledger.apply_configuration(configuration.clone()).await.unwrap();
    assert_eq!(applied(&ledger).await, configuration);
    let settings = ledger.settings().await.unwrap();
    assert_eq!(
        (settings.caps, settings.expiry, settings.window),
        (configuration.caps, configuration.expiry, configuration.window)
    );
}

/// The example that has every section and key.
async fn the_complete_example_is_applied_and_read_back(f: Fixture) {
    let ledger = migrated(&f).await;
    let example = parse(include_str!("../../../../ops/examples/regua-completa.toml"));
    ledger.apply_configuration(example.clone()).await.unwrap();
    assert_eq!(applied(&ledger).await, example);
}

async fn applying_the_same_again_changes_nothing(f: Fixture) {
    let ledger = migrated(&f).await;
    ledger.apply_configuration(parse(FULL)).await.unwrap();
    let before = (applied(&ledger).await, ledger.routes().await.unwrap(), tasks(&ledger).await, policy_ids(&ledger).await);
    f.advance(TimeDelta::hours(1)).await;
    ledger.apply_configuration(parse(FULL)).await.unwrap();
    assert_eq!((applied(&ledger).await, ledger.routes().await.unwrap(), tasks(&ledger).await, policy_ids(&ledger).await), before);
    assert_eq!(f.count("gates").await, 3);
}

async fn tasks(ledger: &regua_ledger::Ledger) -> Vec<(String, chrono::DateTime<chrono::Utc>)> {
    ledger.tasks().await.unwrap().into_iter().map(|task| (task.name, task.effective_from_at)).collect()
}

async fn policy_ids(ledger: &regua_ledger::Ledger) -> Vec<regua_domain::ids::PolicyId> {
    ledger.policies().await.unwrap().iter().map(|policy| policy.id).collect()
}

async fn limits_are_given_and_taken_away_in_any_order(f: Fixture) {
    let ledger = migrated(&f).await;
    for (recipients, per_second) in [("\"unlimited\"", 0), ("250", 80), ("\"unlimited\"", 0), ("2000", 20)] {
        let configuration = Setup { recipients_per_24h: recipients, per_second, ..Setup::default() }.configuration();
        ledger.apply_configuration(configuration.clone()).await.unwrap();
        assert_eq!(applied(&ledger).await, configuration);
    }
}

async fn a_configuration_is_applied_whole_or_not_at_all(f: Fixture) {
    let ledger = migrated(&f).await;
    let before = Setup::default().configuration();
    ledger.apply_configuration(before.clone()).await.unwrap();
    let mut wrong = Setup { per_day: 9, template: OTHER_TEMPLATE, ..Setup::default() }.configuration();
    wrong.policies[0].stages[2].notice = "Inexistente".into();
    assert!(ledger.apply_configuration(wrong).await.is_err());
    assert_eq!(applied(&ledger).await, before);
}

async fn what_a_file_no_longer_names_is_switched_off_and_comes_back(f: Fixture) {
    let ledger = migrated(&f).await;
    let full = parse(FULL);
    ledger.apply_configuration(full.clone()).await.unwrap();
    let ids = policy_ids(&ledger).await;
    let mut less = full.clone();
    less.policies.retain(|policy| policy.name != "Todos");
    less.tasks.retain(|task| task.name != "send-queued-messages");
    ledger.apply_configuration(less).await.unwrap();
    assert!(ledger.policies().await.unwrap().is_empty());
    assert_eq!(tasks(&ledger).await.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["update-collections"]);
    let read = applied(&ledger).await;
    assert!(read.policies.iter().all(|policy| !policy.enabled), "they stay, switched off");
    assert_eq!(read.tasks.iter().filter(|task| !task.enabled).count(), 1);
    ledger.apply_configuration(full.clone()).await.unwrap();
    assert_eq!((applied(&ledger).await, policy_ids(&ledger).await), (full, ids));
}

async fn a_task_catches_up_only_from_its_last_change_on(f: Fixture) {
    let ledger = migrated(&f).await;
    let configuration = Setup::default().configuration();
    ledger.apply_configuration(configuration.clone()).await.unwrap();
    let of = |tasks: Vec<(String, _)>, name: &str| tasks.into_iter().find(|(task, _)| task == name).unwrap().1;
    let first = of(tasks(&ledger).await, "update-collections");

    f.advance(TimeDelta::hours(1)).await;
    let mut changed = configuration.clone();
    changed.tasks[1].minute = "45".into();
    ledger.apply_configuration(changed.clone()).await.unwrap();
    assert_eq!(of(tasks(&ledger).await, "update-collections"), first, "this one did not change");
    let second = of(tasks(&ledger).await, "send-queued-messages");
    assert!(second >= first + TimeDelta::hours(1));

    f.advance(TimeDelta::hours(1)).await;
    changed.tasks[1].enabled = false;
    ledger.apply_configuration(changed.clone()).await.unwrap();
    f.advance(TimeDelta::hours(1)).await;
    changed.tasks[1].enabled = true;
    ledger.apply_configuration(changed).await.unwrap();
    assert!(of(tasks(&ledger).await, "send-queued-messages") >= second + TimeDelta::hours(2), "switched on again");
}

async fn a_task_removed_and_named_again_catches_up_from_then_on(f: Fixture) {
    let ledger = migrated(&f).await;
    let configuration = Setup::default().configuration();
    ledger.apply_configuration(configuration.clone()).await.unwrap();
    let first = tasks(&ledger).await;
    let mut less = configuration.clone();
    less.tasks.clear();
    ledger.apply_configuration(less).await.unwrap();
    assert!(tasks(&ledger).await.is_empty());
    f.advance(TimeDelta::days(30)).await;
    ledger.apply_configuration(configuration).await.unwrap();
    for ((name, from), (_, before)) in tasks(&ledger).await.into_iter().zip(first) {
        assert!(from >= before + TimeDelta::days(30), "{name}");
    }
}

async fn tasks_that_regua_does_not_run_are_not_planned(f: Fixture) {
    let ledger = migrated(&f).await;
    ledger.apply_configuration(parse(FULL)).await.unwrap();
    let all = ledger.tasks().await.unwrap();
    assert_eq!(all.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["send-queued-messages", "update-collections"]);
    assert_eq!(all[0].fields, ["30", "8", "*", "*", "*"]);
    assert_eq!((all[0].zone, all[1].zone), (chrono_tz::America::Manaus, chrono_tz::America::Sao_Paulo));
    assert_eq!(all[0].last_planned_at, None);
    let at = ledger.now().await.unwrap();
    ledger.plan_run(all[0].name.clone(), all[0].kind, at, None).await.unwrap();
    assert_eq!(ledger.tasks().await.unwrap()[0].last_planned_at, Some(at));
}

async fn the_smaller_priority_comes_first_then_the_name(f: Fixture) {
    let policies = [("B", 5, true), ("A", 5, true), ("Z", 1, true), ("Off", 0, false)];
    let more = policies.iter().fold(String::new(), |text, (name, priority, enabled)| {
        let stages = stage("overdue", 4, "Aviso") + &stage("pending_query", 9, "Pendência") + "enabled = false\n";
        text + &format!("[[policy]]\nname = \"{name}\"\npriority = {priority}\nenabled = {enabled}\n{stages}")
    });
    let w = World::new(f, &Setup { more, ..Setup::default() }).await;
    let plans = w.ledger.policies().await.unwrap();
    let mut names = Vec::new();
    for plan in &plans {
        names.push(w.f.text(format!("SELECT name FROM policies WHERE id = '{}'", plan.id)).await.unwrap());
    }
    assert_eq!(names, ["Z", "A", "B", "Todos"]);
    let stages: Vec<_> = plans[0].stages.iter().map(|plan| (plan.stage.as_str(), plan.days)).collect();
    assert_eq!(stages, [("overdue", Some(4))], "only what is switched on");
    let notice = &plans[0].stages[0].notice;
    assert_eq!((notice.channel_id, notice.template_id.as_str()), (w.channel, TEMPLATE));
    assert_eq!((notice.provider_channel_id.as_str(), notice.filling.variables().count()), ("64f1c0de0a1b2c3d4e5f6001", 3));
}

async fn a_channel_without_a_business_shares_no_budget_with_a_business_of_its_name(f: Fixture) {
    let ledger = migrated(&f).await;
    let mut configuration = Setup { recipients_per_24h: "250", ..Setup::default() }.configuration();
    configuration.businesses[0].name = "Vendas".into();
    configuration.channels[0].business = Some("Vendas".into());
    ledger.apply_configuration(configuration.clone()).await.unwrap();
    let routes = ledger.routes().await.unwrap();
    assert_ne!(routes[0].business_id, routes[1].business_id);
    assert_eq!(applied(&ledger).await, configuration);
    configuration.businesses[0].recipients_per_24h = None::<NonZeroU32>;
    ledger.apply_configuration(configuration.clone()).await.unwrap();
    assert_eq!(applied(&ledger).await, configuration);
}

async fn a_route_says_where_a_channels_messages_go(f: Fixture) {
    let ledger = migrated(&f).await;
    let configuration = parse(FULL);
    ledger.apply_configuration(configuration.clone()).await.unwrap();
    let routes = ledger.routes().await.unwrap();
    let of = |name: &str| configuration.integrations.iter().find(|integration| integration.name == name).unwrap();
    for (route, integration) in routes.iter().zip(["Matriz", "Matriz", "Filial"]) {
        assert_eq!((route.url.as_str(), &route.token), (of(integration).url.as_str(), &of(integration).token));
        assert_eq!(route.integration, integration);
    }
    assert_eq!(of("Filial").release, Release::Immediate);
}

/// Its notices go with it from what is read back: no file may name a notice of an integration that is off.
async fn an_integration_that_a_file_no_longer_names_is_switched_off(f: Fixture) {
    let ledger = migrated(&f).await;
    let full = parse(FULL);
    ledger.apply_configuration(full.clone()).await.unwrap();
    let mut less = full.clone();
    less.integrations.retain(|integration| integration.name != "Filial");
    less.channels.retain(|channel| channel.integration != "Filial");
    less.notices.retain(|notice| notice.integration != "Filial");
    less.policies[0].stages.retain(|stage| stage.notice == "Lembrete");
    ledger.apply_configuration(less).await.unwrap();
    let read = applied(&ledger).await;
    let on: Vec<_> = read.integrations.iter().map(|integration| (integration.name.as_str(), integration.enabled)).collect();
    assert_eq!(on, [("Matriz", true), ("Filial", false), ("Antiga", false)]);
    assert_eq!(read.notices.iter().map(|notice| notice.name.as_str()).collect::<Vec<_>>(), ["Lembrete"]);
    assert_eq!(parse(&regua_domain::configuration::export(&read)), read, "what is exported can be applied");
    let usable: Vec<_> = ledger.routes().await.unwrap().into_iter().map(|route| (route.integration, route.enabled)).collect();
    assert_eq!(usable, [("Matriz".to_owned(), true), ("Matriz".to_owned(), true), ("Filial".to_owned(), false)]);
    ledger.apply_configuration(full.clone()).await.unwrap();
    assert_eq!(applied(&ledger).await, full);
}

async fn a_file_that_no_longer_has_settings_has_the_defaults(f: Fixture) {
    let ledger = migrated(&f).await;
    ledger.apply_configuration(parse(FULL)).await.unwrap();
    let without = FULL.split("[window]").next().unwrap();
    ledger.apply_configuration(parse(without)).await.unwrap();
    assert_eq!(ledger.settings().await.unwrap(), Settings::new(chrono_tz::America::Sao_Paulo));
}

/// Whoever starts again must not undo what an operator applied since.
async fn a_starts_file_is_applied_once_until_it_changes(f: Fixture) {
    let ledger = migrated(&f).await;
    let (file, by_hand) = (Setup::default().configuration(), Setup { per_day: 7, ..Setup::default() }.configuration());
    let mut wrong = file.clone();
    wrong.policies[0].stages[0].notice = "Inexistente".into();
    assert!(ledger.apply_file_once(wrong).await.is_err());
    assert!(ledger.apply_file_once(file.clone()).await.unwrap(), "one that failed was not applied");
    ledger.apply_configuration(by_hand.clone()).await.unwrap();
    assert!(!ledger.apply_file_once(file).await.unwrap());
    assert_eq!(applied(&ledger).await, by_hand);
    let changed = Setup { per_day: 3, ..Setup::default() }.configuration();
    assert!(ledger.apply_file_once(changed.clone()).await.unwrap());
    assert_eq!(applied(&ledger).await, changed);
}

async fn source_ids(ledger: &regua_ledger::Ledger) -> Vec<(String, regua_domain::ids::SourceId)> {
    ledger.sources().await.unwrap().into_iter().map(|source| (source.name, source.id)).collect()
}

async fn a_renamed_source_stays_the_same(f: Fixture) {
    let ledger = migrated(&f).await;
    let mut configuration = parse(FULL);
    ledger.apply_configuration(configuration.clone()).await.unwrap();
    let before = source_ids(&ledger).await;
    configuration.sources[0].name = "IXC".into();
    ledger.apply_configuration(configuration.clone()).await.unwrap();
    let after = source_ids(&ledger).await;
    assert_eq!(after.iter().map(|(_, id)| id).collect::<Vec<_>>(), before.iter().map(|(_, id)| id).collect::<Vec<_>>());
    assert_eq!(applied(&ledger).await, configuration);
}

async fn two_sources_of_one_kind_stay_two(f: Fixture) {
    let ledger = migrated(&f).await;
    let mut configuration = Setup::default().configuration();
    let more = configuration.sources[0].clone();
    for name in ["Filial", "Antes"] {
        configuration.sources.insert(0, regua_domain::configuration::Source { name: name.into(), ..more.clone() });
        ledger.apply_configuration(configuration.clone()).await.unwrap();
    }
    let first = source_ids(&ledger).await;
    assert_eq!(first.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["Antes", "ERP", "Filial"]);
    configuration.sources.reverse();
    ledger.apply_configuration(configuration).await.unwrap();
    assert_eq!(source_ids(&ledger).await, first);
}

async fn a_source_that_a_file_no_longer_names_is_switched_off(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.released(1, 1, "overdue").await;
    let mut without = Setup::default().configuration();
    without.sources.clear();
    w.ledger.apply_configuration(without).await.unwrap();
    assert!(w.ledger.sources().await.unwrap().is_empty());
    assert!(w.top_up(10).await.is_empty(), "nothing is sent from it");
    w.ledger.apply_configuration(Setup::default().configuration()).await.unwrap();
    assert_eq!(source_ids(&w.ledger).await, [("ERP".to_owned(), w.source)]);
    assert_eq!(w.top_up(10).await.len(), 1);
}

async fn settings_that_cannot_be_read_are_an_error(f: Fixture) {
    let ledger = migrated(&f).await;
    f.execute("INSERT INTO settings (name, value) VALUES ('provider', '{}')").await;
    let error = ledger.settings().await.unwrap_err();
    assert!(matches!(error, LedgerError::Unreadable { .. }), "{error:?}");
}

conformance! {
    before_the_first_configuration_there_is_none
    what_is_applied_is_read_back
    the_complete_example_is_applied_and_read_back
    applying_the_same_again_changes_nothing
    limits_are_given_and_taken_away_in_any_order
    a_configuration_is_applied_whole_or_not_at_all
    what_a_file_no_longer_names_is_switched_off_and_comes_back
    a_task_catches_up_only_from_its_last_change_on
    a_task_removed_and_named_again_catches_up_from_then_on
    tasks_that_regua_does_not_run_are_not_planned
    the_smaller_priority_comes_first_then_the_name
    a_channel_without_a_business_shares_no_budget_with_a_business_of_its_name
    a_route_says_where_a_channels_messages_go
    an_integration_that_a_file_no_longer_names_is_switched_off
    a_file_that_no_longer_has_settings_has_the_defaults
    a_starts_file_is_applied_once_until_it_changes
    a_renamed_source_stays_the_same
    two_sources_of_one_kind_stay_two
    a_source_that_a_file_no_longer_names_is_switched_off
    settings_that_cannot_be_read_are_an_error
}
