//! Payment templates and the media of a template's header: what one message gets of them, and what it is known by.

use proptest::prelude::*;
use regua_domain::filling::{Filled, Filling, Values};
use regua_domain::media::{Media, MediaFault, URL_BYTES_MAX};
use regua_domain::message::SkipReason;
use regua_domain::mirror::Invoice;
use regua_domain::money::Centavos;
use regua_domain::payment::{AmountUnit, Payment, PaymentCode, PaymentMeans, PaymentTerms};
use regua_domain::payment_codes::{PixKey, PixKeyKind};
use regua_domain::provider::{Branch, Identity, Provider};
use regua_domain::render::Rendered;
use regua_domain::sample::{Sample, sample};
use regua_domain::variables::{Circumstances, Facts, RenderError, Variable};

/// BACEN, "Manual de Padrões para Iniciação do Pix", section 2: static, to a random key.
const STATIC: &str = "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***63041D3D";
/// The readme of the npm package `pixcode`: dynamic.
const DYNAMIC: &str = "00020101021226720014br.gov.bcb.pix2550bx.com.br/pix/8b3da2f3-9a41-40d1-a91a-bd93113bd4415204000053039865406123.455802BR5913Fulano de Tal6008BRASILIA62190515RP12345678-2019630445C8";

fn with_key(text: &str) -> Identity {
    Identity { pix_key: Some(PixKey::parse(PixKeyKind::Cnpj, text).expect("a CNPJ")), ..Identity::default() }
}

/// Fills `filling` for the sample's invoice after `change`, of a provider with a key of its own, a branch 2 with another, and a branch 3 that is
/// another company.
fn filled(filling: &Filling, change: impl Fn(&mut Invoice)) -> Result<Filled, RenderError> {
    let today = "2026-03-09".parse().expect("a date");
    let Sample { customer, mut invoice, totals, .. } = sample(today);
    change(&mut invoice);
    let branch = Branch { id: "2".into(), identity: with_key("11.222.333/0002-62") };
    let company = Branch { id: "3".into(), identity: Identity { tax_id: "45.997.418/0001-53".into(), ..Identity::default() } };
    let provider = Provider { head: with_key("11.222.333/0001-81"), branches: vec![branch, company], ..Provider::default() };
    let circumstances = Circumstances { today, provider: &provider, totals: Some(totals), renegotiated_to: None };
    filling.render(&Facts { customer: &customer, invoice: Some(&invoice), circumstances })
}

fn of_payment(means: PaymentMeans, amount: AmountUnit) -> Filling {
    Filling::of("", Some(PaymentTerms { means, amount }), None).expect("no variables")
}

fn pix(change: impl Fn(&mut Invoice)) -> Result<PaymentCode, RenderError> {
    filled(&of_payment(PaymentMeans::Pix, AmountUnit::Centavos), change)
        .map(|filled| filled.values.payment().expect("a payment").code.clone())
}

#[test]
fn a_static_code_says_whose_account_it_is_and_a_dynamic_ones_key_is_the_configurations() {
    #[track_caller]
    fn check(code: &str, branch: &str, kind: PixKeyKind, key: &str) {
        let expected = PaymentCode::Pix {
            code: code.into(),
            merchant_name: "Fulano de Tal".into(),
            key: PixKey::parse(kind, key).expect("a key"),
        };
        let rendered = pix(|invoice| {
            invoice.pix_code = format!(" {code}\n");
            invoice.branch_id = branch.into();
        });
        assert_eq!(rendered, Ok(expected), "branch {branch:?}");
    }
    check(STATIC, "2", PixKeyKind::Evp, "123e4567-e12b-12d1-a456-426655440000");
    check(DYNAMIC, "", PixKeyKind::Cnpj, "11222333000181");
    check(DYNAMIC, "1", PixKeyKind::Cnpj, "11222333000181");
    check(DYNAMIC, "2", PixKeyKind::Cnpj, "11222333000262");
    let of_another_company = pix(|invoice| {
        invoice.pix_code = DYNAMIC.into();
        invoice.branch_id = "3".into();
    });
    assert!(
        matches!(of_another_company, Err(RenderError::NoPixKey)),
        "nobody pays it to the provider's key: {of_another_company:?}"
    );
}

#[test]
fn a_payment_that_cannot_be_made_is_never_sent() {
    let boleto = |line: &str| {
        filled(&of_payment(PaymentMeans::Boleto, AmountUnit::Centavos), |invoice| invoice.digitable_line = line.into())
    };
    assert_eq!(pix(|invoice| invoice.pix_code = String::new()), Err(RenderError::Empty(Variable::PixCode)));
    let damaged = STATIC.replace("Fulano", "Sicrano");
    assert_eq!(pix(|invoice| invoice.pix_code.clone_from(&damaged)), Err(RenderError::InvalidPaymentCode(Variable::PixCode)));
    assert_eq!(boleto(""), Err(RenderError::Empty(Variable::DigitableLine)));
    let damaged = "00190.50095 40144.816069 06809.350314 3 37370000000101";
    assert_eq!(boleto(damaged), Err(RenderError::InvalidPaymentCode(Variable::DigitableLine)));
    for nothing in [0, -1] {
        assert_eq!(pix(|invoice| invoice.open_amount = Centavos(nothing)), Err(RenderError::Empty(Variable::InvoiceOpenAmount)));
    }
    let keyless = of_payment(PaymentMeans::Pix, AmountUnit::Centavos);
    let today = "2026-03-09".parse().expect("a date");
    let Sample { customer, mut invoice, .. } = sample(today);
    invoice.pix_code = DYNAMIC.into();
    let circumstances = Circumstances { today, provider: &Provider::default(), totals: None, renegotiated_to: None };
    let facts = Facts { customer: &customer, invoice: Some(&invoice), circumstances };
    assert_eq!(keyless.render(&facts), Err(RenderError::NoPixKey));
    assert_eq!(SkipReason::from(RenderError::NoPixKey), SkipReason::MissingValue);
    let of_customer = Facts { invoice: None, ..facts };
    assert_eq!(keyless.render(&of_customer), Err(RenderError::Empty(Variable::InvoiceOpenAmount)), "not about an invoice");
}

#[test]
fn a_boletos_line_is_its_digits_alone() {
    let values = filled(&of_payment(PaymentMeans::Boleto, AmountUnit::Reais), |_| {}).map(|filled| filled.values);
    let code = PaymentCode::Boleto { digitable_line: "00190500954014481606906809350314337370000000100".into() };
    assert_eq!(values, Ok(Values::Payment(Box::new(Payment { amount: Centavos(12_300), unit: AmountUnit::Reais, code }))));
}

#[test]
fn the_amount_is_what_is_owed_in_the_unit_that_the_configuration_says() {
    #[track_caller]
    fn check(centavos: i64, in_centavos: &str, in_reais: &str) {
        for (unit, expected) in [(AmountUnit::Centavos, in_centavos), (AmountUnit::Reais, in_reais)] {
            let filled = filled(&of_payment(PaymentMeans::Boleto, unit), |invoice| {
                invoice.open_amount = Centavos(centavos);
                invoice.amount = Centavos(999_999);
            });
            assert_eq!(filled.expect("it can be paid").values.payment().expect("a payment").amount_text(), expected);
        }
    }
    check(12_300, "12300", "123.00");
    check(5, "5", "0.05");
    check(123_456_790, "123456790", "1234567.90");
}

#[test]
fn a_payment_asks_the_erp_for_what_it_needs_and_for_nothing_else() {
    let variables = |means| of_payment(means, AmountUnit::Centavos).variables().collect::<Vec<_>>();
    assert_eq!(variables(PaymentMeans::Pix), [Variable::InvoiceOpenAmount, Variable::PixCode]);
    assert_eq!(variables(PaymentMeans::Boleto), [Variable::InvoiceOpenAmount, Variable::DigitableLine]);
    let media = Filling::of("#cliente_razao#", None, Some(Media::OfInvoice)).expect("variables");
    assert_eq!(media.variables().collect::<Vec<_>>(), [Variable::CustomerName, Variable::InvoiceLink]);
}

#[test]
fn the_media_is_the_invoices_link_or_one_for_all() {
    let media = |text: &str, link: &str| {
        let filling = Filling::of("", None, Some(Media::parse(text).expect("media"))).expect("no variables");
        filled(&filling, |invoice| invoice.payment_link = link.into()).map(|filled| filled.media)
    };
    let link = "https://pague.example.com/b/10.pdf?t=a%2Cb";
    assert_eq!(media("#areceber_link#", &format!(" {link} ")), Ok(Some(link.to_owned())));
    assert_eq!(media(" # Areceber_Link_Pagamento # ", link), Ok(Some(link.to_owned())));
    assert_eq!(media("https://provedor.example/logo.png", link), Ok(Some("https://provedor.example/logo.png".to_owned())));
    assert_eq!(media("#areceber_link#", "  "), Err(RenderError::Empty(Variable::InvoiceLink)));
    assert_eq!(media("#areceber_link#", "http://pague.example.com"), Err(RenderError::InvalidMedia(MediaFault::NotHttps)));
    assert_eq!(SkipReason::from(RenderError::InvalidMedia(MediaFault::NotHttps)), SkipReason::InvalidMedia);
    assert!(SkipReason::InvalidMedia.is_revivable());
}

#[test]
fn only_an_address_that_the_platform_can_fetch_is_one() {
    #[track_caller]
    fn check(text: &str, fault: MediaFault) {
        assert_eq!(Media::parse(text), Err(fault), "{text:?}");
    }
    for text in [
        "",
        "boleto.pdf",
        "/boleto.pdf",
        "https://",
        "#cliente_razao#",
        "#nada#",
        "##",
        "https://a.example/x y",
        "a #areceber_link#",
    ] {
        check(text, MediaFault::Malformed);
    }
    for text in ["http://a.example/x", "ftp://a.example/x", "file:///etc/passwd", "data:,x", "javascript:alert(1)"] {
        check(text, MediaFault::NotHttps);
    }
    check("https://user:secret@a.example/x", MediaFault::Credentials);
    for text in ["https://localhost/x", "https://192.168.0.1/x", "https://10.1.1.1/x", "https://[::1]/x", "https://servidor/x"] {
        check(text, MediaFault::PrivateHost);
    }
    let long = |length: usize| format!("https://a.example/{}", "x".repeat(length - "https://a.example/".len()));
    check(&long(URL_BYTES_MAX + 1), MediaFault::TooLong);
    assert!(Media::parse(&long(URL_BYTES_MAX)).is_ok());
}

#[test]
fn a_pix_key_has_the_form_of_its_kind() {
    #[track_caller]
    fn check(kind: PixKeyKind, text: &str, key: Option<&str>) {
        assert_eq!(PixKey::parse(kind, text).ok().as_ref().map(PixKey::as_str), key, "{kind} {text:?}");
    }
    check(PixKeyKind::Cpf, " 123.456.789-09 ", Some("12345678909"));
    check(PixKeyKind::Cpf, "123.456.789-08", None);
    check(PixKeyKind::Cpf, "11.222.333/0001-81", None);
    check(PixKeyKind::Cnpj, "11.222.333/0001-81", Some("11222333000181"));
    check(PixKeyKind::Cnpj, "12.abc.345/01DE-35", Some("12ABC34501DE35"));
    check(PixKeyKind::Cnpj, "123.456.789-09", None);
    check(PixKeyKind::Phone, "+55 (11) 98765-4321", Some("+5511987654321"));
    check(PixKeyKind::Phone, "11987654321", None);
    check(PixKeyKind::Phone, "+0551198765432", None);
    check(PixKeyKind::Phone, "+55119", None);
    check(PixKeyKind::Email, "Pix@Provedor.com.br", Some("pix@provedor.com.br"));
    for wrong in [
        "pix",
        "pix@",
        "@provedor.com",
        "pix@provedor",
        "p ix@provedor.com",
        "pix@a@b.com",
        "pix@b..com",
        &format!("{}@b.com", "x".repeat(72)),
    ] {
        check(PixKeyKind::Email, wrong, None);
    }
    check(PixKeyKind::Evp, "123E4567-e12b-12d1-a456-426655440000", Some("123e4567-e12b-12d1-a456-426655440000"));
    check(PixKeyKind::Evp, "123e4567e12b12d1a456426655440000", None);
    check(PixKeyKind::Evp, "123e4567-e12b-12d1-a456-42665544000g", None);
    assert_eq!(PixKey::of_code("chave"), None);
}

proptest! {
    #[test]
    fn no_text_is_a_key_of_two_kinds(text in prop_oneof!["[0-9]{11}", "[0-9]{14}", "\\+[0-9]{12,15}", "[a-z0-9@.+-]{1,40}", "\\PC{0,40}"]) {
        prop_assert!(PixKeyKind::ALL.iter().filter(|kind| PixKey::parse(**kind, &text).is_ok()).count() <= 1);
    }

    #[test]
    fn a_key_that_was_read_reads_to_itself(text in "\\+55[1-9]{11}") {
        let key = PixKey::of_code(&text).expect("a phone");
        prop_assert_eq!(PixKey::parse(key.kind(), key.as_str()), Ok(key));
    }
}

fn rendered(values: Values, media: Option<&str>) -> Rendered {
    Rendered {
        phone: "+5511987654321".into(),
        phone_key: "1187654321".into(),
        provider_channel_id: "64f1c0de0a1b2c3d4e5f6001".into(),
        template_id: "64f1c0de0a1b2c3d4e5f7001".into(),
        values,
        media: media.map(str::to_owned),
        amount: Centavos(10_000),
        redirected: false,
    }
}

fn by_position(values: &[&str]) -> Values {
    Values::ByPosition(values.iter().map(ToString::to_string).collect())
}

/// Reckoned with another program from the fields that there were before payments: an upgrade renders no waiting message again.
#[test]
fn a_message_without_payment_and_media_has_the_version_that_it_always_had() {
    assert_eq!(rendered(by_position(&["Maria", "R$100,00"]), None).facts_version(), "877db8df76aa078d");
}

#[test]
fn whatever_the_customer_would_read_or_pay_otherwise_is_another_version() {
    let key = |text| PixKey::of_code(text).expect("a key");
    let pix = |amount, unit, code: &str, name: &str, key| {
        let code = PaymentCode::Pix { code: code.into(), merchant_name: name.into(), key };
        Values::Payment(Box::new(Payment { amount: Centavos(amount), unit, code }))
    };
    let boleto = |line: &str| {
        let code = PaymentCode::Boleto { digitable_line: line.into() };
        Values::Payment(Box::new(Payment { amount: Centavos(100), unit: AmountUnit::Centavos, code }))
    };
    let all = [
        rendered(by_position(&[]), None),
        rendered(by_position(&[]), Some("https://a.example/1")),
        rendered(by_position(&[]), Some("https://a.example/2")),
        rendered(by_position(&["https://a.example/1"]), None),
        rendered(by_position(&["media", "https://a.example/1"]), None),
        rendered(by_position(&["payment", "100", "boleto", "1"]), None),
        rendered(boleto("1"), None),
        rendered(boleto("2"), None),
        rendered(boleto("1"), Some("https://a.example/1")),
        rendered(pix(100, AmountUnit::Centavos, "c", "n", key("12345678909")), None),
        rendered(pix(101, AmountUnit::Centavos, "c", "n", key("12345678909")), None),
        rendered(pix(100, AmountUnit::Reais, "c", "n", key("12345678909")), None),
        rendered(pix(100, AmountUnit::Centavos, "d", "n", key("12345678909")), None),
        rendered(pix(100, AmountUnit::Centavos, "c", "m", key("12345678909")), None),
        rendered(pix(100, AmountUnit::Centavos, "c", "n", key("11222333000181")), None),
    ];
    let versions: std::collections::BTreeSet<String> = all.iter().map(Rendered::facts_version).collect();
    assert_eq!(versions.len(), all.len());
}

#[test]
fn texts_are_kept_as_the_list_that_they_always_were_or_as_an_object() {
    let list = serde_json::json!(["Maria", "R$100,00"]);
    assert_eq!(serde_json::to_value(by_position(&["Maria", "R$100,00"])).expect("JSON"), list);
    assert_eq!(serde_json::from_value::<Values>(list).expect("a list"), by_position(&["Maria", "R$100,00"]));
    for means in PaymentMeans::ALL {
        let values = filled(&of_payment(*means, AmountUnit::Reais), |_| {}).expect("it can be paid").values;
        let kept = serde_json::to_value(&values).expect("JSON");
        assert!(kept.is_object(), "{kept}");
        assert_eq!(serde_json::from_value::<Values>(kept).expect("an object"), values);
    }
}
