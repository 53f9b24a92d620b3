//! Payment templates and header media: kept, read back, sent, and written again when what they say changed.

use crate::databases::Fixture;
use crate::setup::{Setup, TEMPLATE};
use crate::world::{World, customer, due_for, invoice, skipped};
use regua_domain::filling::Values;
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_domain::mirror::Invoice;
use regua_domain::money::Centavos;
use regua_domain::payment::{AmountUnit, PaymentCode, PaymentMeans};
use regua_domain::payment_codes::{PixKey, PixKeyKind};
use regua_domain::template::{TemplateFault, TemplateText};
use regua_ledger::queries::TextView;
use regua_ledger::start::StartAnswer;
use regua_ledger::templates::SeenTemplate;

/// The readme of the npm package `pixcode`: dynamic.
const PIX: &str = "00020101021226720014br.gov.bcb.pix2550bx.com.br/pix/8b3da2f3-9a41-40d1-a91a-bd93113bd4415204000053039865406123.455802BR5913Fulano de Tal6008BRASILIA62190515RP12345678-2019630445C8";
/// Banco do Brasil's own example of a boleto.
const LINE: &str = "00190.50095 40144.816069 06809.350314 3 37370000000100";

const BY_PIX: &str = "payment = \"pix\"\npayment_amount = \"centavos\"\nmedia = \"#areceber_link#\"";

fn setup(filling: &'static str) -> Setup {
    let more = "[provider]\npix_key = \"pix@provedor.example\"\npix_key_type = \"email\"".into();
    Setup { filling: Some(filling), open_windows: 9, more, ..Setup::default() }
}

fn payable() -> Invoice {
    Invoice {
        pix_code: PIX.into(),
        digitable_line: LINE.into(),
        payment_link: "https://pague.example.com/1.pdf".into(),
        ..invoice(1, 1, due_for("overdue"))
    }
}

/// A world in which the first customer's message waits for the release.
async fn world(f: Fixture, filling: &'static str, invoice: Invoice) -> World {
    let w = World::new(f, &setup(filling)).await;
    w.sync(&[customer(1)], &[invoice]).await;
    w.evaluate().await;
    w.release().await;
    w
}

async fn a_payment_is_sent_with_its_code_and_media_and_kept_as_it_is_sent(f: Fixture) {
    let w = world(f, BY_PIX, payable()).await;
    let text = w.started(w.top_up(9).await[0]).await.text;
    let payment = text.values.payment().expect("a payment");
    let key = PixKey::parse(PixKeyKind::Email, "pix@provedor.example").unwrap();
    let code = PaymentCode::Pix { code: PIX.into(), merchant_name: "Fulano de Tal".into(), key };
    assert_eq!((payment.amount_text().as_str(), &payment.code), ("10000", &code));
    assert_eq!(text.media.as_deref(), Some("https://pague.example.com/1.pdf"));
    let kept = w.f.text("SELECT variables FROM message_texts").await.unwrap();
    assert_eq!(serde_json::from_str::<Values>(&kept).unwrap(), text.values);
    assert_eq!(w.f.text("SELECT media FROM message_texts").await, text.media);
    let payment = (Some(PaymentMeans::Pix), Some(Centavos(10_000)), Some(AmountUnit::Centavos));
    let view = TextView { payment: payment.0, amount: payment.1, amount_unit: payment.2, media: true };
    assert_eq!(w.ledger.message_text(w.message_of(1).await.id).await.unwrap(), Some(view));
}

async fn a_text_without_either_is_the_list_that_it_always_was(f: Fixture) {
    let w = world(f, "variables = \"#cliente_razao#\"", payable()).await;
    assert_eq!(w.f.text("SELECT variables FROM message_texts").await.as_deref(), Some("[\"Cliente 1\"]"));
    assert_eq!(w.f.count("message_texts WHERE media IS NULL").await, 1);
    let view = TextView { payment: None, amount: None, amount_unit: None, media: false };
    assert_eq!(w.ledger.message_text(w.message_of(1).await.id).await.unwrap(), Some(view));
}

async fn a_payment_notice_is_read_back_and_asks_the_erp_for_pix(f: Fixture) {
    let w = World::new(f, &setup(BY_PIX)).await;
    assert_eq!(w.ledger.configuration().await.unwrap().unwrap(), setup(BY_PIX).configuration());
    let plans = w.ledger.policies().await.unwrap();
    let asks: Vec<_> = plans[0].stages.iter().map(|stage| (stage.stage.as_str(), stage.notice.needs_pix())).collect();
    assert_eq!(asks, [("pre_due", false), ("due_day", false), ("overdue", true), ("pending_query", false)]);
    let by_position = Setup { filling: None, ..setup("") };
    w.ledger.apply_configuration(by_position.configuration()).await.unwrap();
    assert_eq!(w.ledger.configuration().await.unwrap().unwrap(), by_position.configuration());
}

/// What it says may be another amount, another code, another address, or another unit.
async fn whatever_changes_of_a_payment_is_written_again_before_it_is_sent(f: Fixture) {
    let w = world(f, BY_PIX, payable()).await;
    let queued = w.top_up(9).await;
    let mut now = payable();
    let partly = Invoice { open_amount: Centavos(9_000), ..payable() };
    let moved = Invoice { payment_link: "https://pague.example.com/2.pdf".into(), ..partly.clone() };
    for changed in [partly, moved.clone()] {
        w.sync(&[customer(1)], std::slice::from_ref(&changed)).await;
        assert!(matches!(w.start_one(queued[0]).await, StartAnswer::Postponed { why: DeferReason::FactsChanged }));
        assert_eq!(w.top_up(9).await, queued);
        now = changed;
    }
    assert_eq!(now, moved);
    let in_reais = "payment = \"pix\"\npayment_amount = \"reais\"\nmedia = \"#areceber_link#\"";
    w.ledger.apply_configuration(setup(in_reais).configuration()).await.unwrap();
    assert!(matches!(w.start_one(queued[0]).await, StartAnswer::Postponed { why: DeferReason::FactsChanged }));
    assert_eq!(w.top_up(9).await, queued);
    let text = w.started(queued[0]).await.text;
    assert_eq!(text.values.payment().expect("a payment").amount_text(), "90.00");
    assert_eq!(text.media.as_deref(), Some("https://pague.example.com/2.pdf"));
}

async fn a_boleto_without_a_right_line_is_not_sent_and_comes_back_with_one(f: Fixture) {
    let damaged = Invoice { digitable_line: LINE.replace("37370", "37371"), ..payable() };
    let w = world(f, "payment = \"boleto\"\npayment_amount = \"reais\"", damaged).await;
    let id = w.message_of(1).await.id;
    assert_eq!(w.state(id).await, skipped(SkipReason::InvalidPaymentCode));
    w.sync(&[customer(1)], &[payable()]).await;
    w.evaluate().await;
    w.release().await;
    assert_eq!(w.top_up(9).await, [id]);
    let text = w.started(id).await.text;
    let digitable_line = "00190500954014481606906809350314337370000000100".into();
    assert_eq!(text.values.payment().expect("a payment").code, PaymentCode::Boleto { digitable_line });
    assert_eq!(text.media, None);
}

async fn media_that_nobody_could_fetch_skips_and_a_right_link_brings_the_message_back(f: Fixture) {
    let with = |link: &str| Invoice { payment_link: link.into(), ..payable() };
    let w = world(f, BY_PIX, with("http://pague.example.com/1.pdf")).await;
    let id = w.message_of(1).await.id;
    assert_eq!(w.state(id).await, skipped(SkipReason::InvalidMedia));
    w.sync(&[customer(1)], &[with("")]).await;
    w.evaluate().await;
    assert_eq!(w.state(id).await.0, State::Skipped);
    w.sync(&[customer(1)], &[payable()]).await;
    w.evaluate().await;
    assert_eq!(w.state(id).await, (State::Held, None));
    w.sync(&[customer(1)], &[with("https://10.0.0.1/1.pdf")]).await;
    w.release().await;
    assert!(w.top_up(9).await.is_empty());
    assert_eq!(w.state(id).await, skipped(SkipReason::InvalidMedia));
}

async fn a_payment_notice_on_a_template_with_other_placeholders_stops_its_messages(f: Fixture) {
    let w = world(f, BY_PIX, payable()).await;
    let look = async |text: &str| {
        let now = Some(TemplateText { name: "pix".into(), text: text.into() });
        let seen = SeenTemplate { integration: "Opa! Suite".into(), template_id: TEMPLATE.into(), now };
        w.ledger.note_templates(vec![seen]).await.unwrap().pop()
    };
    assert!(look("Sua fatura chegou.").await.is_none());
    let stopped = look("Sua fatura chegou, {{1}}.").await.expect("nobody fills it");
    assert_eq!(stopped.fault, TemplateFault::NoPayment { name: "pix".into(), placeholder: "1".into() });
    assert!(w.top_up(9).await.is_empty());
}

conformance! {
    a_payment_is_sent_with_its_code_and_media_and_kept_as_it_is_sent
    a_text_without_either_is_the_list_that_it_always_was
    a_payment_notice_is_read_back_and_asks_the_erp_for_pix
    whatever_changes_of_a_payment_is_written_again_before_it_is_sent
    a_boleto_without_a_right_line_is_not_sent_and_comes_back_with_one
    media_that_nobody_could_fetch_skips_and_a_right_link_brings_the_message_back
    a_payment_notice_on_a_template_with_other_placeholders_stops_its_messages
}
