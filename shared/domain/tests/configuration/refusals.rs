//! What is refused: on which line, for which field and value, with which mend.

use crate::{VALID, parse};
use regua_domain::configuration::{FILE_BYTES_MAX, Fault, PROBLEMS_MAX};
use regua_domain::stage::Stage;

/// `VALID` with its first `from` replaced by `to` is refused for one reason: on the line where `marker` first stands, for `field`
/// holding `value`, with a mend that says `mend`.
#[track_caller]
fn refused(from: &str, to: &str, marker: &str, field: &str, value: &str, mend: &str) -> Fault {
    assert!(VALID.contains(from), "{from:?} is not in the file");
    refused_text(&VALID.replacen(from, to, 1), marker, field, value, mend)
}

#[track_caller]
pub fn refused_text(text: &str, marker: &str, field: &str, value: &str, mend: &str) -> Fault {
    let at = text.find(marker).expect("the marker is in the file");
    let line = text[..at].matches('\n').count() + 1;
    let errors = parse(text).expect_err("must be refused");
    let [problem] = errors.problems.as_slice() else { panic!("one problem is expected, not:\n{errors}") };
    assert_eq!((problem.line, problem.field.as_str(), problem.value.as_str()), (line, field, value), "{errors}");
    assert!(problem.mend().contains(mend), "{:?} does not say {mend:?}", problem.mend());
    assert!(errors.to_string().starts_with(&format!("regua.toml:{line}: ")), "{errors}");
    problem.fault.clone()
}

#[test]
fn every_problem_is_told_in_the_order_of_the_lines() {
    let text =
        VALID.replace("per_second = 200", "per_second = -1").replace("hour = \"8\"", "hour = 25").replace("[caps]", "[cap]");
    let errors = parse(&text).expect_err("three problems");
    let fields: Vec<_> = errors.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["channel[1].per_second", "task[1].hour", "cap"]);
    assert!(errors.problems.is_sorted_by_key(|problem| problem.line));
    let first = errors.to_string().lines().next().map(str::to_owned);
    let expected = "regua.toml:21: channel[1].per_second = -1: is not a number from 0 to 1000; write a number from 0 to 1000, or \"unlimited\"";
    assert_eq!(first.as_deref(), Some(expected));
}

#[test]
fn a_flood_of_problems_is_cut() {
    let lines: Vec<String> = (0..PROBLEMS_MAX * 2).map(|n| format!("k{n} = 1")).collect();
    assert_eq!(parse(&lines.join("\n")).expect_err("none is a key").problems.len(), PROBLEMS_MAX);
}

#[test]
fn a_message_tells_each_cause_once() {
    let text = VALID.replacen("https://suporte.example.com/api/v1", "http://suporte.example.com", 1);
    let expected = "regua.toml:4: integration[1].url = \"http://suporte.example.com\": cannot be used: the address is http, which would \
                    send the token unencrypted; write https://, or set REGUA_ALLOW_PRIVATE_URLS=true for a simulator or a LAN";
    assert_eq!(parse(&text).expect_err("http").to_string(), expected);
}

#[test]
fn text_that_is_not_toml_is_told_alone() {
    let fault = refused("per_second = 200", "per_second 200", "per_second 200", "", "", "key = value");
    assert!(matches!(fault, Fault::Syntax(_)));
    refused("per_second = 200", "per_second = 200\nper_second = 100", "per_second = 100", "", "", "key = value");
    let large = format!("{VALID}#{}", "x".repeat(FILE_BYTES_MAX));
    assert!(matches!(refused_text(&large, "\n", "", "", ""), Fault::TooLarge { .. }));
    for empty in ["\n", "# nothing yet\n"] {
        assert_eq!(refused_text(empty, "\n", "", "", "regua pause"), Fault::Empty, "applied, it would switch everything off");
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_refused() {
    refused("per_second", "per_secnd", "per_secnd", "channel[1].per_secnd", "", "write per_second");
    refused("hour = 8", "xyz = 8", "xyz = 8", "task[2].xyz", "", "the keys are kind, name, minute");
    refused("[caps]", "[limites]", "[limites]", "limites", "", "the keys are integration,");
    refused("[caps]\nper_day = 3", "[[caps]]\nper_day = 3", "[[caps]]", "caps", "[[caps]]", "[caps]");
    refused("[[source]]\nname = \"ERP\"", "[source2]\nname = \"ERP\"", "[source2]", "source2", "", "write source");
    refused("enabled = false", "enabled = \"no\"", "enabled = \"no\"", "policy[1].stage[3].enabled", "\"no\"", "true or false");
    refused("per_second = 200", "per_second = \"200\"", "\"200\"", "channel[1].per_second", "\"200\"", "without quotes");
    refused("name = \"Vendas\"", "name = 5", "name = 5", "channel[2].name", "5", "double quotes");
    refused("name = \"Vendas\"", "name = \" \"", "name = \" \"", "channel[2].name", "\" \"", "1 to 500 characters");
    refused("name = \"Vendas\"", "name = \"a\\nb\"", "name = \"a", "channel[2].name", "\"a\\nb\"", "on one line");
    let filters = |line: &str| format!("[policy.filters]\n{line}");
    refused("[policy.filters]", &filters("uf = \"SP\""), "uf =", "policy[1].filters.uf", "", "the keys are branch, portfolio,");
    refused(
        "[policy.filters]",
        &filters("cities = \"Itu\""),
        "cities",
        "policy[1].filters.cities",
        "",
        "leave it out; the keys are",
    );
    refused("[policy.filters]", &filters("branchs = 1"), "branchs", "policy[1].filters.branchs", "", "write branch");
}

#[test]
fn a_filters_values_are_the_erps_own() {
    #[track_caller]
    fn check(line: &str, field: &str, value: &str, mend: &str) {
        refused(
            "[policy.filters]",
            &format!("[policy.filters]\n{line}"),
            line,
            &format!("policy[1].filters.{field}"),
            value,
            mend,
        );
    }
    check("person_type = \"PF\"", "person_type", "\"PF\"", "write \"F\"");
    check("person_type = [\"F\", \"X\"]", "person_type[2]", "\"X\"", "write \"F\"");
    check("receipt_type = [\"boleto\"]", "receipt_type[1]", "\"boleto\"", "write \"Boleto\"");
    check("city = [\"Itu\", \"\"]", "city[2]", "\"\"", "1 to 500 characters");
    check("city = \"\"", "city", "\"\"", "1 to 500 characters");
    check("branch = 1.5", "branch", "1.5", "text in double quotes, or a number");
    check("branch = [true]", "branch[1]", "true", "text in double quotes, or a number");
    check("amount_min = \"a lot\"", "amount_min", "\"a lot\"", "like \"50,00\"");
    check("amount_min = 0", "amount_min", "0", "like \"50,00\"");
    check("amount_min = \"1.234\"", "amount_min", "\"1.234\"", "like \"50,00\"");
}

#[test]
fn activation_distance_and_approval_are_checked() {
    #[track_caller]
    fn check(line: &str, field: &str, value: &str, mend: &str) {
        refused("activated_on = 2026-11-30", line, line, field, value, mend);
    }
    check("activated_on = \"30/11/2026\"", "policy[1].activated_on", "\"30/11/2026\"", "like 2026-11-30");
    check("activated_on = 20261130", "policy[1].activated_on", "20261130", "a date like 2026-11-30");
    refused("days_between_stages = 2", "days_between_stages = 31", "31", "caps.days_between_stages", "31", "from 0 to 30");
    refused("above = \"unlimited\"", "above = 0", "above", "approval.above", "0", "or \"unlimited\"");
}

#[test]
fn a_secret_in_the_file_is_refused_and_never_repeated() {
    let secret = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0";
    for line in [format!("token = \"{secret}\""), format!("token_env = \"{secret}\""), format!("senha = \"{secret}\"")] {
        let errors = parse(&VALID.replacen("token_env = \"OPA_TOKEN\"", &line, 1)).expect_err("a secret");
        assert!(!errors.to_string().contains("eyJ") && !format!("{errors:?}").contains("eyJ"), "{errors}");
        assert!(errors.problems.iter().any(|problem| problem.line == 5 && problem.value == "(31 characters)"), "{errors:?}");
    }
    let with_password = "https://user:hunter2@suporte.example.com";
    let errors = parse(&VALID.replacen("https://suporte.example.com/api/v1", with_password, 1)).expect_err("a password");
    assert!(!errors.to_string().contains("hunter2"), "{errors}");
}

#[test]
fn integrations_are_checked() {
    let token = "token_env = \"OPA_TOKEN\"";
    refused(
        "default = true",
        "gateway = \"opa suite\"\ndefault = true",
        "gateway",
        "integration[1].gateway",
        "\"opa suite\"",
        "\"opa-suite\"",
    );
    refused(
        "default = true",
        "gateway = \"z\"\ndefault = true",
        "gateway",
        "integration[1].gateway",
        "\"z\"",
        "one of opa-suite",
    );
    refused(
        "release = \"immediate\"",
        "release = \"imediate\"",
        "imediate",
        "integration[2].release",
        "\"imediate\"",
        "\"immediate\"",
    );
    refused(token, "", "[[integration]]", "integration[1].token_env", "", "token_env = \"NAME\"");
    refused("url_env = \"FILIAL_URL\"", "", "[[integration]]\nname = \"Filial\"", "integration[2].url", "", "url_env = \"NAME\"");
    let both = format!("{token}\ntoken_file = \"/x\"");
    refused(token, &both, "token_file = \"/x\"", "integration[1].token_file", "\"/x\"", "token_env");
    let secret = "token_secret = \"opa\"";
    for (other, with) in [(token, "token_env"), ("token_file = \"/run/secrets/filial\"", "token_file")] {
        let field = if other == token { "integration[1].token_secret" } else { "integration[2].token_secret" };
        refused(other, &format!("{other}\n{secret}"), secret, field, "(5 characters)", with);
    }
    for no_name in ["Opa", "1opa", "o.pa", "eyJhbGciOiJIUzI1NiJ9", &"o".repeat(41)] {
        let shown = format!("({} characters)", no_name.len() + 2);
        let line = format!("token_secret = {no_name:?}");
        let fault = refused(token, &line, &line, "integration[1].token_secret", &shown, "`regua secrets list`");
        assert!(!format!("{fault} {}", fault.mend()).contains(no_name), "it may be the secret");
    }
    refused(
        "url_env = \"FILIAL_URL\"",
        "url_env = \"NOPE\"",
        "NOPE",
        "integration[2].url_env",
        "\"NOPE\"",
        "set it, or write url",
    );
    refused("url_env = \"FILIAL_URL\"", "url_env = \"EMPTY\"", "EMPTY", "integration[2].url_env", "\"EMPTY\"", "set it");
    refused("url_env = \"FILIAL_URL\"", "url_env = \"a b\"", "a b", "integration[2].url_env", "\"a b\"", "in capitals");
    let shown = "\"PRIVATE_URL\" (\"http://10.0.0.1:8080\")";
    refused("FILIAL_URL", "PRIVATE_URL", "PRIVATE_URL", "integration[2].url_env", shown, "REGUA_ALLOW_PRIVATE_URLS");
    let fault = refused(
        "release =",
        "default = true\nrelease =",
        "default = true\nrelease",
        "integration[2].default",
        "true",
        "only one",
    );
    assert_eq!(fault, Fault::SecondDefault { first_line: 6 });
}

#[test]
fn names_are_unique_and_references_are_resolved() {
    let twice = "name = \"Cobrança\"\nintegration";
    let fault = refused("name = \"Vendas\"\nintegration", twice, twice, "channel[2].name", "\"Cobrança\"", "a name of its own");
    assert!(matches!(fault, Fault::Duplicate { first_line: 19, .. }), "{fault:?}");
    refused(
        "business = \"Provedor\"",
        "business = \"Provedr\"",
        "Provedr",
        "channel[1].business",
        "\"Provedr\"",
        "write \"Provedor\"",
    );
    refused(
        "channel = \"Cobrança\"",
        "channel = \"cobranca\"",
        "cobranca",
        "notice[1].channel",
        "\"cobranca\"",
        "write \"Cobrança\"",
    );
    refused("channel = \"Cobrança\"", "channel = \"Nenhum\"", "Nenhum", "notice[1].channel", "\"Nenhum\"", "add a [[channel]]");
    let last = "notice = \"Lembrete\"\nenabled";
    refused(last, "notice = \"Lembrte\"\nenabled", "Lembrte", "policy[1].stage[3].notice", "\"Lembrte\"", "write \"Lembrete\"");
    let named = "integration = \"Filail\"";
    refused("integration = \"Filial\"", named, named, "channel[2].integration", "\"Filail\"", "write \"Filial\"");
    let fault = refused(
        "channel = \"Cobrança\"",
        "channel = \"Vendas\"",
        "channel = \"Vendas\"",
        "notice[1].channel",
        "\"Vendas\"",
        "\"Filial\"",
    );
    assert_eq!(fault, Fault::IntegrationsDiffer { channel: "Filial".into(), notice: "Matriz".into() });
}

#[test]
fn a_section_that_is_wrong_elsewhere_still_has_its_name() {
    refused("url = \"https://suporte.example.com/api/v1\"\n", "", "[[integration]]", "integration[1].url", "", "https://HOST");
    refused(
        "template = \"64f1c0de0a1b2c3d4e5f7001\"",
        "template = 5",
        "template = 5",
        "notice[1].template",
        "5",
        "double quotes",
    );
    refused(
        "template = \"64f1c0de0a1b2c3d4e5f7001\"",
        "template = \"aviso_cobranca\"",
        "template = \"aviso",
        "notice[1].template",
        "\"aviso_cobranca\"",
        "_id",
    );
}

#[test]
fn without_a_default_integration_it_must_be_named() {
    let text = VALID.replacen("default = true\n", "", 1);
    let errors = parse(&text).expect_err("a channel and a notice name none");
    let faults: Vec<_> = errors.problems.iter().map(|problem| (problem.field.as_str(), problem.fault.clone())).collect();
    let of = |user: &str| Fault::NoDefault { user: user.to_owned() };
    assert_eq!(faults, [("channel[1].integration", of("Cobrança")), ("notice[1].integration", of("Lembrete"))]);
}

#[test]
fn an_integration_that_notices_use_is_neither_removed_nor_switched_off() {
    let off = "name = \"Matriz\"\nenabled = false";
    let fault = refused("name = \"Matriz\"", off, "enabled = false", "integration[1].enabled", "false", "enabled = true here");
    assert_eq!(fault, Fault::IntegrationInUse { notices: vec!["Lembrete".into()] });
    assert_eq!(fault.to_string(), "is off while notices use it: \"Lembrete\"");
    // The other one has a channel but no notice.
    let (file, _) = parse(&VALID.replacen("name = \"Filial\"", "name = \"Filial\"\nenabled = false", 1)).expect("nobody uses it");
    assert_eq!(file.integrations.iter().map(|integration| integration.enabled).collect::<Vec<_>>(), [true, false]);
    let removed = VALID.replacen("name = \"Lembrete\"", "name = \"Lembrete\"\nintegration = \"Central\"", 1);
    let fault = refused_text(
        &removed,
        "integration = \"Central\"",
        "notice[1].integration",
        "\"Central\"",
        "[[integration]] of this name",
    );
    assert_eq!(fault.to_string(), "there is no [[integration]] of this name, and \"Lembrete\" uses it");
}

#[test]
fn channels_and_businesses_are_checked() {
    let id = "0123456789ABCDEF01234567";
    refused(id, "Ab3dEf7h", "Ab3dEf7h", "channel[1].id", "\"Ab3dEf7h\"", "identificadorCanal");
    let second = "integration = \"Filial\"\nid = \"0123456789abcdef01234568\"";
    let same = "integration = \"Matriz\"\nid = \"0123456789abcdef01234567\"";
    refused(
        second,
        same,
        "id = \"0123456789abcdef01234567\"",
        "channel[2].id",
        "\"0123456789abcdef01234567\"",
        "one [[channel]] for each",
    );
    refused("per_second = 200", "per_second = 1001", "1001", "channel[1].per_second", "1001", "0 to 1000, or \"unlimited\"");
    refused("per_second = 200", "per_second = 1.5", "1.5", "channel[1].per_second", "1.5", "a whole number");
    refused(
        "= 10_000",
        "= 0",
        "= 0\n\n[[channel]]",
        "business[1].recipients_per_24h",
        "0",
        "from 1 to 1000000, or \"unlimited\"",
    );
}

#[test]
fn notices_and_stages_are_checked() {
    refused(
        "#areceber_valor#",
        "#areceber_valr#",
        "variables",
        "notice[1].variables",
        "\"#cliente_razao#,#areceber_valr#\"",
        "write #areceber_valor#",
    );
    refused("#areceber_valor#", "", "variables", "notice[1].variables", "\"#cliente_razao#,\"", "in the template's order");
    refused("days = -3", "days = 3", "days = 3", "policy[1].stage[1].days", "3", "from -365 to -1");
    refused("days = 5", "", "[[policy.stage]]\nstage = \"overdue\"", "policy[1].stage[2].days", "", "days = 3, the days after");
    let event = "stage = \"settled\"\ndays = 1";
    let fault = refused("stage = \"settled\"", event, "days = 1", "policy[1].stage[3].days", "1", "leave it out");
    assert_eq!(fault, Fault::DayOfEvent(Stage::Settled));
    let fault = refused(
        "days = 5",
        "days = 5\nonly_after_notice = true",
        "only_after",
        "policy[1].stage[2].only_after_notice",
        "true",
        "bureau_removed",
    );
    assert_eq!(fault, Fault::NoticeOfDate(Stage::Overdue));
    let word = "stage = \"settled\"\nonly_after_notice = \"sim\"";
    refused("stage = \"settled\"", word, "only_after", "policy[1].stage[3].only_after_notice", "\"sim\"", "true or false");
    let of_customers = "\"bureau_removed\"\nnotice = \"Lembrete\"";
    refused(
        "\"settled\"\nnotice = \"Lembrete\"",
        of_customers,
        "notice = \"Lembrete\"\nenabled",
        "policy[1].stage[3].notice",
        "\"Lembrete\"",
        "without #areceber_valor#",
    );
    let another = "[[notice]]\nname = \"Acordo\"\nchannel = \"Cobrança\"\ntemplate = \"64f1c0de0a1b2c3d4e5f7002\"\n\
                   variables = \"#renegociacao_vencimento#\"\n";
    let text = VALID.replacen("[[policy]]", &format!("{another}[[policy]]"), 1);
    let overdue = text.replacen("days = 5\nnotice = \"Lembrete\"", "days = 5\nnotice = \"Acordo\"", 1);
    let field = "policy[1].stage[2].notice";
    refused_text(&overdue, "notice = \"Acordo\"", field, "\"Acordo\"", "without #renegociacao_vencimento#");
    let renegotiated =
        text.replacen("stage = \"settled\"\nnotice = \"Lembrete\"", "stage = \"renegotiated\"\nnotice = \"Acordo\"", 1);
    assert!(parse(&renegotiated).is_ok());
    refused("\"settled\"", "\"Baixa\"", "\"Baixa\"", "policy[1].stage[3].stage", "\"Baixa\"", "write \"settled\"");
    refused("\"settled\"", "\"overdu\"", "\"overdu\"", "policy[1].stage[3].stage", "\"overdu\"", "write \"overdue\"");
    refused("\"settled\"", "\"nenhuma\"", "\"nenhuma\"", "policy[1].stage[3].stage", "\"nenhuma\"", "one of pre_due, due_day");
    let fault = refused(
        "\"settled\"",
        "\"overdue\"\ndays = 9",
        "\"overdue\"\ndays = 9",
        "policy[1].stage[3].stage",
        "\"overdue\"",
        "for each stage",
    );
    assert!(matches!(fault, Fault::Duplicate { first_line: 44, .. }), "{fault:?}");
    refused(
        "name = \"Todos\"",
        "name = \"Todos\"\npriority = 10000",
        "priority",
        "policy[1].priority",
        "10000",
        "from 0 to 9999",
    );
}

#[test]
fn days_grow_with_the_stages_that_are_on() {
    let more = |days: i16, on: bool| {
        format!("[[policy.stage]]\nstage = \"pending_query\"\ndays = {days}\nnotice = \"Lembrete\"\nenabled = {on}\n")
    };
    let with = |stage: &str| {
        VALID.replacen("[[policy.stage]]\nstage = \"pre_due\"", &format!("{stage}[[policy.stage]]\nstage = \"pre_due\""), 1)
    };
    for days in [4, 5] {
        let fault = refused_text(
            &with(&more(days, true)),
            &format!("days = {days}"),
            "policy[1].stage[1].days",
            &days.to_string(),
            "more than 5",
        );
        assert!(matches!(fault, Fault::StageNotLater { before: Stage::Overdue, days: 5, .. }));
    }
    parse(&with(&more(6, true))).expect("later, whatever the order in the file");
    parse(&with(&more(4, false))).expect("a stage that is off says nothing");
}

#[test]
fn a_reminder_is_not_earlier_than_titles_are_listed() {
    let fault = refused("days = -3", "days = -11", "days = -11", "policy[1].stage[1].days", "-11", "larger days_ahead");
    assert_eq!(fault, Fault::BeyondDaysAhead { source_name: "ERP".into(), days_ahead: 10 });
    parse(&VALID.replacen("days = -3", "days = -10", 1)).expect("just listed");
    parse(&VALID.replacen("days = -3", "days = -11", 1).replacen("Todos\"", "Todos\"\nenabled = false", 1))
        .expect("a policy that is off");
}

#[test]
fn tasks_are_checked() {
    refused("minute = 0", "minute = 60", "minute = 60", "task[1].minute", "60", "as in cron");
    refused("day_of_week = \"1-5\"", "day_of_week = \"8\"", "day_of_week = \"8\"", "task[1].day_of_week", "\"8\"", "as in cron");
    let never = "day_of_month = 31\nmonth = 2";
    refused("day_of_week = \"1-5\"", never, "day_of_month = 31", "task[1].day_of_month", "31", "as in cron");
    refused(
        "\"America/Manaus\"",
        "\"America/Manau\"",
        "\"America/Manau\"",
        "task[2].zone",
        "\"America/Manau\"",
        "\"America/Manaus\"",
    );
    refused(
        "kind = \"send-queued-messages\"",
        "kind = \"send\"",
        "kind = \"send\"",
        "task[2].kind",
        "\"send\"",
        "one of update-collections",
    );
    refused("minute = 30", "missed = \"all\"\nminute = 30", "missed", "task[2].missed", "\"all\"", "one of latest, skip");
    for wrong in ["6", "30s", "8d", "-1h"] {
        let line = format!("catch_up = \"{wrong}\"");
        refused("minute = 30", &format!("{line}\nminute = 30"), &line, "task[2].catch_up", &format!("\"{wrong}\""), "\"6h\"");
    }
    let again = "kind = \"update-collections\"\nminute = 10";
    let text = VALID.replacen("\n[[source]]", &format!("\n[[task]]\n{again}\nhour = 12\n\n[[source]]"), 1);
    refused_text(&text, &format!("[[task]]\n{again}"), "task[3].name", "", "a name of its own");
    let many = "[[task]]\nkind = \"reserved\"\nenabled = false\nname = \"N\"\n";
    let text: String = (0..51).map(|n| many.replace('N', &n.to_string())).collect();
    assert!(
        matches!(parse(&text).expect_err("too many").problems[..], [ref only] if only.fault == Fault::TooManyTasks { limit: 50 })
    );
}

#[test]
fn tasks_leave_the_queue_time_to_fill_and_a_minute_of_its_own() {
    // The sender's zone is an hour behind: 08:30 in Manaus is 09:30 in São Paulo.
    let fault = refused(
        "minute = 0\nhour = \"8\"",
        "minute = 1\nhour = \"8,9\"",
        "minute = 30",
        "task[2].minute",
        "30",
        "30 minutes after",
    );
    assert!(matches!(fault, Fault::TaskPlan(ref clash) if clash.other == "update-collections"), "{fault:?}");
    parse(&VALID.replacen("hour = \"8\"", "hour = \"8,9\"", 1)).expect("half an hour is enough");
    let reserved =
        |zone: &str| format!("\n[[task]]\nkind = \"reserved\"\nminute = \"*/30\"\nhour = 9\nzone = \"{zone}\"\n\n[[source]]");
    let text = VALID.replacen("\n[[source]]", &reserved("America/Sao_Paulo"), 1);
    refused_text(&text, "minute = 30", "task[2].minute", "30", "a minute of its own");
    parse(&VALID.replacen("\n[[source]]", &reserved("UTC"), 1)).expect("another hour");
}

#[test]
fn sources_and_settings_are_checked() {
    refused("kind = \"ixc\"", "kind = \"sgp\"", "kind = \"sgp\"", "source[1].kind", "\"sgp\"", "one of ixc, files");
    refused("days_ahead = 10", "days_ahead = 366", "days_ahead = 366", "source[1].days_ahead", "366", "from 0 to 365");
    refused("\"2d\"", "\"2 days\"", "\"2 days\"", "source[2].max_age", "\"2 days\"", "\"6h\"");
    refused("\"2d\"", "\"31d\"", "\"31d\"", "source[2].max_age", "\"31d\"", "\"6h\"");
    let look = |value: &str| format!("days_ahead = 10\n{value}");
    refused("days_ahead = 10", &look("last_look = \"20s\""), "\"20s\"", "source[1].last_look", "\"20s\"", "\"90m\"");
    let ask = look("last_look = \"5m\"\nlast_look_unanswered = \"ask\"");
    refused("days_ahead = 10", &ask, "\"ask\"", "source[1].last_look_unanswered", "\"ask\"", "one of hold, send");
    let only = look("last_look_unanswered = \"send\"");
    refused("days_ahead = 10", &only, "[[source]]", "source[1].last_look", "", "last_look = \"10m\"");
    let hook = "kind = \"files\"\nwebhook_secret_env = \"ERP\"";
    refused("kind = \"files\"", hook, "webhook_secret_env", "source[2].webhook_secret_env", "(5 characters)", "kind = \"files\"");
    let files = "kind = \"files\"\nlast_look = \"5m\"";
    refused("kind = \"files\"", files, "last_look", "source[2].last_look", "(4 characters)", "kind = \"files\"");
    let url = "kind = \"files\"\nurl = \"https://x.example.com\"";
    refused("kind = \"files\"", url, "url = \"https://x.", "source[2].url", "(23 characters)", "kind = \"files\"");
    let twice = "kind = \"ixc\"\nurl = \"ixc.example.com\"\ntoken_env = \"IXC_TOKEN\"";
    refused("kind = \"files\"", twice, "url = \"ixc.", "source[2].url", "\"ixc.example.com\"", "one [[source]] for each ERP");
    refused("days = \"1-6\"", "days = \"seg-sex\"", "seg-sex", "window.days", "\"seg-sex\"", "as in cron");
    refused("to = \"20:00\"", "to = \"8h\"", "8h", "window.to", "\"8h\"", "\"09:00\"");
    refused("to = \"20:00\"", "to = \"08:00\"", "08:00", "window.to", "\"08:00\"", "from = \"09:00\"");
    refused(
        "to = \"20:00\"",
        "to = \"20:00\"\nhours = \"1-5 08:00-20:00\"",
        "hours = \"1-5 08:00-20",
        "window.hours",
        "\"1-5 08:00-20:00\"",
        "leave out this or days, from and to",
    );
    refused("states = \"law\"", "states = \"lei\"", "states = \"lei", "window.states", "\"lei\"", "common, law");
    refused("uf = \"SC\"\nhours", "uf = \"SX\"\nhours", "SX", "window.state[1].uf", "\"SX\"", "write \"");
    refused("hours = [\"1-5 08:00-18:30\", \"6 09:00-12:00\"]", "", "[[window.state]]", "window.state[1].hours", "", "hours = [");
    let entries = [
        ("8h às 18h", "weekdays and hours"),
        ("1-5 18:00-08:00", "each day once"),
        ("seg 08:00-18:00", "weekdays and hours"),
        ("5-6 09:00-12:00", "each day once"),
    ];
    for (entry, mend) in entries {
        refused("6 09:00-12:00", entry, entry, "window.state[1].hours[2]", &format!("\"{entry}\""), mend);
    }
    refused("every = \"25/08\"", "every = \"31/02\"", "31/02", "holiday[1].every", "\"31/02\"", "like \"25/08\"");
    refused("every = \"25/08\"", "", "[[holiday]]", "holiday[1].every", "", "date = 2027-03-04");
    refused(
        "every = \"25/08\"",
        "every = \"25/08\"\ndate = 2026-08-25",
        "every = ",
        "holiday[1].every",
        "\"25/08\"",
        "leave out this or date",
    );
    refused(
        "notice = \"Lembrete\"\nenabled = false",
        "notice = \"Lembrete\"\nclosed_day = \"next\"",
        "closed_day",
        "policy[1].stage[3].closed_day",
        "\"next\"",
        "leave it out",
    );
    for wrong in ["grátis", "0", "0,00001", "101", "-1"] {
        let line = format!("per_message = \"{wrong}\"");
        refused("per_message = \"0,0435\"", &line, &line, "price.per_message", &format!("\"{wrong}\""), "like \"0,0435\"");
    }
    refused("per_day = 3", "per_day = 0", "per_day = 0", "caps.per_day", "0", "from 1 to 50");
    refused("per_7_days = 6", "per_7_days = 351", "per_7_days = 351", "caps.per_7_days", "351", "from 1 to 350");
    refused(
        "per_7_days = 6",
        "per_7_days = 2",
        "per_7_days = 2",
        "caps.per_7_days",
        "2",
        "write 3 or more, or a smaller per_day",
    );
    for wrong in ["29", "3661"] {
        let line = format!("personal_data_days = {wrong}");
        refused("personal_data_days = 365", &line, &line, "retention.personal_data_days", wrong, "from 30 to 3660");
    }
    refused("open_windows = 2", "open_windows = 31", "open_windows = 31", "expiry.open_windows", "31", "from 1 to 30");
}

#[test]
fn a_pilot_names_phones_or_one_phone_that_can_be_written_to() {
    let pilot = |lines: &str| format!("{VALID}\n[pilot]\n{lines}\n");
    let only = "phones = [\"+5511987654321\", \"11 8765-4321\"]";
    let fault =
        refused_text(&pilot(only), only, "pilot.phones[2]", "\"11 8765-4321\"", "write \"+5511987654321\", if that is meant");
    assert!(matches!(fault, Fault::NotAPhone(_)), "{fault:?}");
    let landline = "redirect_to = \"1133334444\"";
    refused_text(&pilot(landline), landline, "pilot.redirect_to", "\"1133334444\"", "the nine digits");
    let both = "phones = [\"+5511987654321\"]\nredirect_to = \"+5511987654321\"";
    refused_text(&pilot(both), "redirect_to", "pilot.redirect_to", "\"+5511987654321\"", "leave out this or phones");
    for nobody in ["", "phones = []"] {
        refused_text(&pilot(nobody), "[pilot]", "pilot.phones", "", "or leave [pilot] out");
    }
    refused_text(
        &pilot("redirect = \"+5511987654321\"\nphones = [\"+5511987654321\"]"),
        "redirect =",
        "pilot.redirect",
        "",
        "redirect_to",
    );
}
