//! What a notice says: facts that stand neither with the invoice nor with its customer, and codes that can't be paid.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, customer, date, due_for, invoice, paid, skipped};
use chrono::TimeDelta;
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_domain::mirror::Invoice;
use regua_domain::money::Centavos;
use regua_ledger::pix::PixAnswer;
use regua_ledger::start::StartAnswer;

/// BACEN, "Manual de Padrões para Iniciação do Pix", section 2: static, without an amount.
const PIX: &str = "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***63041D3D";

async fn world(f: Fixture, variables: &'static str, more: &str) -> World {
    World::new(f, &Setup { variables, open_windows: 9, more: more.into(), ..Setup::default() }).await
}

async fn a_total_is_that_of_every_open_invoice_of_the_customer(f: Fixture) {
    let w = world(f, "#total_em_aberto#,#quantidade_titulos#", "").await;
    let far =
        |number, days| Invoice { open_amount: Centavos(2_550), ..invoice(number, 1, due_for("overdue") + TimeDelta::days(days)) };
    let others = [paid(&invoice(4, 1, due_for("overdue"))), invoice(5, 2, due_for("due_day"))];
    let all = [&[invoice(1, 1, due_for("overdue")), far(2, 400), far(3, -400)][..], &others].concat();
    w.sync(&[customer(1), customer(2)], &all).await;
    w.evaluate().await;
    w.release().await;
    w.top_up(9).await;
    assert_eq!(w.started(w.message_of(1).await.id).await.text.values.by_position(), ["R$151,00", "3"]);
}

async fn a_total_that_changed_is_written_again_before_it_is_sent(f: Fixture) {
    let w = world(f, "#total_em_aberto#", "").await;
    let (first, second) = (invoice(1, 1, due_for("overdue")), invoice(2, 1, due_for("overdue") + TimeDelta::days(60)));
    w.sync(&[customer(1)], &[first.clone(), second.clone()]).await;
    w.evaluate().await;
    w.release().await;
    let queued = w.top_up(9).await;
    w.sync(&[customer(1)], &[first, paid(&second)]).await;
    assert!(matches!(w.start_one(queued[0]).await, StartAnswer::Postponed { why: DeferReason::FactsChanged }));
    assert_eq!(w.top_up(9).await, queued);
    assert_eq!(w.started(queued[0]).await.text.values.by_position(), ["R$100,00"]);
}

async fn days_late_are_those_of_the_day_on_which_it_is_sent(f: Fixture) {
    let w = world(f, "#areceber_dias_atraso#", "").await;
    w.released(1, 2, "overdue").await;
    let queued = w.top_up(9).await;
    assert_eq!(w.started(queued[0]).await.text.values.by_position(), ["3"]);
    w.f.advance(TimeDelta::hours(24)).await;
    w.sync(&[customer(1), customer(2)], &[1, 2].map(|number| invoice(number, number, due_for("overdue")))).await;
    assert!(matches!(w.start_one(queued[1]).await, StartAnswer::Postponed { why: DeferReason::FactsChanged }));
    w.top_up(9).await;
    assert_eq!(w.started(queued[1]).await.text.values.by_position(), ["4"]);
}

async fn the_provider_is_named_as_the_configuration_says_at_that_time(f: Fixture) {
    let provider = |name: &str| format!("[provider]\nname = \"{name}\"\n[[branch]]\nid = 2\nname = \"Filial\"");
    let w = world(f, "#empresa_razao#", &provider("Antes")).await;
    let branch = Invoice { branch_id: "2".into(), ..invoice(2, 2, due_for("overdue")) };
    w.sync(&[customer(1), customer(2)], &[invoice(1, 1, due_for("overdue")), branch]).await;
    w.evaluate().await;
    w.release().await;
    let setup = Setup { variables: "#empresa_razao#", open_windows: 9, more: provider("Depois"), ..Setup::default() };
    w.ledger.apply_configuration(setup.configuration()).await.unwrap();
    assert_eq!(w.ledger.configuration().await.unwrap().unwrap().provider, setup.configuration().provider);
    assert_eq!(w.top_up(9).await.len(), 2);
    for (number, name) in [(1, "Depois"), (2, "Filial")] {
        let id = w.message_of(number).await.id;
        assert_eq!(w.started(id).await.text.values.by_position(), [name]);
    }
}

async fn a_payment_code_that_cannot_be_paid_skips_and_a_right_one_brings_the_message_back(f: Fixture) {
    let w = world(f, "#pix_copia_e_cola#", "").await;
    let with = |pix_code: &str| Invoice { pix_code: pix_code.into(), ..invoice(1, 1, due_for("overdue")) };
    let damaged = PIX.replace("Fulano", "Sicrano");
    w.sync(&[customer(1)], &[with(&damaged)]).await;
    w.evaluate().await;
    let id = w.message_of(1).await.id;
    assert_eq!(w.state(id).await, skipped(SkipReason::InvalidPaymentCode));
    w.sync(&[customer(1)], &[with(PIX)]).await;
    w.evaluate().await;
    assert_eq!(w.state(id).await, (State::Held, None));
    w.sync(&[customer(1)], &[with(&damaged)]).await;
    w.release().await;
    assert!(w.top_up(9).await.is_empty());
    assert_eq!(w.state(id).await, skipped(SkipReason::InvalidPaymentCode));
}

/// What the ERP says of the first invoice's Pix when it is asked now.
async fn note_pix(w: &World, code: &str, open_amount: i64, expires_on: Option<&str>) {
    let answer = PixAnswer {
        invoice_id: invoice(1, 1, due_for("overdue")).id,
        open_amount: Centavos(open_amount),
        code: code.into(),
        expires_on: expires_on.map(crate::world::date),
    };
    w.ledger.note_pix(w.source, vec![answer], w.now().await).await.unwrap();
}

async fn a_pix_code_that_the_erp_was_asked_for_outlives_the_next_sync_and_is_sent(f: Fixture) {
    let w = world(f, "#pix_copia_e_cola#", "").await;
    let lacking = invoice(1, 1, due_for("overdue"));
    w.sync(&[customer(1)], std::slice::from_ref(&lacking)).await;
    note_pix(&w, PIX, 10_000, None).await;
    w.evaluate().await;
    let id = w.message_of(1).await.id;
    w.release().await;
    w.sync(&[customer(1)], &[lacking]).await;
    assert_eq!(w.top_up(9).await, [id]);
    assert_eq!(w.started(id).await.text.values.by_position(), [PIX]);
}

async fn a_pix_code_of_another_amount_or_of_the_past_is_no_code_and_is_asked_for_again(f: Fixture) {
    let w = world(f, "#pix_copia_e_cola#", "").await;
    w.sync(&[customer(1)], &[invoice(1, 1, due_for("overdue"))]).await;
    let candidate = async || w.ledger.candidates_by_id(&invoice(1, 1, due_for("overdue")).id).await.unwrap().remove(0).1;
    assert_eq!(candidate().await.pix_asked_at, None);
    for (code, amount, expires_on, holds) in [
        (PIX, 10_000, None, true),
        (PIX, 9_999, None, false),
        (PIX, 10_000, Some("2026-03-08"), false),
        (PIX, 10_000, Some("2026-03-09"), true),
        ("", 10_000, None, true),
    ] {
        w.f.advance(TimeDelta::seconds(1)).await;
        note_pix(&w, code, amount, expires_on).await;
        let candidate = candidate().await;
        assert_eq!(candidate.pix_asked_at.is_some(), holds, "{amount} {expires_on:?}");
        assert_eq!(candidate.invoice.pix_code, if holds { code } else { "" }, "{amount} {expires_on:?}");
    }
}

/// The code was good when the message was written; by the time it may leave it can't be paid any more.
async fn a_pix_code_that_ends_while_its_message_waits_is_not_sent(f: Fixture) {
    let w = world(f, "#pix_copia_e_cola#", "").await;
    let lacking = invoice(1, 1, due_for("overdue"));
    w.sync(&[customer(1)], std::slice::from_ref(&lacking)).await;
    note_pix(&w, PIX, 10_000, Some("2026-03-09")).await;
    w.evaluate().await;
    let id = w.message_of(1).await.id;
    w.release().await;
    w.f.advance(TimeDelta::days(1)).await;
    w.sync(&[customer(1)], &[lacking]).await;
    assert!(w.top_up(9).await.is_empty());
    assert_eq!(w.state(id).await, (State::Skipped, Some(SkipReason::MissingValue.as_str().into())));
    note_pix(&w, PIX, 10_000, Some("2026-03-12")).await;
    assert_eq!(w.evaluate().await.1.revived, 1, "it comes back with a new one");
}

/// A title that no look confirmed since it fell out of the lists may be paid by now: a total with it is no total.
async fn a_total_with_a_title_that_was_not_looked_at_again_is_none(f: Fixture) {
    let w = world(f, "#total_em_aberto#", "").await;
    let (due, old) = (invoice(1, 1, due_for("overdue")), invoice(2, 1, date("2025-06-01")));
    w.sync(&[customer(1)], &[due.clone(), old]).await;
    w.f.advance(TimeDelta::seconds(1)).await;
    w.sync(&[customer(1)], std::slice::from_ref(&due)).await;
    let candidate = w.ledger.candidates_by_id(&due.id).await.unwrap().remove(0).1;
    assert_eq!(candidate.totals, None);
    w.evaluate().await;
    assert_eq!(w.message_of(1).await.reason.as_deref(), Some("missing_value"));
}

conformance! {
    a_pix_code_that_ends_while_its_message_waits_is_not_sent
    a_total_with_a_title_that_was_not_looked_at_again_is_none
    a_pix_code_that_the_erp_was_asked_for_outlives_the_next_sync_and_is_sent
    a_pix_code_of_another_amount_or_of_the_past_is_no_code_and_is_asked_for_again
    a_total_is_that_of_every_open_invoice_of_the_customer
    a_total_that_changed_is_written_again_before_it_is_sent
    days_late_are_those_of_the_day_on_which_it_is_sent
    the_provider_is_named_as_the_configuration_says_at_that_time
    a_payment_code_that_cannot_be_paid_skips_and_a_right_one_brings_the_message_back
}
