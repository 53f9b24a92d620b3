//! What a file means.

use crate::{VALID, parse, valid};
use chrono::TimeDelta;
use chrono_tz::Tz;
use regua_domain::calendar::{MunicipalDay, MunicipalHoliday};
use regua_domain::configuration::{Caps, Release, SecretRef, SourceKind, StatesRule, WindowSettings, export};
use regua_domain::money::Centavos;
use regua_domain::pilot::Pilot;
use regua_domain::place::Uf;
use regua_domain::policy::{ClosedDay, PolicyFilters};
use regua_domain::schedule::{CATCH_UP, CATCH_UP_S, Missed, TaskKind};
use regua_domain::stage::Stage;
use serde_json::json;

#[test]
fn every_section_is_read() {
    let file = valid();
    let [matriz, filial] = file.integrations.as_slice() else { panic!("two integrations") };
    assert_eq!((matriz.default, filial.default), (true, false));
    assert_eq!((matriz.release, filial.release), (Release::OnTask, Release::Immediate));
    assert_eq!(
        (&matriz.token, &filial.token),
        (&SecretRef::Env("OPA_TOKEN".into()), &SecretRef::File("/run/secrets/filial".into()))
    );
    assert_eq!(filial.url.as_str(), "https://filial.example.com/api/v1");
    let limits: Vec<_> = file.channels.iter().map(|channel| channel.per_second.map(std::num::NonZeroU16::get)).collect();
    assert_eq!(limits, [Some(200), Some(80)]);
    assert_eq!((file.channels[0].integration.as_str(), file.channels[0].id.as_str()), ("Matriz", "0123456789abcdef01234567"));
    assert_eq!(file.notices[0].integration, "Matriz");
    let stages: Vec<_> = file.policies[0].stages.iter().map(|stage| (stage.stage, stage.days, stage.enabled)).collect();
    assert_eq!(stages, [(Stage::PreDue, Some(-3), true), (Stage::Overdue, Some(5), true), (Stage::Settled, None, false)]);
    let [update, send] = file.tasks.as_slice() else { panic!("two tasks") };
    assert_eq!(
        (update.name.as_str(), update.kind, update.zone),
        ("update-collections", TaskKind::UpdateCollections, Tz::America__Sao_Paulo)
    );
    assert_eq!(send.schedule().expect("it was read").to_string(), "30 8 * * *");
    assert_eq!(send.zone, Tz::America__Manaus);
    assert_eq!((send.missed, send.catch_up_s, matriz.enabled), (Missed::Latest, 12 * 3600, true));
    let SourceKind::Ixc { days_back, days_ahead, .. } = file.sources[0].kind else { panic!("an ERP") };
    assert_eq!((days_back, days_ahead, file.sources[0].max_age_s, file.sources[1].max_age_s), (60, 10, 6 * 3600, 48 * 3600));
    assert_eq!((file.window.hours.entries(), file.window.states), (vec!["1-6 09:00-20:00".to_owned()], StatesRule::Law));
    assert_eq!(file.window.hours_in(Some(Uf::Sc)).to_string(), "1-5 08:00-18:30, 6 09:00-12:00");
    let birthday =
        MunicipalHoliday::new(Uf::Sc, "Chapecó", MunicipalDay::EveryYear { month: 8, day: 25 }, "Aniversário da cidade");
    let day_off = MunicipalDay::Once("2027-02-08".parse().expect("a date"));
    assert_eq!(file.holidays, [birthday, MunicipalHoliday::new(Uf::Sc, "", day_off, "Ponto facultativo")]);
    let closed: Vec<_> = file.policies[0].stages.iter().map(|stage| (stage.closed_day, stage.hours)).collect();
    assert_eq!(closed, [(Some(ClosedDay::Next), None), (Some(ClosedDay::Next), None), (None, None)]);
    assert_eq!((file.caps, file.expiry.open_windows), (Caps { per_day: 3, per_7_days: 6, days_between_stages: 2 }, 2));
    assert_eq!(file.policies[0].activated_on, "2026-11-30".parse().ok());
    assert_eq!(file.price.per_message.map(|price| price.to_string()).as_deref(), Some("0,0435"));
    assert_eq!((file.policies[0].filters.clone(), file.approval.above), (PolicyFilters::default(), None));
    assert_eq!(file.retention.personal_data_days, 365);
}

#[test]
fn what_a_file_does_not_say_has_the_fixed_defaults() {
    let (file, notes) = parse("[caps]\n").expect("a section may be empty");
    assert_eq!((file.integrations.len(), file.tasks.len(), notes.len()), (0, 0, 0));
    assert_eq!(file.window, WindowSettings::business_hours(Tz::America__Sao_Paulo));
    assert_eq!(file.window.hours.to_string(), "1-5 09:00-18:00");
    assert_eq!((file.caps, file.expiry.open_windows), (Caps { per_day: 2, per_7_days: 4, days_between_stages: 3 }, 1));
    assert_eq!((file.approval.above.map(std::num::NonZeroU32::get), file.retention.personal_data_days), (Some(1000), 180));
}

/// Who allows more a day than the week's default has said so.
#[test]
fn a_weeks_cap_that_is_not_stated_is_never_below_the_days() {
    let caps = |lines: &str| parse(&format!("[caps]\n{lines}")).expect("nothing is wrong").0.caps;
    assert_eq!((caps("per_day = 1").per_7_days, caps("per_day = 9").per_7_days, caps("per_7_days = 2").per_day), (4, 9, 2));
    let stored: Caps = serde_json::from_str(r#"{"per_day": 9, "days_between_stages": 3}"#).expect("of before the key");
    assert_eq!(stored, Caps { per_day: 9, per_7_days: 9, days_between_stages: 3 });
}

#[test]
fn a_filter_takes_one_value_or_a_list_as_text_or_number() {
    let lines = "branch = [1, \" 2 \"]\nperson_type = \"F\"\ncity = [\"Chapecó/SC\"]\nreceipt_type = [\"Boleto\", \"Pix\"]\namount_min = \"R$ 1.050,00\"";
    let (file, _) = parse(&VALID.replace("[policy.filters]", &format!("[policy.filters]\n{lines}"))).expect("nothing is wrong");
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let expected = PolicyFilters {
        branch: texts(&["1", "2"]),
        person_type: texts(&["F"]),
        city: texts(&["Chapecó/SC"]),
        receipt_type: texts(&["Boleto", "Pix"]),
        amount_min: Some(Centavos(105_000)),
        ..PolicyFilters::default()
    };
    assert_eq!(file.policies[0].filters, expected);
    let (reais, _) = parse(&VALID.replace("[policy.filters]", "[policy.filters]\namount_min = 50")).expect("nothing is wrong");
    assert_eq!(reais.policies[0].filters.amount_min, Some(Centavos(5_000)));
}

#[test]
fn what_was_corrected_and_what_is_missing_here_is_told() {
    let (_, notes) = parse(&VALID.replace("OPA_TOKEN", "OTHER_TOKEN")).expect("a token may be in another process's environment");
    let told: Vec<_> = notes.iter().map(|note| (note.field.as_str(), note.text.as_str())).collect();
    let expected_url = "taken as https://filial.example.com/api/v1: two slashes written after the scheme; path `/atendente` replaced by `/api/v1`";
    assert_eq!(
        told,
        [
            ("integration[1].token_env", "OTHER_TOKEN is not set here; the process that uses the token needs it"),
            ("integration[2].url_env", expected_url),
        ]
    );
}

#[test]
fn a_task_says_what_becomes_of_the_fires_that_it_missed() {
    let (file, _) =
        parse(&VALID.replacen("minute = 30", "missed = \"skip\"\ncatch_up = \"90m\"\nminute = 30", 1)).expect("valid");
    assert_eq!((file.tasks[1].missed, file.tasks[1].catch_up_s), (Missed::Skip, 90 * 60));
    assert_eq!((file.tasks[0].missed, file.tasks[0].catch_up_s), (Missed::Latest, CATCH_UP_S));
    assert_eq!(TimeDelta::seconds(CATCH_UP_S.into()), CATCH_UP);
}

#[test]
fn todos_is_every_value_in_any_case() {
    for todos in ["Todos", "todos", "TODOS", " tOdOs "] {
        let (file, _) = parse(&VALID.replacen("month = \"Todos\"", &format!("month = \"{todos}\""), 1)).expect("valid");
        assert_eq!(file.tasks[1].month, "*");
    }
}

/// The file's notes after `from` became `to`, those about the queue.
#[track_caller]
fn notes_on_the_queue(from: &str, to: &str) -> Vec<String> {
    assert!(VALID.contains(from));
    let (_, notes) = parse(&VALID.replacen(from, to, 1)).unwrap_or_else(|errors| panic!("{errors}"));
    notes.into_iter().filter(|note| note.text.contains("fila parada")).map(|note| note.to_string()).collect()
}

#[test]
fn whoever_saves_a_file_that_holds_messages_for_ever_is_told() {
    assert!(notes_on_the_queue("minute = 30", "minute = 30").is_empty());
    let expected = "2: integration[1].release: messages of \"Matriz\" will be held and not sent (fila parada): \
                    no send-queued-messages task (Envia mensagens Omnichannel da fila) is enabled; \
                    add a [[task]] with kind = \"send-queued-messages\", or write release = \"immediate\"";
    assert_eq!(notes_on_the_queue("minute = 30", "enabled = false\nminute = 30"), [expected]);
    // The file is saved on Monday, 21 September 2026, 11:13 in São Paulo.
    let rare = notes_on_the_queue("month = \"Todos\"", "day_of_week = 4");
    assert!(rare.len() == 1 && rare[0].contains("fires within 24 h: the next does at 2026-09-24T12:30Z"), "{rare:?}");
    let immediate = "token_env = \"OPA_TOKEN\"\nrelease = \"immediate\"";
    let text =
        VALID.replacen("token_env = \"OPA_TOKEN\"", immediate, 1).replacen("minute = 30", "enabled = false\nminute = 30", 1);
    assert!(parse(&text).expect("valid").1.iter().all(|note| !note.text.contains("fila parada")), "nothing is held there");
    let silent = VALID.replacen("name = \"Todos\"", "name = \"Todos\"\nenabled = false", 1);
    let text = silent.replacen("minute = 30", "enabled = false\nminute = 30", 1);
    assert!(parse(&text).expect("valid").1.iter().all(|note| !note.text.contains("fila parada")), "nothing is decided");
}

#[test]
fn an_only_integration_is_the_default_unless_it_says_no() {
    let only = "[[integration]]\nname = \"A\"\nurl = \"a.example.com\"\ntoken_env = \"OPA_TOKEN\"\n";
    assert!(parse(only).expect("valid").0.integrations[0].default);
    assert!(!parse(&format!("{only}default = false\n")).expect("valid").0.integrations[0].default);
}

#[test]
fn zero_and_unlimited_lift_a_limit() {
    for unlimited in ["0", "\"unlimited\""] {
        let text = VALID.replacen("per_second = 200", &format!("per_second = {unlimited}"), 1);
        assert_eq!(parse(&text).expect("valid").0.channels[0].per_second, None);
    }
    let text = VALID.replacen("10_000", "\"unlimited\"", 1);
    assert_eq!(parse(&text).expect("valid").0.businesses[0].recipients_per_24h, None);
}

#[test]
fn a_window_may_end_at_midnight() {
    for midnight in ["24:00", "00:00"] {
        let (file, _) = parse(&VALID.replacen("20:00", midnight, 1)).expect("valid");
        assert_eq!(file.window.hours.to_string(), "1-6 09:00-24:00");
        assert_eq!(parse(&export(&file)).expect("valid").0.window, file.window);
    }
}

#[test]
fn a_stage_says_what_a_closed_day_means_and_which_hours_are_its_own() {
    let stage = |keys: &str| {
        let text = VALID.replacen("days = -3\n", &format!("days = -3\n{keys}\n"), 1);
        parse(&text).expect("valid").0.policies[0].stages[0].clone()
    };
    assert_eq!(stage("closed_day = \"previous\"").closed_day, Some(ClosedDay::Previous));
    let saturday = stage("hours = [\"1-5 08:00-20:00\", \"6 08:00-14:00\"]").hours;
    assert_eq!(saturday.map(|hours| hours.to_string()).as_deref(), Some("1-5 08:00-20:00, 6 08:00-14:00"));
    assert_eq!(stage("hours = \"7 10:00-11:00\"").hours.map(|hours| hours.to_string()).as_deref(), Some("7 10:00-11:00"));
    let due_day = VALID.replacen("days = -3", "days = 0", 1).replacen("pre_due", "due_day", 1);
    assert_eq!(parse(&due_day).expect("valid").0.policies[0].stages[0].closed_day, Some(ClosedDay::Skip));
}

#[test]
fn the_window_as_an_earlier_version_stored_it_is_read_and_it_reads_this_ones() {
    let earlier = r#"{"days":["Mon","Sat"],"from":"08:30:00","to":"00:00:00","zone":"America/Manaus"}"#;
    let read: WindowSettings = serde_json::from_str(earlier).expect("it was stored so");
    assert_eq!((read.hours.to_string().as_str(), read.states, read.own.len()), ("1,6 08:30-24:00", StatesRule::Common, 0));
    let written = serde_json::to_value(valid().window).expect("plain data");
    assert_eq!(
        (&written["from"], &written["to"], written["days"].as_array().map(Vec::len)),
        (&json!("09:00:00"), &json!("20:00:00"), Some(6))
    );
}

#[test]
fn a_pilots_phones_are_read_as_the_erps_are() {
    let pilot = |lines: &str| parse(&format!("[pilot]\n{lines}\n")).expect("nothing is wrong").0.pilot;
    let phone = |number: &str| regua_domain::phone::parse(number).expect("a mobile number");
    let two = pilot("phones = [\"(11) 98765-4321\", 21999990000]");
    assert_eq!(two, Pilot::Only(vec![phone("+5511987654321"), phone("+5521999990000")]));
    assert_eq!(pilot("redirect_to = \"11987654321\""), Pilot::RedirectTo(phone("+5511987654321")));
    assert_eq!(parse("[caps]").expect("nothing is wrong").0.pilot, Pilot::Off);
}
