//! How the databases go about the ledger's statements: in a ledger of years, nothing that a message on its way needs may read a whole table.
//!
//! A provider's day is run through, its statements are listened to, and each is explained in the same database. A test of its own process,
//! because the listener is the process's.

#![allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should")]
#![allow(dead_code, reason = "the world is the conformance suite's")]

#[path = "../conformance/databases.rs"]
mod databases;
#[path = "../conformance/setup.rs"]
mod setup;
#[path = "../conformance/world.rs"]
mod world;

use chrono::{DateTime, TimeDelta};
use databases::Fixture;
use regua_domain::ids::{AttemptId, InvoiceId, MessageId};
use regua_domain::look_up::Sought;
use regua_domain::message::{DeferReason, DoubtReason};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus, Told};
use regua_domain::receipt::ReceiptStatus;
use regua_domain::settlement::Settlement;
use regua_domain::stop::{BY_ANSWER, StopScope};
use regua_domain::switches::HoldKind;
use regua_domain::template::TemplateText;
use regua_ledger::holds::NewHold;
use regua_ledger::look_ups::Searched;
use regua_ledger::receipts::{About, Consequence, NewReceipt, ReceiptAnswer};
use regua_ledger::retention::Walks;
use regua_ledger::stops::NewStop;
use regua_ledger::templates::SeenTemplate;
use regua_ledger::{Ledger, new_id};
use setup::Setup;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use world::{World, finished, invoice, sent, today};

/// Tables that grow with the provider's age or size.
const LARGE: [&str; 10] =
    ["messages", "message_texts", "attempts", "recipients", "people", "invoices", "customers", "events", "holds", "receipts"];
/// An index that holds only what is on its way: reading all of it is reading all that waits.
const LIVE: &str = "live_messages_by_turn";
/// An index for those alone who ask for a phone.
const BY_PHONE: &str = "waiting_messages_by_phone";
/// In the statement that goes from turn to turn: of thousands that wait for another window or their release it must read none.
const TURNS: &str = "turns (state, run_id, comes_at)";
/// In the statement that asks who else waits for a phone: neither what was ever sent to it may be read, nor all that waits.
const RIVALS: &str = "w.state IN ('held', 'scheduled', 'queued')";
/// How a statement finds messages by their keys, and then may not even read what is on its way.
const BY_KEY: [&str; 4] = ["messages.id = r.", " AND id = ANY (", " AND subject = ANY (", "WHERE id IN (SELECT id FROM messages"];
/// What a provider of a few years has, enough for PostgreSQL to plan for it.
const HISTORY: u32 = 20_000;

/// A statement in both dialects.
type Statement = (String, String);

static HEARD: Mutex<BTreeSet<Statement>> = Mutex::new(BTreeSet::new());

/// Listens to `ledger.statement`.
struct Listener;

#[derive(Default)]
struct Heard(Statement);

impl Visit for Heard {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "postgres" => self.0.0 = value.into(),
            "sqlite" => self.0.1 = value.into(),
            _ => {}
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}

impl<S: tracing::Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let mut heard = Heard::default();
        event.record(&mut heard);
        if !heard.0.0.is_empty() {
            HEARD.lock().unwrap_or_else(PoisonError::into_inner).insert(heard.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_of_a_message_on_its_way_reads_a_whole_table() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Listener)).unwrap();
    databases::on_sqlite(|f| async {
        let w = World::new(f, &Setup { recipients_per_24h: "2000", ..Setup::default() }).await;
        a_day(&w).await;
        let heard = heard();
        assert!(heard.len() > 50, "{} statements were heard", heard.len());
        check(&explain_on_sqlite(&w.f, &heard).await);
    })
    .await;
    databases::on_postgres(|f| async {
        let w = World::new(f, &Setup { recipients_per_24h: "2000", ..Setup::default() }).await;
        a_day(&w).await;
        fill_history(&w).await;
        check(&explain_on_postgres(&w.f, &heard()).await);
        // A large table is analysed once in days, and that may be when nothing waits.
        let ends = "UPDATE messages SET state = 'sent', queued_at = NULL, lease_expires_at = NULL WHERE state";
        w.f.execute(format!("{ends} IN ('held', 'scheduled', 'queued', 'sending')")).await;
        w.f.execute("ANALYZE").await;
        // And afterwards thousands wait, which nobody has counted.
        w.f.execute("UPDATE messages SET state = CASE WHEN subject < 'h2' THEN 'queued' ELSE 'held' END, queued_at = CASE WHEN subject < 'h2' THEN 1 END WHERE subject LIKE 'h%'").await;
        check(&explain_on_postgres(&w.f, &heard()).await);
    })
    .await;
}

fn heard() -> Vec<Statement> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// The plans that read a large table whole, each with its statement.
struct Findings(Vec<String>);

#[track_caller]
fn check(findings: &Findings) {
    assert!(findings.0.is_empty(), "{} statements read a whole table:\n\n{}", findings.0.len(), findings.0.join("\n\n"));
}

/// Everything that services do in a day, each at least once. Left out is what a person asks for and what reads everything on purpose.
async fn a_day(w: &World) {
    // What was heard before is a person's doing: the configuration.
    HEARD.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let ids = w.queued(7).await;
    w.ledger.locate(&ids).await.unwrap();
    let attempts: Vec<_> = {
        let mut attempts = Vec::new();
        for id in ids[..4].iter().chain(&ids[6..]) {
            w.f.advance(TimeDelta::seconds(1)).await;
            attempts.push(w.started(*id).await.attempt_id);
        }
        attempts
    };
    let at = w.now().await + TimeDelta::seconds(5);
    let results = vec![
        finished(ids[0], attempts[0], sent("p")),
        finished(ids[1], attempts[1], Settlement::GiveBack),
        finished(ids[2], attempts[2], Settlement::Defer { until: at, why: DeferReason::Throttled }),
        finished(ids[3], attempts[3], Settlement::Doubt { why: DoubtReason::TimedOut }),
    ];
    w.ledger.finish(results.clone()).await.unwrap();
    w.ledger.finish(results).await.unwrap();
    webhooks(w, ids[0], attempts[0]).await;
    w.ledger.pause_channel(w.channel, at, DeferReason::Throttled).await.unwrap();
    w.top_up(10).await;
    // While nothing withholds messages, and below, where a stop of a stage does.
    w.ledger.gauges().await.unwrap();
    a_stop(&w.ledger).await;
    // An amount changed, one was paid, one is due for the next stage: rendered again, skipped, superseded.
    let mut changed = invoice(5, 5, world::due_for("overdue"));
    changed.open_amount = regua_domain::money::Centavos(12_300);
    w.sync(&[], &[changed, world::paid(&invoice(6, 6, today())), invoice(2, 2, world::due_for("pending_query"))]).await;
    w.ledger.unqueue_unpublished(ids.clone()).await.unwrap();
    w.f.advance(TimeDelta::seconds(10)).await;
    w.top_up(10).await;
    w.evaluate().await;
    events(w).await;
    sweeps(w).await;
}

/// The platform and the ERP tell something.
async fn webhooks(w: &World, message: MessageId, attempt: AttemptId) {
    let receipt = |about, status, consequence| NewReceipt {
        integration_id: w.integration,
        about,
        status,
        provider_id: Some("p".into()),
        provider_code: None,
        consequence,
        came_at: None,
    };
    let ours = About::Metadata { message, attempt: Some(attempt) };
    let receipts = vec![
        receipt(About::ProviderId("p".into()), ReceiptStatus::Delivered, None),
        receipt(ours, ReceiptStatus::Failed, Some(Consequence::OptOut)),
    ];
    assert_eq!(w.ledger.receive(receipts).await.unwrap().opted_out, 1);
    let early = receipt(About::ProviderId("of somebody else".into()), ReceiptStatus::Read, None);
    assert_eq!(w.ledger.receive(vec![early]).await.unwrap().answers, [ReceiptAnswer::Early]);
    w.f.advance(TimeDelta::seconds(1)).await;
    assert_eq!(w.ledger.receive_early(|_| None).await.unwrap().answers, [ReceiptAnswer::Early]);
    w.ledger.receipts(message).await.unwrap();
    w.ledger
        .tell(w.source, [(InvoiceId("i0004".into()), Told::Paid), (InvoiceId("i0033".into()), Told::Paid)].into())
        .await
        .unwrap();
}

/// Something of each kind happens, is told, and is looked at again.
async fn events(w: &World) {
    let due = world::due_for("overdue");
    let unlisted = |is_listed| Customer { negatively_listed: Some(is_listed), ..world::customer(1) };
    let (open, new) = (|n| invoice(n, n, due), Invoice { renegotiation_id: "77".into(), ..invoice(33, 3, today()) });
    let ended = |n, into: &str| Invoice { status: InvoiceStatus::Cancelled, renegotiation_id: into.into(), ..open(n) };
    w.sync(&[unlisted(true)], &[open(1), open(2), open(3), new]).await;
    w.f.advance(TimeDelta::seconds(1)).await;
    w.sync(&[unlisted(false)], &[world::paid(&open(1)), ended(2, ""), ended(3, "77")]).await;
    w.f.advance(TimeDelta::seconds(1)).await;
    w.evaluate().await;
    w.evaluate().await;
    w.ledger.events_of_invoice(w.source, "i0001").await.unwrap();
    let sync = w.ledger.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    w.ledger.titles_of_waiting_events(sync, None, 10).await.unwrap();
    w.ledger.listed_customers(sync, None, 10).await.unwrap();
    w.ledger.end_sync(sync, true).await.unwrap();
}

async fn a_stop(ledger: &Ledger) {
    let stop = NewStop {
        scope: StopScope::Stage,
        target: "in_person".into(),
        raised_by: "test".into(),
        why: "a plan".into(),
        until_at: None,
    };
    assert!(ledger.raise_stop(stop).await.unwrap());
}

async fn sweeps(w: &World) {
    let ledger = &w.ledger;
    w.f.advance(TimeDelta::minutes(2)).await;
    ledger.rescue().await.unwrap();
    asking(w).await;
    ledger.expire().await.unwrap();
    ledger.expire_doubt().await.unwrap();
    ledger.end_overdue_runs().await.unwrap();
    retention(w).await;
    ledger.queued().await.unwrap();
    ledger.unqueue(TimeDelta::zero()).await.unwrap();
    ledger.is_busy().await.unwrap();
    ledger.kept_counts().await.unwrap();
    ledger.fold_counts().await.unwrap();
    ledger.gauges().await.unwrap();
    w.f.execute("UPDATE runs SET kind = 'send-queued-messages', planned_at = 1 + planned_at / 2 WHERE state = 'done'").await;
    assert!(ledger.first_send(DateTime::UNIX_EPOCH).await.unwrap().is_some());
    ledger.runs_to_tick(10).await.unwrap();
    let run = w.leased_run().await;
    ledger.heartbeat(run.run.id, run.owner).await.unwrap();
    let sync = ledger.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    ledger.unseen_titles(sync, today() - TimeDelta::days(60), None, 10).await.unwrap();
    ledger.end_sync(sync, true).await.unwrap();
}

/// What is asked of the provider and the ERP beside the sending.
async fn asking(w: &World) {
    let ledger = &w.ledger;
    let look = ledger.take_allowance_look(w.channel).await.unwrap().unwrap();
    ledger.note_allowance(look, Some(1000)).await.unwrap();
    ledger.looks_failed(w.source).await.unwrap();
    assert!(ledger.take_looks(w.source).await.unwrap().is_none());
    let answered = NewStop {
        scope: StopScope::Channel,
        target: w.channel.to_string(),
        raised_by: BY_ANSWER.into(),
        why: "channel_not_found".into(),
        until_at: None,
    };
    ledger.raise_stop(answered).await.unwrap();
    w.f.advance(TimeDelta::minutes(2)).await;
    let check = ledger.take_stop_check(&["channel_not_found"]).await.unwrap().unwrap();
    ledger.channels_of_template(setup::TEMPLATE).await.unwrap();
    assert!(ledger.pass_stop_check(check).await.unwrap());
    let text = "Olá {{1}}! {{2}}, {{3}}".to_owned();
    let now = Some(TemplateText { name: "aviso".into(), text });
    let seen = SeenTemplate { integration: "Opa! Suite".into(), template_id: setup::TEMPLATE.into(), now };
    ledger.note_templates(vec![seen]).await.unwrap();
    w.f.execute("UPDATE integrations SET look_up = true").await;
    let look_up = ledger.take_look_up(&[w.integration]).await.unwrap().unwrap();
    let hit = |sought: &Sought| Searched { message: sought.message, attempt: sought.attempt, record: Some("r1".into()) };
    let hits = look_up.sought.iter().take(1).map(hit).collect();
    assert_eq!(ledger.note_look_up(look_up, hits).await.unwrap().answers.len(), 1);
}

/// A round while nothing is due, and one in which everything is, but for a clock that isn't moved: the statements are the same.
async fn retention(w: &World) {
    let due = [
        "UPDATE messages SET updated_at = 1, created_at = 1 WHERE state IN ('sent', 'skipped')",
        "UPDATE people SET days = '{}'",
        "UPDATE recipients SET last_start_at = 1, reserved_at = 1, counted_at = 1",
        "UPDATE events SET observed_at = 1",
    ];
    for statement in due {
        w.f.execute(statement).await;
    }
    let hold = NewHold {
        source: None,
        kind: HoldKind::Invoice,
        subject: "i0001".into(),
        until_on: today(),
        why: "a plan".into(),
        set_by: "test".into(),
        even_if_unknown: true,
    };
    w.ledger.set_hold(hold).await.unwrap();
    w.f.execute("UPDATE holds SET since_at = 1, until_on = '2020-01-01'").await;
    let swept = w.ledger.retain(&mut Walks::default()).await.unwrap();
    assert!(swept.anonymised > 0 && swept.deleted > 3 && !swept.more, "{swept:?}");
}

/// Many sent messages with their attempts and people, and the statistics that autovacuum makes of them.
async fn fill_history(w: &World) {
    let copy = |table: &str, columns: &str, values: &str| {
        format!("INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(1, {HISTORY}) AS n")
    };
    let run = "(SELECT id FROM runs LIMIT 1)";
    let message =
        "id, source_id, subject, stage, stage_rank, occasion, due_on, state, policy_id, notice_id, channel_id, phone_key, run_id,
                   run_planned_at, expires_at, facts_version, created_at, updated_at";
    let (source, policy, channel) = (w.source, w.policy, w.channel);
    w.f.execute(copy(
        "messages",
        message,
        &format!(
            "md5('m' || n)::uuid, '{source}', 'h' || n, 'overdue', 3, '2025-01-01', '2025-01-01', 'sent', '{policy}',
             (SELECT id FROM notices LIMIT 1), '{channel}', 'p' || n, {run}, 1, 1, 'f', 1, 1"
        ),
    ))
    .await;
    w.f.execute(copy(
        "attempts",
        "id, message_id, number, channel_id, dispatcher, slot_at, lease_expires_at, recipient_before, outcome, finished_at, provider_id",
        &format!("md5('a' || n)::uuid, md5('m' || n)::uuid, 1, '{channel}', 'd', 1, 1, '{{}}', 'sent', 1, 'opa' || n"),
    ))
    .await;
    let integration = w.integration;
    w.f.execute(copy(
        "receipts",
        "id, message_id, attempt_id, integration_id, status, proved_by, state_before, received_at",
        &format!("md5('r' || n)::uuid, md5('m' || n)::uuid, md5('a' || n)::uuid, '{integration}', 'read', 'metadata', 'sent', 1"),
    ))
    .await;
    let business = w.business;
    w.f.execute(copy("recipients", "business_id, phone_key", &format!("'{business}', 'p' || n"))).await;
    w.f.execute(copy("people", "phone_key, days, version", "'p' || n, '{}', 1")).await;
    w.f.execute(copy(
        "message_texts",
        "message_id, phone, provider_channel_id, template_id, variables",
        "md5('m' || n)::uuid, '+55' || n, 'c', 't', '[]'",
    ))
    .await;
    w.f.execute(copy("customers", "source_id, id, record, observed_at", &format!("'{source}', 'h' || n, '{{}}', 1"))).await;
    w.f.execute(copy(
        "invoices",
        "source_id, id, customer_id, is_open, due_on, record, observed_at, generation",
        &format!("'{source}', 'h' || n, 'h' || n, false, '2025-01-01', '{{}}', 1, 0"),
    ))
    .await;
    w.f.execute(copy(
        "events",
        "id, source_id, kind, subject, occasion, happened_on, observed_at, outcome, consumed_by",
        &format!("md5('e' || n)::uuid, '{source}', 'settled', 'h' || n, '2025-01-01', '2025-01-01', 1, 'too_old', {run}"),
    ))
    .await;
    w.f.execute("ANALYZE").await;
}

async fn explain_on_sqlite(f: &Fixture, statements: &[Statement]) -> Findings {
    let mut findings = Vec::new();
    for (_, sql) in statements {
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(f.sqlite().unwrap()).await;
        let plan: Vec<String> =
            rows.unwrap_or_else(|error| panic!("{sql}: {error}")).iter().map(|row| row.get("detail")).collect();
        let scans = |step: &&String| {
            let words: Vec<&str> = step.split_whitespace().collect();
            words[0] == "SCAN" && is_large(sql, words[1]) && !step.contains(LIVE)
        };
        let passes_over_turns = !sql.contains(TURNS) || plan.iter().any(|step| step.contains("run_id=? AND <expr>=?"));
        if plan.iter().any(|step| scans(&step)) || !passes_over_turns || !goes_by_phone(sql, &plan) {
            findings.push(format!("{sql}\n{}", plan.join("\n")));
        }
    }
    Findings(findings)
}

/// Whether a name in a plan, a table or its alias in the statement, is a large table.
fn is_large(sql: &str, name: &str) -> bool {
    LARGE
        .iter()
        .any(|table| *table == name || sql.contains(&format!("{table} {name} ")) || sql.contains(&format!("{table} {name}\n")))
}

async fn explain_on_postgres(f: &Fixture, statements: &[Statement]) -> Findings {
    let mut findings = Vec::new();
    // As the ledger's own connections: see `SESSION`.
    let mut connection = f.postgres().unwrap().acquire().await.unwrap();
    let session = "SET enable_seqscan = off; SET random_page_cost = 1.1; SET plan_cache_mode = force_generic_plan";
    connection.execute(session).await.unwrap();
    for (sql, _) in statements {
        let parameters = (1..20).take_while(|n| sql.contains(&format!("${n}"))).map(|_| "NULL").collect::<Vec<_>>().join(", ");
        let parameters = if parameters.is_empty() { parameters } else { format!("({parameters})") };
        let prepared = sqlx::raw_sql(AssertSqlSafe(format!("PREPARE explained AS {sql}"))).execute(&mut *connection).await;
        prepared.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let explain = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN EXECUTE explained{parameters}")));
        let plan: Vec<String> = explain.fetch_all(&mut *connection).await.unwrap();
        connection.execute("DEALLOCATE explained").await.unwrap();
        let turn =
            |step: &&String| step.contains("Index Cond") && step.contains("COALESCE(next_attempt_at, '0'::bigint) = t.comes_at");
        let passes_over_turns = !sql.contains(TURNS) || plan.iter().any(|step| turn(&step));
        let reads_all = plan.iter().enumerate().any(|(place, step)| reads_all(step, &plan[place + 1..]));
        let updates_all = BY_KEY.iter().any(|words| sql.contains(words)) && goes_along_live(&plan);
        if reads_all || updates_all || strays_to_phones(sql, &plan) || !passes_over_turns || !goes_by_phone(sql, &plan) {
            findings.push(format!("{sql}\n{}", plan.join("\n")));
        }
    }
    Findings(findings)
}

fn goes_by_phone(sql: &str, plan: &[String]) -> bool {
    !sql.contains(RIVALS)
        || plan
            .iter()
            .any(|step| step.contains(&format!("{BY_PHONE} (phone_key=?)")) || step.contains("Index Cond: (phone_key = p.value)"))
}

/// Whether the table that a statement is about, not one of a query in it, is read along the index of what is on its way.
fn goes_along_live(plan: &[String]) -> bool {
    let along = [format!("using {LIVE} on messages  ("), format!("Bitmap Index Scan on {LIVE}")];
    plan.iter().any(|step| along.iter().any(|words| step.contains(words)))
}

/// Whether a statement that isn't about phones goes through all that waits, in the order of phones.
fn strays_to_phones(sql: &str, plan: &[String]) -> bool {
    !sql.contains(RIVALS) && plan.iter().any(|step| step.contains(BY_PHONE))
}

/// Whether a step of a PostgreSQL plan goes through a whole large table: without an index, or along one without a condition.
fn reads_all(step: &str, rest: &[String]) -> bool {
    let Some((kind, on)) = step.split_once(" on ") else { return false };
    let table = on.split_whitespace().next().unwrap_or_default();
    if !LARGE.contains(&table) || !kind.contains("Scan") || step.contains(LIVE) {
        return false;
    }
    let details = rest.iter().take_while(|line| !line.contains("->"));
    let has_condition = details.into_iter().any(|line| line.contains("Index Cond") || line.contains("Recheck Cond"));
    !has_condition
}
