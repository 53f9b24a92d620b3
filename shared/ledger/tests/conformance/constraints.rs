//! Every named CHECK and UNIQUE of the schema, violated once on purpose.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::World;
use regua_domain::ids::InvoiceId;
use regua_domain::mirror::Told;
use regua_domain::receipt::ReceiptStatus;
use regua_domain::switches::HoldKind;
use std::collections::BTreeSet;

const POSTGRES: &str = concat!(
    include_str!("../../migrations/postgres/0001_initial.sql"),
    include_str!("../../migrations/postgres/0002_policies.sql"),
    include_str!("../../migrations/postgres/0003_sending_times.sql"),
    include_str!("../../migrations/postgres/0005_holds.sql"),
    include_str!("../../migrations/postgres/0006_events.sql"),
    include_str!("../../migrations/postgres/0009_payments.sql"),
    include_str!("../../migrations/postgres/0012_secrets.sql"),
    include_str!("../../migrations/postgres/0013_retention.sql"),
    include_str!("../../migrations/postgres/0014_receipts.sql"),
    include_str!("../../migrations/postgres/0018_told_early.sql"),
);
const SQLITE: &str = concat!(
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_policies.sql"),
    include_str!("../../migrations/sqlite/0003_sending_times.sql"),
    include_str!("../../migrations/sqlite/0005_holds.sql"),
    include_str!("../../migrations/sqlite/0006_events.sql"),
    include_str!("../../migrations/sqlite/0009_payments.sql"),
    include_str!("../../migrations/sqlite/0012_secrets.sql"),
    include_str!("../../migrations/sqlite/0013_retention.sql"),
    include_str!("../../migrations/sqlite/0014_receipts.sql"),
    include_str!("../../migrations/sqlite/0018_told_early.sql"),
);

/// A constraint, a statement that violates it, and how SQLite, which names no unique constraint, shows it.
struct Violation {
    constraint: &'static str,
    statement: String,
    columns: Option<&'static str>,
}

fn check(constraint: &'static str, statement: impl Into<String>) -> Violation {
    Violation { constraint, statement: statement.into(), columns: None }
}

fn unique(constraint: &'static str, columns: &'static str, statement: impl Into<String>) -> Violation {
    Violation { constraint, statement: statement.into(), columns: Some(columns) }
}

/// Copies a row with some columns replaced; the id too, where nothing else is said.
fn copy(table: &str, columns: &[&str], replaced: &[(&str, &str)]) -> String {
    let values: Vec<_> = columns
        .iter()
        .map(|column| replaced.iter().find(|(name, _)| name == column).map_or(*column, |(_, value)| value))
        .collect();
    format!("INSERT INTO {table} ({}) SELECT {} FROM {table} LIMIT 1", columns.join(", "), values.join(", "))
}

const ID: (&str, &str) = ("id", "'00000000-0000-7000-8000-000000000001'");

fn of_messages() -> Vec<Violation> {
    const COLUMNS: [&str; 18] = [
        "id",
        "source_id",
        "subject",
        "stage",
        "stage_rank",
        "occasion",
        "due_on",
        "state",
        "policy_id",
        "notice_id",
        "channel_id",
        "phone_key",
        "run_id",
        "run_planned_at",
        "expires_at",
        "facts_version",
        "created_at",
        "updated_at",
    ];
    let set = |what: &str| format!("UPDATE messages SET {what}");
    let renegotiated = |id, subject| {
        let replaced = [
            ("id", id),
            ("subject", subject),
            ("stage", "'renegotiated'"),
            ("occasion", "'77'"),
            ("due_on", "NULL"),
            ("state", "'sent'"),
        ];
        copy("messages", &COLUMNS, &replaced)
    };
    let (one, another) = (renegotiated("channel_id", "'i1'"), renegotiated("policy_id", "'i2'"));
    let another = another.split_once("SELECT").map(|(_, values)| values.to_owned()).unwrap();
    vec![
        check("the_states_of_a_message_are_closed", set("state = 'lost'")),
        check("attempts_are_never_negative", set("attempts = -1")),
        unique(
            "one_message_per_subject_stage_and_occasion",
            "messages.source_id, messages.subject, messages.stage, messages.occasion",
            copy("messages", &COLUMNS, &[ID, ("state", "'sent'")]),
        ),
        unique(
            "one_live_dated_message_per_invoice",
            "messages.source_id, messages.subject",
            copy("messages", &COLUMNS, &[ID, ("stage", "'in_person'")]),
        ),
        unique(
            "one_message_per_renegotiation",
            "messages.source_id, messages.occasion",
            format!("{} UNION ALL SELECT {}", one.replace(" LIMIT 1", ""), another.replace(" LIMIT 1", "")),
        ),
        check("a_scheduled_message_has_its_next_time", set("state = 'scheduled'")),
        check("a_queued_message_says_since_when", set("state = 'queued'")),
        check("a_queued_message_says_since_when", set("queued_at = 1")),
        check("a_sending_message_has_its_attempt_and_lease", set("state = 'sending', lease_expires_at = 1")),
        check("a_sending_message_has_its_attempt_and_lease", set("state = 'sending', attempt_id = id")),
        check("a_sending_message_has_its_attempt_and_lease", set("lease_expires_at = 1")),
        check("a_live_message_has_a_phone", set("phone_key = NULL")),
        check("an_anonymised_message_has_no_phone", set("anonymised_at = 1")),
        check("an_unsent_or_doubtful_end_has_its_reason", set("state = 'skipped'")),
        check("an_unsent_or_doubtful_end_has_its_reason", set("state = 'failed'")),
        check("an_unsent_or_doubtful_end_has_its_reason", set("state = 'in_doubt'")),
    ]
}

fn of_work() -> Vec<Violation> {
    const RUN: [&str; 7] = ["id", "task_name", "kind", "planned_at", "state", "next_try_at", "created_at"];
    const ATTEMPT: &str = "INSERT INTO attempts (id, message_id, number, channel_id, dispatcher, slot_at, lease_expires_at, recipient_before, outcome)
                           SELECT id, id, {number}, channel_id, 'd', 1, 1, '{}', {outcome} FROM messages";
    let attempt = |number, outcome| ATTEMPT.replace("{number}", number).replace("{outcome}", outcome);
    let event = |outcome, run, message| {
        format!(
            "INSERT INTO events (id, source_id, kind, subject, occasion, happened_on, observed_at, outcome, consumed_by, message_id)
             SELECT {}, s.id, 'settled', 'i', 'o', '2026-03-09', 1, {outcome}, {run}, {message} FROM sources s, runs r",
            ID.1
        )
    };
    vec![
        check("the_states_of_an_approval_are_closed", "UPDATE runs SET approval = 'perhaps'"),
        check("the_states_of_a_run_are_closed", "UPDATE runs SET state = 'lost', finished_at = NULL"),
        unique(
            "one_run_per_task_and_instant",
            "runs.task_name, runs.planned_at",
            copy("runs", &RUN, &[ID, ("state", "'planned'")]),
        ),
        check("a_running_run_is_leased", "UPDATE runs SET state = 'running', finished_at = NULL"),
        check("a_running_run_is_leased", "UPDATE runs SET lease_owner = id, lease_expires_at = 1"),
        check("a_running_run_is_leased", "UPDATE runs SET state = 'running', finished_at = NULL, lease_owner = id"),
        check("a_finished_run_says_when", "UPDATE runs SET finished_at = NULL"),
        check("what_was_evaluated_was_held_or_skipped", "UPDATE runs SET held = held + 1"),
        check("attempts_are_counted_from_one", attempt("0", "NULL")),
        check("a_finished_attempt_has_an_outcome", attempt("1", "'sent'")),
        check(
            "the_kinds_of_events_are_closed",
            format!(
                "INSERT INTO events (id, source_id, kind, subject, occasion, happened_on, observed_at)
                 SELECT {}, id, 'lost', 'i', 'o', '2026-03-09', 1 FROM sources",
                ID.1
            ),
        ),
        check("a_consumed_event_has_its_outcome", event("'too_old'", "NULL", "NULL")),
        check("a_consumed_event_has_its_outcome", event("NULL", "r.id", "NULL")),
        check("an_event_that_is_told_names_its_message", event("'message'", "r.id", "NULL")),
        check("an_event_that_is_told_names_its_message", event("'too_old'", "r.id", "(SELECT id FROM messages LIMIT 1)")),
        check(
            "the_ways_to_resolve_doubt_are_closed",
            "INSERT INTO resolutions (id, message_id, how, resolved_by, why, resolved_at) SELECT id, id, 'guess', 'ana', '', 1 FROM messages",
        ),
        check("a_done_command_has_its_answer", "UPDATE commands SET done_at = 1"),
        check("a_done_command_has_its_answer", "UPDATE commands SET answer = 'ok'"),
        unique(
            "one_open_stop_per_scope_target_and_author",
            "stops.scope, stops.target, stops.raised_by",
            copy("stops", &["id", "scope", "target", "raised_by", "why", "since_at"], &[ID]),
        ),
        check("the_scopes_are_closed", "UPDATE stops SET scope = 'universe'"),
        check("the_kinds_of_holds_are_closed", "UPDATE holds SET kind = 'city'"),
        unique(
            "one_open_hold_per_subject",
            "holds.source_id, holds.kind, holds.subject",
            copy("holds", &["id", "source_id", "kind", "subject", "until_on", "why", "set_by", "since_at"], &[ID]),
        ),
        check("a_lifted_hold_says_by_whom_and_why", "UPDATE holds SET lifted_at = 1, lifted_by = 'ana'"),
        check("a_lifted_hold_says_by_whom_and_why", "UPDATE holds SET lifted_why = 'over'"),
    ]
}

fn of_configuration() -> Vec<Violation> {
    let named = |table: &'static str, columns: &[&str]| copy(table, &[&["id", "name"], columns].concat(), &[ID]);
    vec![
        check("what_a_closed_day_means_is_closed", "UPDATE policy_stages SET closed_day = 'perhaps'"),
        check("there_is_one_ledger_row", format!("INSERT INTO ledger (one, id, created_at) VALUES (2, {}, 1)", ID.1)),
        unique("a_business_has_its_own_name", "businesses.name", named("businesses", &[])),
        check(
            "a_bucket_is_never_negative",
            "INSERT INTO budget_buckets (business_id, bucket_at, recipients) SELECT id, 1, -1 FROM businesses",
        ),
        unique(
            "an_integration_has_its_own_name",
            "integrations.name",
            named("integrations", &["description", "gateway", "url", "token_kind", "token_ref", "is_default", "release"]),
        ),
        check("a_token_is_only_referred_to", "UPDATE integrations SET token_kind = 'plain'"),
        check(
            "no_more_of_a_secret_is_shown",
            "INSERT INTO secrets (name, sealed, key_id, last_four, set_at, set_by) VALUES ('opa', '', '', '12345', 1, 'ana')",
        ),
        check("release_is_on_task_or_immediate", "UPDATE integrations SET release = 'never'"),
        unique(
            "a_channel_has_its_own_name",
            "channels.name",
            named("channels", &["integration_id", "provider_id", "business_id"]),
        ),
        check("a_limit_is_positive", "UPDATE channels SET per_second = 0"),
        check("a_pause_has_its_reason", "UPDATE gates SET paused_until = 1"),
        check("a_pause_has_its_reason", "UPDATE gates SET pause_reason = 'throttled'"),
        unique(
            "a_notice_has_its_own_name",
            "notices.name",
            named("notices", &["integration_id", "channel_id", "template_id", "variables"]),
        ),
        check("a_payment_notice_has_no_variables", "UPDATE notices SET payment = '{}'"),
        unique("a_policy_has_its_own_name", "policies.name", named("policies", &["priority", "enabled", "activated_on"])),
        unique(
            "a_task_has_its_own_name",
            "tasks.name",
            named(
                "tasks",
                &["kind", "minute", "hour", "day_of_month", "month", "day_of_week", "zone", "enabled", "effective_from_at"],
            ),
        ),
        unique(
            "a_source_has_its_own_name",
            "sources.name",
            named("sources", &["kind", "url", "token_kind", "token_ref", "max_age_s", "days_back", "days_ahead", "enabled"]),
        ),
    ]
}

/// One receipt, an early one and an early word of the ERP must be there.
fn of_webhooks() -> Vec<Violation> {
    const COLUMNS: [&str; 7] = ["id", "message_id", "integration_id", "status", "proved_by", "state_before", "received_at"];
    vec![
        check("the_statuses_of_a_receipt_are_closed", "UPDATE receipts SET status = 'seen'"),
        check("the_proofs_of_a_receipt_are_closed", "UPDATE receipts SET proved_by = 'hope'"),
        unique(
            "one_receipt_per_attempt_and_status",
            "index 'one_receipt_per_attempt_and_status'",
            copy("receipts", &COLUMNS, &[ID]),
        ),
        check("what_is_told_of_a_title_is_closed", "UPDATE invoices SET told = 'lost', told_at = 1"),
        check("what_was_told_says_when", "UPDATE invoices SET told = 'paid'"),
        check("the_statuses_of_an_early_receipt_are_closed", "UPDATE early_receipts SET status = 'seen'"),
        unique(
            "one_early_receipt_per_id_and_status",
            "early_receipts.integration_id, early_receipts.provider_id, early_receipts.status",
            copy("early_receipts", &["id", "integration_id", "provider_id", "status", "received_at", "next_at"], &[ID]),
        ),
        check("what_is_told_early_is_closed", "UPDATE early_told SET told = 'lost'"),
    ]
}

/// The names after `CONSTRAINT` and `UNIQUE INDEX` in a migration.
fn names(migration: &str) -> BTreeSet<&str> {
    let words: Vec<_> = migration.split_whitespace().collect();
    let named = words.windows(2).filter(|pair| pair[0] == "CONSTRAINT").map(|pair| pair[1]);
    let unique = words.windows(3).filter(|three| three[0] == "UNIQUE" && three[1] == "INDEX").map(|three| three[2]);
    named.chain(unique).collect()
}

async fn every_named_constraint_refuses_what_its_name_says(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let id = w.released(1, 1, "overdue").await[0];
    let early = crate::receipts::of_provider(&w, "opa-1", ReceiptStatus::Failed);
    w.ledger.receive(vec![crate::receipts::receipt(&w, id, None, ReceiptStatus::Failed), early]).await.unwrap();
    w.ledger.tell(w.source, [(InvoiceId("unknown".into()), Told::Paid)].into()).await.unwrap();
    w.ledger.ask("{}".into()).await.unwrap();
    let stop = regua_ledger::stops::NewStop {
        scope: regua_domain::stop::StopScope::Stage,
        target: "overdue".into(),
        raised_by: "ana".into(),
        why: String::new(),
        until_at: None,
    };
    w.ledger.raise_stop(stop).await.unwrap();
    crate::holds::hold(&w, HoldKind::Invoice, "i0001", "2026-03-09").await;
    let violations: Vec<_> = [of_messages(), of_work(), of_configuration(), of_webhooks()].into_iter().flatten().collect();
    for Violation { constraint, statement, columns } in &violations {
        let error = w.f.try_execute(statement.clone()).await.expect_err(constraint).to_string();
        let seen = if w.f.is_sqlite() { columns.unwrap_or(constraint) } else { constraint };
        assert!(error.contains(seen), "{statement}\nshould break {constraint}, but: {error}");
    }
    let tried: BTreeSet<_> = violations.iter().map(|violation| violation.constraint).collect();
    assert_eq!(tried, names(if w.f.is_sqlite() { SQLITE } else { POSTGRES }), "each named constraint has its violation here");
}

#[test]
fn both_databases_have_the_same_constraints() {
    assert_eq!(names(SQLITE), names(POSTGRES));
    assert!(names(SQLITE).len() > 25);
}

conformance! {
    every_named_constraint_refuses_what_its_name_says
}
