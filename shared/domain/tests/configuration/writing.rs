//! What is written: the file that says the same, and what one file changes of another.

use crate::{VALID, defaults, parse, valid};
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use proptest::prelude::*;
use regua_domain::calendar::{MunicipalDay, MunicipalHoliday};
use regua_domain::configuration::{
    Approval, Business, Caps, ChangeKind, Channel, Configuration, Expiry, Gateway, Integration, LastLook, Notice, Policy,
    PolicyStage, Price, Release, Retention, SecretRef, Source, SourceKind, StateHours, StatesRule, Task, Unanswered,
    WindowSettings, diff, export,
};
use regua_domain::media::Media;
use regua_domain::money::{Centavos, UnitPrice};
use regua_domain::payment::{AmountUnit, PaymentMeans, PaymentTerms};
use regua_domain::payment_codes::{PixKey, PixKeyKind};
use regua_domain::phone::Phone;
use regua_domain::pilot::Pilot;
use regua_domain::place::Uf;
use regua_domain::policy::{ClosedDay, Filter, PolicyFilters};
use regua_domain::provider::{Branch, DaysLateFrom, Identity, Provider};
use regua_domain::schedule::{Missed, TaskKind};
use regua_domain::stage::{Stage, StageKind};
use regua_domain::window::WeekHours;
use std::num::{NonZeroU16, NonZeroU32};

const DEMO: &str = include_str!("../../../../ops/examples/demo.toml");

#[test]
fn the_demos_file_is_right() {
    let environment = |name: &str| match name {
        "REGUA_DEMO_OPA_URL" | "REGUA_DEMO_IXC_URL" => Some("http://127.0.0.1:9000".to_owned()),
        "REGUA_DEMO_OPA_TOKEN" | "REGUA_DEMO_IXC_TOKEN" => Some("demo".to_owned()),
        _ => None,
    };
    let defaults = regua_domain::configuration::Defaults { allow_private_urls: true, ..defaults() };
    let demo = Configuration::parse(DEMO, "demo.toml", &defaults, &environment).unwrap_or_else(|errors| panic!("{errors}"));
    let on: Vec<_> = demo.policies[0].stages.iter().map(|stage| (stage.stage, stage.days)).collect();
    assert_eq!(on, [(Stage::PreDue, Some(-3)), (Stage::DueDay, Some(0)), (Stage::Overdue, Some(3))]);
    assert_eq!(demo.channels[0].per_second.map(NonZeroU16::get), Some(200));
    for stage in Stage::ALL {
        assert!(DEMO.contains(&format!("stage = \"{stage}\"")) && DEMO.contains(&format!("[{}]", stage.erp_label())), "{stage}");
    }
}

#[test]
fn the_commented_stages_of_the_demos_file_are_right_too() {
    let stages =
        DEMO.split("# The other eight tabs").nth(1).and_then(|rest| rest.split("# Schedules").next()).expect("both are there");
    let uncommented: Vec<_> = stages
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.contains(" = ") || line.starts_with('['))
        .collect();
    let stages = uncommented.join("\n").replace('…', "Lembrete");
    // One notice for all: of an invoice a customer's own event knows nothing.
    let text = VALID
        .replacen("[[task]]", &format!("{stages}\n[[task]]"), 1)
        .replacen("stage = \"settled\"\n", "stage = \"due_day\"\ndays = 0\n", 1)
        .replacen(",#areceber_valor#", "", 1);
    let (file, _) = parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(file.policies[0].stages.len(), Stage::ALL.len());
}

#[test]
fn the_commented_filters_of_the_demos_file_are_right_and_are_all_there_are() {
    let filters = DEMO.split("# [policy.filters]").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("both are there");
    let lines: Vec<_> = filters.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    let (file, _) =
        parse(&VALID.replace("[policy.filters]", &format!("[policy.filters]\n{}", lines.join("\n")))).expect("they are right");
    let given = &file.policies[0].filters;
    assert!(Filter::ALL.iter().all(|filter| !given.values(*filter).is_empty() || *filter == Filter::AmountMin), "{given:?}");
    assert!(given.amount_min.is_some());
}

#[test]
fn a_secret_is_written_only_as_a_reference() {
    let written = export(&valid());
    assert!(written.contains("token_env = \"OPA_TOKEN\"") && written.contains("token_file = \"/run/secrets/filial\""));
    assert!(!written.contains("the-secret"));
}

#[test]
fn a_change_names_the_section_the_field_and_both_values() {
    let (new, _) = parse(&VALID.replacen("per_second = 200", "per_second = 0", 1).replacen("business = \"Provedor\"\n", "", 1))
        .expect("valid");
    let changes: Vec<_> = diff(Some(&valid()), &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        ["changed [[channel]] \"Cobrança\"\n  per_second: 200 -> \"unlimited\"\n  business: \"Provedor\" -> (absent)"]
    );
}

#[test]
fn what_comes_and_goes_is_told_whole() {
    let old = valid();
    let mut new = old.clone();
    new.businesses[0].name = "Outro".into();
    new.policies[0].stages.remove(2);
    let changes = diff(Some(&old), &new);
    let told: Vec<_> = changes.iter().map(|change| (change.kind, change.section, change.name.as_str())).collect();
    let removed = ChangeKind::Removed;
    let expected = [
        (removed, "[[business]]", "Provedor"),
        (removed, "[[policy.stage]]", "Todos / settled"),
        (ChangeKind::Added, "[[business]]", "Outro"),
    ];
    assert_eq!(told, expected);
    assert_eq!(changes[2].to_string(), "added [[business]] \"Outro\"\n  name = \"Outro\"\n  recipients_per_24h = 10000");
    assert!(changes[2].fields.iter().all(|field| field.old.is_none() && field.new.is_some()));
    let first = diff(None, &old);
    assert!(first.iter().all(|change| change.kind == ChangeKind::Added));
    let window = first.iter().find(|change| change.section == "[window]").expect("it has one").to_string();
    assert!(window.starts_with("added [window]\n  "), "a section without a name has none: {window}");
}

/// Text that TOML must escape, made unique by its prefix.
fn name(prefix: &'static str) -> impl Strategy<Value = String> {
    r#"[a-zá"'\\#=\[\] ]{0,12}"#.prop_map(move |text| format!("{prefix}{text}").trim().to_owned())
}

fn secret() -> impl Strategy<Value = SecretRef> {
    prop_oneof![
        "[A-Z_][A-Z0-9_]{0,9}".prop_map(SecretRef::Env),
        "/[a-z/. ]{0,9}x".prop_map(SecretRef::File),
        "[a-z][a-z0-9_-]{0,39}".prop_map(SecretRef::Ledger)
    ]
}

fn webhook_secret() -> impl Strategy<Value = Option<SecretRef>> {
    proptest::option::of(secret())
}

fn integration(prefix: &'static str, default: bool) -> impl Strategy<Value = Integration> {
    let release = prop_oneof![Just(Release::OnTask), Just(Release::Immediate)];
    let text = (name(prefix), name(""), "[a-z]{1,9}");
    let rest = (secret(), release, webhook_secret(), any::<bool>());
    (text, rest).prop_map(move |((name, description, host), (token, release, webhook_secret, look_up))| {
        let url = format!("https://{prefix}{host}.example.com/api/v1").parse().expect("an address");
        let enabled = !default;
        let gateway = Gateway::OpaSuite;
        Integration { name, description, gateway, url, token, default, release, enabled, webhook_secret, look_up }
    })
}

fn stages(notice: String) -> impl Strategy<Value = Vec<PolicyStage>> {
    let days = (1i16..=365, prop::collection::vec(1i16..=365, 5), prop::collection::vec(any::<(bool, bool)>(), 11), hours());
    days.prop_map(move |(before, gaps, flags, hours)| {
        let mut after = 0;
        let mut gaps = gaps.into_iter();
        let days = |stage: Stage| match stage {
            Stage::PreDue => Some(-before.min(40)),
            Stage::DueDay => Some(0),
            stage if stage.kind() == StageKind::Event => None,
            _ => {
                after += gaps.next().unwrap_or(1);
                Some(after)
            }
        };
        let days: Vec<_> = Stage::ALL.into_iter().map(days).collect();
        let stages = Stage::ALL.into_iter().zip(days).zip(flags).filter(|(_, (present, _))| *present);
        let mut stages: Vec<_> = stages
            .map(|((stage, days), (_, enabled))| PolicyStage {
                stage,
                days,
                notice: notice.clone(),
                enabled,
                only_after_notice: (stage.kind() == StageKind::Event).then_some(before % 3 == 0),
                closed_day: days.map(|days| ClosedDay::ALL[usize::from(days.unsigned_abs()) % 3]),
                hours: enabled.then_some(hours),
            })
            .collect();
        if before % 2 == 0 {
            stages.reverse();
        }
        stages
    })
}

fn tasks() -> impl Strategy<Value = Vec<Task>> {
    let zone = prop_oneof![Just(Tz::America__Sao_Paulo), Just(Tz::America__Manaus), Just(Tz::UTC)];
    (zone, 0u8..29, 1u8..23, name("reserved "), any::<bool>()).prop_map(|(zone, minute, hour, name, enabled)| {
        let task = |name: &str, kind, minute: String, hour: u8, enabled| Task {
            name: name.to_owned(),
            kind,
            minute,
            hour: hour.to_string(),
            day_of_month: "*".into(),
            month: "1-6,8".into(),
            day_of_week: "mon-fri".into(),
            zone,
            enabled,
            missed: if enabled { Missed::Latest } else { Missed::Skip },
            catch_up_s: 60 + u32::from(hour) * 26_000,
        };
        vec![
            task("update-collections", TaskKind::UpdateCollections, minute.to_string(), hour, true),
            task("send-queued-messages", TaskKind::SendQueuedMessages, (minute + 30).to_string(), hour, enabled),
            task(&name, TaskKind::Reserved, "*/10".into(), hour + 1, enabled),
        ]
    })
}

fn sources() -> impl Strategy<Value = Vec<Source>> {
    let age = (60u32..=30 * 86_400, last_look());
    (name("erp "), name("files "), secret(), webhook_secret(), 0u16..=1825, 40u16..=365, age).prop_map(
        |(erp, files, token, webhook_secret, days_back, days_ahead, (max_age_s, last_look))| {
            let url = "https://ixc.example.com/webservice/v1".parse().expect("an address");
            let kind = SourceKind::Ixc { url, token, days_back, days_ahead, last_look };
            vec![
                Source { name: erp, kind, max_age_s, webhook_secret },
                Source { name: files, kind: SourceKind::Files, max_age_s: max_age_s / 60 * 60, webhook_secret: None },
            ]
        },
    )
}

fn last_look() -> impl Strategy<Value = Option<LastLook>> {
    let unanswered = prop::sample::select(Unanswered::ALL);
    proptest::option::of((60u32..=86_400, unanswered).prop_map(|(max_age_s, unanswered)| LastLook { max_age_s, unanswered }))
}

/// For each weekday hours of its own, or none; at least Wednesday has some.
fn hours() -> impl Strategy<Value = WeekHours> {
    prop::collection::vec(proptest::option::of((0u32..1439, 1u32..1440)), 7).prop_map(|days| {
        let time = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        let entry = |(day, span): (usize, Option<(u32, u32)>)| {
            let (from, length) = if day == 3 { span.unwrap_or((540, 60)) } else { span? };
            Some(format!("{day} {}-{}", time(from), time((from + length).min(1440))))
        };
        let entries: Vec<String> = (1..).zip(days).filter_map(entry).collect();
        WeekHours::parse(entries.iter().map(String::as_str)).expect("hours")
    })
}

fn window() -> impl Strategy<Value = WindowSettings> {
    let states = prop::sample::subsequence(Uf::ALL.to_vec(), 0..4);
    let rule = prop_oneof![Just(StatesRule::Common), Just(StatesRule::Law)];
    (hours(), states, hours(), rule).prop_map(|(hours, states, own, rule)| {
        let own = states.into_iter().map(|uf| StateHours { uf, hours: own }).collect();
        WindowSettings { hours, zone: Tz::America__Noronha, states: rule, own }
    })
}

fn holidays() -> impl Strategy<Value = Vec<MunicipalHoliday>> {
    let day = prop_oneof![
        (1u32..=12, 1u32..=28).prop_map(|(month, day)| MunicipalDay::EveryYear { month, day }),
        (0u64..20_000).prop_map(|days| MunicipalDay::Once(NaiveDate::default() + Days::new(days))),
    ];
    let holiday = (prop::sample::select(Uf::ALL.to_vec()), name(""), day, name("dia "))
        .prop_map(|(uf, city, day, name)| MunicipalHoliday::new(uf, &city, day, name));
    prop::collection::vec(holiday, 0..4).prop_map(|holidays| {
        let mut different: Vec<MunicipalHoliday> = Vec::new();
        for holiday in holidays {
            if !different.contains(&holiday) {
                different.push(holiday);
            }
        }
        different
    })
}

fn filters() -> impl Strategy<Value = PolicyFilters> {
    let values = || prop::collection::vec(prop_oneof![name("x").boxed(), Just("7".to_owned()).boxed()], 0..3);
    let amount = proptest::option::of(1i64..=1_000_000_000).prop_map(|amount| amount.map(Centavos));
    let persons = prop::sample::subsequence(vec!["F".to_owned(), "J".to_owned(), "E".to_owned()], 0..=3);
    let receipts = prop::sample::subsequence(vec!["Boleto".to_owned(), "Cartão".to_owned()], 0..=2);
    (values(), values(), values(), values(), values(), persons, receipts, amount).prop_map(
        |(branch, portfolio, customer_type, contract_status, city, person_type, receipt_type, amount_min)| PolicyFilters {
            branch,
            portfolio,
            customer_type,
            person_type,
            receipt_type,
            contract_status,
            city,
            amount_min,
        },
    )
}

fn phone() -> impl Strategy<Value = Phone> {
    "119[0-9]{8}".prop_map(|number| regua_domain::phone::parse(&number).expect("a mobile number"))
}

fn pilot() -> impl Strategy<Value = Pilot> {
    let only = proptest::collection::vec(phone(), 1..4).prop_map(Pilot::Only);
    prop_oneof![Just(Pilot::Off), only, phone().prop_map(Pilot::RedirectTo)]
}

fn identity() -> impl Strategy<Value = Identity> {
    let tax_id = prop_oneof![Just(""), Just("11.222.333/0001-81"), Just("12.ABC.345/01DE-35"), Just("123.456.789-09")];
    let key = (prop::sample::select(PixKeyKind::ALL), "\\+551[1-9]9[0-9]{8}").prop_map(|(kind, phone)| {
        let text = match kind {
            PixKeyKind::Cpf => "123.456.789-09",
            PixKeyKind::Cnpj => "12.ABC.345/01DE-35",
            PixKeyKind::Phone => &phone,
            PixKeyKind::Email => "Pix@Provedor.example",
            PixKeyKind::Evp => "123e4567-e12b-12d1-a456-426655440000",
        };
        PixKey::parse(kind, text).expect("a key of its kind")
    });
    let of_text = (name(""), name(""), tax_id, name(""), name(""), proptest::option::of(key));
    of_text.prop_map(|(name, trade_name, tax_id, address, phone, pix_key)| Identity {
        name,
        trade_name,
        tax_id: tax_id.to_owned(),
        address,
        phone,
        pix_key,
    })
}

fn provider() -> impl Strategy<Value = Provider> {
    let days_late_from = prop_oneof![Just(DaysLateFrom::BusinessDay), Just(DaysLateFrom::DueDate)];
    let branches = prop::collection::btree_map(1u32..=99, identity(), 0..3);
    (identity(), branches, days_late_from).prop_map(|(head, branches, days_late_from)| Provider {
        head,
        branches: branches.into_iter().map(|(id, identity)| Branch { id: id.to_string(), identity }).collect(),
        days_late_from,
    })
}

prop_compose! {
    fn configuration()(
        (main, other) in (integration("a", true), integration("b", false)),
        (business, recipients) in (name("business"), proptest::option::of(1u32..=1_000_000)),
        (channel, id, limit) in (name("channel"), "[0-9a-f]{24}", proptest::option::of(1u16..=1000)),
        (notice, template) in (name("notice"), "[0-9a-f]{24}"),
        variables in prop_oneof![Just(""), Just("#cliente_razao#"), Just(r"Sr. #cliente_razao#\, olá,#AReceber_valor#")],
        payment in proptest::option::of((prop::sample::select(PaymentMeans::ALL), prop::sample::select(AmountUnit::ALL))),
        media in prop::sample::select(vec![None, Some("#areceber_link#"), Some("https://boletos.example.com/aviso.pdf?a=b,c")]),
    )(
        stages in stages(notice.clone()).boxed(), tasks in tasks().boxed(), sources in sources().boxed(), policy in name("policy"),
        (window, holidays, own_hours) in (window().boxed(), holidays().boxed(), proptest::option::of(hours())),
        priority in 0u16..=9999, enabled in any::<bool>(), (per_day, per_7_days) in (1u16..=50).prop_flat_map(|cap| (Just(cap), cap..=350)), open_windows in 1u16..=30,
        main in Just(main), other in Just(other), business in Just(business), recipients in Just(recipients), channel in Just(channel),
        (filters, activated_on) in (filters().boxed(), proptest::option::of(0u64..20_000)),
        (provider, days_between_stages, above, retention, pilot) in (provider().boxed(), 0u16..=30, proptest::option::of(1u32..=10_000_000), 30u16..=3660, pilot().boxed()),
        id in Just(id), limit in Just(limit), notice in Just(notice), template in Just(template), variables in Just(variables), payment in Just(payment), media in Just(media),
    ) -> Configuration {
        let of_customers = stages.iter().any(|stage| stage.stage == Stage::BureauRemoved);
        let of_events = stages.iter().any(|stage| stage.stage.kind() == StageKind::Event);
        let payment = payment.filter(|_| !of_events).map(|(means, amount)| PaymentTerms {
            means: if provider.has_pix_key() { means } else { PaymentMeans::Boleto },
            amount,
        });
        let variables = match payment {
            Some(_) => "",
            None if of_customers => "#cliente_razao#",
            None => variables,
        };
        let media = media.filter(|_| !of_customers).map(|media| Media::parse(media).expect("an address"));
        let activated_on = activated_on.map(|days| NaiveDate::default() + Days::new(days));
        let integration = other.name.clone();
        let owner = Some(business.clone());
        let per_second = limit.and_then(NonZeroU16::new);
        Configuration {
            integrations: vec![main, other],
            businesses: vec![Business { name: business, recipients_per_24h: recipients.and_then(NonZeroU32::new) }],
            channels: vec![Channel { name: channel.clone(), integration: integration.clone(), id, per_second, business: owner }],
            notices: vec![Notice { name: notice, integration, channel, template, variables: variables.to_owned(), payment, media }],
            policies: vec![Policy { name: policy, priority, enabled, filters, activated_on, hours: own_hours, stages }],
            tasks, sources, window, holidays, caps: Caps { per_day, per_7_days, days_between_stages },
            expiry: Expiry { open_windows }, approval: Approval { above: above.and_then(NonZeroU32::new) }, retention: Retention { personal_data_days: retention }, pilot, provider,
            price: Price { per_message: UnitPrice::parse(&format!("0,{priority:04}")) },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_exported_parses_to_the_same(configuration in configuration().boxed()) {
        let written = export(&configuration);
        let (read, _) = parse(&written).unwrap_or_else(|errors| panic!("{errors}\n{written}"));
        prop_assert_eq!(&read, &configuration);
        prop_assert!(diff(Some(&configuration), &read).is_empty());
    }

    #[test]
    fn a_difference_in_any_section_is_told(one in configuration().boxed(), other in configuration().boxed(), section in 0usize..16) {
        let mut changed = one.clone();
        match section {
            0 => changed.integrations = other.integrations,
            1 => changed.businesses = other.businesses,
            2 => changed.channels = other.channels,
            3 => changed.notices = other.notices,
            4 => changed.policies = other.policies,
            5 => changed.tasks = other.tasks,
            6 => changed.sources = other.sources,
            7 => changed.window = other.window,
            8 => changed.caps = other.caps,
            9 => changed.expiry = other.expiry,
            10 => changed.holidays = other.holidays,
            11 => changed.price = other.price,
            12 => changed.approval = other.approval,
            13 => changed.provider = other.provider,
            14 => changed.retention = other.retention,
            _ => changed.pilot = other.pilot,
        }
        prop_assert_eq!(diff(Some(&one), &changed).is_empty(), one == changed);
    }

    #[test]
    fn json_keeps_everything(configuration in configuration().boxed()) {
        let json = serde_json::to_string(&configuration).expect("plain data");
        prop_assert_eq!(serde_json::from_str::<Configuration>(&json).expect("plain data"), configuration);
    }

    #[test]
    fn no_damaged_file_panics(cut in 0usize..4000, length in 0usize..40, junk in r#"[\[\]="',.#a-z0-9\n\PC]{0,20}"#) {
        let mut damaged: Vec<char> = VALID.chars().collect();
        let start = cut.min(damaged.len());
        damaged.splice(start..(start + length).min(VALID.chars().count()), junk.chars());
        let text: String = damaged.into_iter().collect();
        if let Err(errors) = parse(&text) {
            prop_assert!(!errors.problems.is_empty());
            prop_assert!(errors.problems.iter().all(|problem| (1..=text.matches('\n').count() + 1).contains(&problem.line)));
        }
    }
}
