//! What is refused of who sends, of payments and of a header's media.

use crate::refusals::refused_text;
use crate::{VALID, parse};
use regua_domain::configuration::Fault;
use regua_domain::media::Media;
use regua_domain::payment::{AmountUnit, PaymentMeans, PaymentTerms};
use regua_domain::stage::Stage;

#[test]
fn the_provider_and_its_branches_are_checked() {
    #[track_caller]
    fn check(sections: &str, marker: &str, field: &str, value: &str, mend: &str) {
        refused_text(&VALID.replacen("[[notice]]", &format!("{sections}\n[[notice]]"), 1), marker, field, value, mend);
    }
    check(
        "[provider]\ntax_id = \"11.222.333/0001-80\"",
        "tax_id =",
        "provider.tax_id",
        "\"11.222.333/0001-80\"",
        "12.345.678/0001-95",
    );
    check("[provider]\ncnpj = \"1\"", "cnpj =", "provider.cnpj", "", "leave it out");
    check("[provider]\nname = \"\"", "name = \"\"", "provider.name", "\"\"", "1 to 500 characters");
    check("[provider]\ndays_late_from = \"monday\"", "days_late_from", "provider.days_late_from", "\"monday\"", "business-day");
    check("[[branch]]\nname = \"Filial\"", "[[branch]]", "branch[1].id", "", "filial_id");
    check("[[branch]]\nid = 2\n[[branch]]\nid = \"2\"", "id = \"2\"", "branch[2].id", "\"2\"", "name of its own");
    check("[branch]\nid = 2", "[branch]", "branch", "[branch]", "two brackets");
}

#[test]
fn what_a_notice_says_of_the_provider_must_be_said_in_the_file() {
    let notice = VALID.replacen("#cliente_razao#,#areceber_valor#", "#cliente_razao#,#empresa_cnpj#", 1);
    let value = "\"#cliente_razao#,#empresa_cnpj#\"";
    let fault = refused_text(&notice, "variables =", "notice[1].variables", value, "tax_id = \"…\" in [provider]");
    assert!(matches!(fault, Fault::ProviderUnknown(_)));
    for said in ["[provider]\ntax_id = \"11222333000181\"", "[[branch]]\nid = 2\ntax_id = \"11222333000181\""] {
        let (read, _) = parse(&format!("{notice}\n{said}\n")).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(read.provider.names(regua_domain::provider::IdentityField::TaxId), "{said}");
    }
}

/// A notice with these lines in place of its variables, of a provider with a Pix key.
fn with_notice(lines: &str) -> String {
    let notice = VALID.replacen("variables = \"#cliente_razao#,#areceber_valor#\"", lines, 1);
    let notice = notice.replacen("stage = \"settled\"\nnotice = \"Lembrete\"\nenabled = false", "", 1).replacen(
        "[[policy.stage]]\n\n",
        "",
        1,
    );
    format!("{notice}\n[provider]\npix_key = \"pix@provedor.example\"\npix_key_type = \"email\"\n")
}

#[test]
fn a_payment_is_said_whole_and_its_unit_is_never_guessed() {
    let read = |lines: &str| parse(&with_notice(lines)).unwrap_or_else(|errors| panic!("{errors}")).0.notices.remove(0);
    let pix = read("payment = \"pix\"\npayment_amount = \"reais\"\nmedia = \"#areceber_link#\"");
    assert_eq!(pix.payment, Some(PaymentTerms { means: PaymentMeans::Pix, amount: AmountUnit::Reais }));
    assert_eq!((pix.variables.as_str(), pix.media), ("", Some(Media::OfInvoice)));
    assert_eq!(read("payment = \"boleto\"\npayment_amount = \"centavos\"\nvariables = \"\"").media, None);

    let fault =
        refused_text(&with_notice("payment = \"pix\""), "[[notice]]", "notice[1].payment_amount", "", "`regua notice test`");
    assert_eq!(fault, Fault::NoPaymentAmount);
    let wrong = with_notice("payment = \"pixx\"\npayment_amount = \"reais\"");
    refused_text(&wrong, "payment =", "notice[1].payment", "\"pixx\"", "write \"pix\"");
    let wrong = with_notice("payment = \"pix\"\npayment_amount = \"reals\"");
    refused_text(&wrong, "payment_amount =", "notice[1].payment_amount", "\"reals\"", "write \"reais\"");
    refused_text(&with_notice("payment_amount = \"reais\""), "[[notice]]", "notice[1].payment", "", "payment = \"pix\" or");
    let both = with_notice("payment = \"pix\"\npayment_amount = \"reais\"\nvariables = \"#cliente_razao#\"");
    refused_text(&both, "variables =", "notice[1].variables", "\"#cliente_razao#\"", "leave out this or payment");
}

#[test]
fn a_pix_payment_needs_the_key_of_its_account() {
    let pix = with_notice("payment = \"pix\"\npayment_amount = \"reais\"");
    let provider = |lines: &str| pix.replace("pix_key = \"pix@provedor.example\"\npix_key_type = \"email\"", lines);
    let fault = refused_text(&provider(""), "payment =", "notice[1].payment", "\"pix\"", "pix_key_type = \"cnpj\" in [provider]");
    assert_eq!(fault, Fault::NoPixKey);
    parse(&provider("[[branch]]\nid = 2\npix_key = 12345678909\npix_key_type = \"cpf\"")).expect("a branch has one");
    parse(&with_notice("payment = \"boleto\"\npayment_amount = \"reais\"").replace("pix_key", "#pix_key"))
        .expect("a boleto needs none");
    refused_text(&provider("pix_key = \"1\""), "[provider]", "provider.pix_key_type", "", "pix_key_type = \"cnpj\"");
    refused_text(&provider("pix_key_type = \"evp\""), "[provider]", "provider.pix_key", "", "the key of the account");
    let key = |kind: &str, key: &str, mend: &str| {
        let text = provider(&format!("pix_key = \"{key}\"\npix_key_type = \"{kind}\""));
        refused_text(&text, "pix_key =", "provider.pix_key", &format!("\"{key}\""), mend);
    };
    key("cpf", "123.456.789-08", "right check digits");
    key("cnpj", "123.456.789-09", "like \"12.345.678/0001-95\"");
    key("phone", "(49) 98765-4321", "+5511987654321");
    key("email", "pix", "an e-mail");
    key("evp", "123", "32 hexadecimal digits");
    let kind = provider("pix_key = \"1\"\npix_key_type = \"celular\"");
    refused_text(&kind, "pix_key_type =", "provider.pix_key_type", "\"celular\"", "one of cpf, cnpj, phone, email, evp");
}

#[test]
fn a_payment_is_asked_for_only_while_the_invoice_is_owed() {
    let pix = with_notice("payment = \"boleto\"\npayment_amount = \"reais\"");
    for stage in ["settled", "cancelled", "renegotiated"] {
        let text = pix.replacen(
            "[[task]]",
            &format!("[[policy.stage]]\nstage = \"{stage}\"\nnotice = \"Lembrete\" # here\n[[task]]"),
            1,
        );
        let fault =
            refused_text(&text, "notice = \"Lembrete\" # here", "policy[1].stage[3].notice", "\"Lembrete\"", "without payment");
        assert_eq!(fault, Fault::PaymentAtEvent(Stage::parse(stage).expect("a stage")));
    }
}

#[test]
fn a_headers_media_is_an_address_or_the_invoices_link() {
    let media = |value: &str, mend: &str| {
        let text = with_notice(&format!("media = \"{value}\""));
        let shown = if value.contains('@') { format!("({} characters)", value.len() + 2) } else { format!("\"{value}\"") };
        refused_text(&text, "media =", "notice[1].media", &shown, mend);
    };
    media("http://a.example/x.pdf", "write #areceber_link#, or an https address");
    media("#areceber_lnk#", "write #areceber_link#");
    media("https://u:p@a.example/x.pdf", "https address");
    let of_customer = with_notice("media = \"#areceber_link#\"");
    let stage = "[[policy.stage]]\nstage = \"bureau_removed\"\nnotice = \"Lembrete\" # here\n[[task]]";
    let text = of_customer.replacen("[[task]]", stage, 1);
    refused_text(&text, "notice = \"Lembrete\" # here", "policy[1].stage[3].notice", "\"Lembrete\"", "without #areceber_link#");
}

/// A process that starts again with the file of before an upgrade must not take it for another one.
#[test]
fn a_configuration_that_uses_neither_payments_nor_media_is_kept_as_it_always_was() {
    let kept = serde_json::to_string(&parse(VALID).expect("right").0).expect("JSON");
    for key in ["\"payment\"", "\"media\"", "\"pix_key\""] {
        assert!(!kept.contains(key), "{key}: {kept}");
    }
}
