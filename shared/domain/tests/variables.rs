//! Variables of a notice: what is understood, what is written, and the seed's example to its letter.

use chrono::NaiveDate;
use proptest::prelude::*;
use regua_domain::ids::{CustomerId, InvoiceId};
use regua_domain::message::SkipReason;
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_domain::payment_codes::CODE_BYTES_MAX;
use regua_domain::provider::{Branch, DaysLateFrom, Identity, Provider};
use regua_domain::variables::{
    Circumstances, Entry, Facts, RenderError, Totals, VALUE_CHARS_MAX, Variable, VariablesError, fill, parse, placeholders,
    render, repeats_a_placeholder,
};

/// BACEN, "Manual de Padrões para Iniciação do Pix", section 2: static, without an amount.
const PIX_STATIC: &str = "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***63041D3D";
/// The same section: static, of R$100,50.
const PIX_STATIC_100_50: &str = "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865406100.505802BR5913Fulano de Tal6008BRASILIA62070503***80740014br.gov.bcb.pix2552pix.example.com/rec/2353c790eefb11eaadc10242ac12000263042875";
/// The readme of the npm package `pixcode`: dynamic, of R$123,45.
const PIX_DYNAMIC_123_45: &str = "00020101021226720014br.gov.bcb.pix2550bx.com.br/pix/8b3da2f3-9a41-40d1-a91a-bd93113bd4415204000053039865406123.455802BR5913Fulano de Tal6008BRASILIA62190515RP12345678-2019630445C8";
/// Banco do Brasil's example of a boleto (its manual Doc5175Bloqueto.pdf).
const LINE: &str = "00190.50095 40144.816069 06809.350314 3 37370000000100";

fn customer() -> Customer {
    Customer {
        trade_name: "Padaria do João".to_owned(),
        tax_id: "123.456.789-09".to_owned(),
        person_type: "F".to_owned(),
        whatsapp: "11987654321".to_owned(),
        city: "São Paulo".to_owned(),
        state: "SP".to_owned(),
        branch_id: "1".to_owned(),
        customer_type_id: "1".to_owned(),
        ..Customer::new(CustomerId("1".to_owned()), "João da Silva")
    }
}

fn invoice() -> Invoice {
    Invoice {
        number: "4711".to_owned(),
        status: InvoiceStatus::Partial,
        open_amount: Centavos(123_456),
        issued_on: NaiveDate::from_ymd_opt(2023, 7, 1),
        branch_id: "1".to_owned(),
        portfolio_id: "1".to_owned(),
        contract_id: "815".to_owned(),
        receipt_type: "Boleto".to_owned(),
        digitable_line: LINE.to_owned(),
        pix_code: PIX_STATIC.to_owned(),
        payment_link: "https://pague.example/10".to_owned(),
        ..Invoice::open(
            InvoiceId("10".to_owned()),
            CustomerId("1".to_owned()),
            Centavos(12_300),
            NaiveDate::from_ymd_opt(2023, 7, 19).expect("a day"),
        )
    }
}

fn provider() -> Provider {
    let head = Identity {
        name: "Provedor de Teste Ltda".to_owned(),
        trade_name: "TesteNet".to_owned(),
        tax_id: "11.222.333/0001-81".to_owned(),
        address: "Rua das Flores, 10, Chapecó".to_owned(),
        phone: "0800 000 0000".to_owned(),
        pix_key: None,
    };
    let branch = Branch { id: "2".to_owned(), identity: Identity { phone: "(49) 3322-0000".to_owned(), ..Identity::default() } };
    Provider { head, branches: vec![branch], days_late_from: DaysLateFrom::BusinessDay }
}

/// A Tuesday, six days after the invoice's due date.
fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2023, 7, 25).expect("a day")
}

const TOTALS: Totals = Totals { open_amount: Centavos(246_912), invoices: 2 };

fn rendered(entries: &[Entry], customer: &Customer, invoice: &Invoice) -> Result<Vec<String>, RenderError> {
    let circumstances = Circumstances {
        today: today(),
        provider: &provider(),
        totals: Some(TOTALS),
        renegotiated_to: NaiveDate::from_ymd_opt(2026, 12, 10),
    };
    render(entries, &Facts { customer, invoice: Some(invoice), circumstances })
}

fn written(field: &str, customer: &Customer, invoice: &Invoice) -> Result<Vec<String>, RenderError> {
    rendered(&parse(field).expect("the field is understood"), customer, invoice)
}

#[track_caller]
fn check(field: &str, values: &[&str]) {
    assert_eq!(written(field, &customer(), &invoice()), Ok(values.iter().map(ToString::to_string).collect()), "{field:?}");
}

#[track_caller]
fn check_refused(field: &str, error: &VariablesError) {
    assert_eq!(parse(field).as_ref(), Err(error), "{field:?}");
}

#[test]
fn the_seeds_example_reads_to_its_letter() {
    let template = "Olá {{1}}! Sua fatura com valor {{2}} e com data de vencimento {{3}} já se encontra disponível.";
    let values = written("#cliente_razao#,#areceber_valor#,#areceber_data_vencimento#", &customer(), &invoice())
        .expect("every fact is there");
    assert_eq!(placeholders(template), values.len());
    assert_eq!(
        fill(template, &values),
        "Olá João da Silva! Sua fatura com valor R$123,00 e com data de vencimento 19/07/2023 já se encontra disponível."
    );
}

#[test]
fn every_variable_has_its_value() {
    let values = [
        ("#cliente_razao#", "João da Silva"),
        ("#cliente_fantasia#", "Padaria do João"),
        ("#cliente_primeiro_nome#", "João"),
        ("#cliente_cnpj_cpf#", "***.456.789-**"),
        ("#cliente_cidade#", "São Paulo"),
        ("#cliente_uf#", "SP"),
        ("#areceber_numero#", "4711"),
        ("#areceber_valor#", "R$123,00"),
        ("#areceber_valor_aberto#", "R$1.234,56"),
        ("#areceber_data_emissao#", "01/07/2023"),
        ("#areceber_data_vencimento#", "19/07/2023"),
        ("#areceber_dias_atraso#", "6"),
        ("#areceber_link#", "https://pague.example/10"),
        ("#linha_digitavel#", LINE),
        ("#pix_copia_e_cola#", PIX_STATIC),
        ("#contrato_numero#", "815"),
        ("#total_em_aberto#", "R$2.469,12"),
        ("#quantidade_titulos#", "2"),
        ("#empresa_razao#", "Provedor de Teste Ltda"),
        ("#empresa_fantasia#", "TesteNet"),
        ("#empresa_cnpj#", "11.222.333/0001-81"),
        ("#empresa_endereco#", "Rua das Flores, 10, Chapecó"),
        ("#empresa_telefone#", "0800 000 0000"),
    ];
    for (field, value) in values {
        check(field, &[value]);
    }
    assert_eq!(Variable::ALL.len(), values.len() + 1, "all but the one below");
    let (customer, entries) = (customer(), parse("#Renegociacao_Vencimento#").expect("it is known"));
    let renegotiated_to = NaiveDate::from_ymd_opt(2026, 12, 10);
    let circumstances = Circumstances { today: today(), provider: &provider(), totals: None, renegotiated_to };
    let of_customer = Facts { customer: &customer, invoice: None, circumstances };
    assert_eq!(render(&entries, &of_customer), Ok(vec!["10/12/2026".to_owned()]));
    let (empty, nothing) = (parse("#areceber_valor#").expect("known"), RenderError::Empty(Variable::InvoiceAmount));
    assert_eq!(render(&empty, &of_customer), Err(nothing), "a customer as such has no invoice");
}

#[test]
fn a_variable_has_one_meaning_under_each_of_its_names_in_any_case() {
    let mut seen = std::collections::BTreeMap::new();
    for variable in Variable::ALL.iter().copied() {
        for name in [&[variable.as_str()], variable.aliases()].concat() {
            assert_eq!(Variable::parse(&name.to_uppercase()), Some(variable), "{name}");
            assert_eq!(seen.insert(name, variable), None, "{name} is twice");
        }
    }
    check("#cliente_CNPJ_CPF#", &["***.456.789-**"]);
    check("#areceber_linha_digitavel#", &[LINE]);
}

#[test]
fn a_company_is_masked_too_and_what_has_no_form_is_missing() {
    let with = |tax_id: &str| Customer { tax_id: tax_id.to_owned(), ..customer() };
    let written = |tax_id: &str| written("#cliente_cnpj_cpf#", &with(tax_id), &invoice());
    assert_eq!(written("11222333000181"), Ok(vec!["**.222.333/0001-**".to_owned()]));
    assert_eq!(written("123"), Err(RenderError::Empty(Variable::CustomerTaxId)));
}

#[test]
fn a_place_that_the_erp_gives_as_an_id_is_missing() {
    let customer = Customer { city: "3828".to_owned(), state: "24".to_owned(), ..customer() };
    assert_eq!(written("#cliente_cidade#", &customer, &invoice()), Err(RenderError::Empty(Variable::CustomerCity)));
    assert_eq!(written("#cliente_uf#", &customer, &invoice()), Err(RenderError::Empty(Variable::CustomerState)));
}

#[test]
fn the_invoices_branch_speaks_for_itself_and_without_one_the_customers() {
    let branch = |id: &str| Invoice { branch_id: id.to_owned(), ..invoice() };
    let customer = Customer { branch_id: "2".to_owned(), ..customer() };
    for (id, phone) in [("2", "(49) 3322-0000"), ("1", "0800 000 0000"), ("", "(49) 3322-0000")] {
        assert_eq!(written("#empresa_telefone#", &customer, &branch(id)), Ok(vec![phone.to_owned()]), "branch {id:?}");
    }
    assert_eq!(written("#empresa_razao#", &customer, &branch("2")), Ok(vec!["Provedor de Teste Ltda".to_owned()]));
}

/// Writes a Pix code for an invoice over R$100,50, and says how it went.
fn pix(code: &str) -> Result<Vec<String>, RenderError> {
    let invoice = Invoice { pix_code: code.to_owned(), open_amount: Centavos(10_050), ..invoice() };
    written("#pix_copia_e_cola#", &customer(), &invoice)
}

#[test]
fn a_pix_code_is_sent_letter_for_letter_when_it_is_whole_and_asks_for_what_is_owed() {
    for code in [PIX_STATIC, PIX_STATIC_100_50, PIX_DYNAMIC_123_45] {
        assert_eq!(pix(code), Ok(vec![code.to_owned()]));
        assert_eq!(pix(&format!(" {code}\n")), Ok(vec![code.to_owned()]));
    }
}

#[test]
fn a_pix_code_that_cannot_be_paid_is_never_sent() {
    let invalid = Err(RenderError::InvalidPaymentCode(Variable::PixCode));
    for code in
        ["000201", "txid-123", &PIX_STATIC[..100], &PIX_STATIC.replace("Fulano", "Sicrano"), &PIX_STATIC.replace("1D3D", "1D3E")]
    {
        assert_eq!(pix(code), invalid, "{code:?}");
    }
    // R$100,50 of another charge, or from before a part was paid.
    let other = Invoice { pix_code: PIX_STATIC_100_50.to_owned(), open_amount: Centavos(10_049), ..invoice() };
    assert_eq!(written("#pix_copia_e_cola#", &customer(), &other), invalid);
    assert_eq!(pix(" \t"), Err(RenderError::Empty(Variable::PixCode)));
}

#[test]
fn the_longest_pix_code_fits_with_words_around_it() {
    const { assert!(VALUE_CHARS_MAX >= CODE_BYTES_MAX + 100) };
    check("Pague com Pix: #pix_copia_e_cola# (válido hoje)", &[&format!("Pague com Pix: {PIX_STATIC} (válido hoje)")]);
}

#[test]
fn a_digitable_line_is_sent_only_with_every_check_digit_right() {
    let line = |line: &str| written("#linha_digitavel#", &customer(), &Invoice { digitable_line: line.to_owned(), ..invoice() });
    let digits: String = LINE.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(line(&digits), Ok(vec![LINE.to_owned()]), "digits alone are grouped");
    for place in 0..digits.len() {
        let other = if &digits[place..=place] == "7" { "2" } else { "7" };
        let wrong = format!("{}{other}{}", &digits[..place], &digits[place + 1..]);
        assert_eq!(line(&wrong), Err(RenderError::InvalidPaymentCode(Variable::DigitableLine)), "{wrong}");
    }
    for wrong in ["123", "00190.00009 01234.567890", &digits[..44]] {
        assert_eq!(line(wrong), Err(RenderError::InvalidPaymentCode(Variable::DigitableLine)), "{wrong}");
    }
    assert_eq!(line(""), Err(RenderError::Empty(Variable::DigitableLine)));
}

#[test]
fn a_code_that_is_there_but_wrong_is_told_apart_from_one_that_is_missing() {
    assert_eq!(SkipReason::from(RenderError::InvalidPaymentCode(Variable::PixCode)), SkipReason::InvalidPaymentCode);
    assert_eq!(SkipReason::from(RenderError::Empty(Variable::PixCode)), SkipReason::MissingValue);
    assert!(SkipReason::InvalidPaymentCode.is_revivable());
}

#[test]
fn entries_mix_text_and_variables_in_any_case() {
    check("", &[]);
    check("  ", &[]);
    check(" #Cliente_Razao# , #ARECEBER_VALOR# ", &["João da Silva", "R$123,00"]);
    check("Olá #cliente_primeiro_nome#!,vence em #areceber_data_vencimento#", &["Olá João!", "vence em 19/07/2023"]);
    check("#areceber_valor# (#areceber_numero#)", &["R$123,00 (4711)"]);
    check("# areceber_valor #", &["R$123,00"]);
    check("apenas texto", &["apenas texto"]);
}

#[test]
fn a_backslash_makes_a_sign_plain() {
    check(r"Rua das Flores\, 10,#areceber_numero#", &["Rua das Flores, 10", "4711"]);
    check(r"fatura \##areceber_numero#", &["fatura #4711"]);
    check(r"a\\,b", &[r"a\", "b"]);
    check(r"a\b\", &[r"a\b\"]);
}

#[test]
fn a_field_that_is_not_understood_names_the_entry_and_the_mend() {
    let unknown = |entry, name: &str, nearest| VariablesError::Unknown { entry, name: name.to_owned(), nearest };
    check_refused("#cliente_razão#", &unknown(1, "cliente_razão", Variable::CustomerName));
    check_refused("#areceber_valor#,#vencimento#", &unknown(2, "vencimento", Variable::InvoiceDueOn));
    check_refused("#areceber_valr#", &unknown(1, "areceber_valr", Variable::InvoiceAmount));
    check_refused("##", &unknown(1, "", Variable::CustomerName));
    for (field, entry) in [("#areceber_valor", 1), ("a,b #", 2), ("#a#b#", 1)] {
        check_refused(field, &VariablesError::Unclosed { entry });
    }
    for (field, entry) in [("a,,b", 2), (",", 1), ("a,", 2), ("a, \t", 2)] {
        check_refused(field, &VariablesError::EmptyEntry { entry });
    }
    let error = parse("#vencimento#").expect_err("not a variable").to_string();
    assert!(error.contains("#areceber_data_vencimento#"), "{error}");
}

#[test]
fn a_value_is_cleaned_as_the_platform_demands() {
    #[track_caller]
    fn check(name: &str, value: &str) {
        let customer = Customer { name: name.to_owned(), ..customer() };
        assert_eq!(written("#cliente_razao#", &customer, &invoice()), Ok(vec![value.to_owned()]), "{name:?}");
    }
    check("  Ana  ", "Ana");
    check("Ana\nSouza", "Ana Souza");
    check("Ana\tSouza\r\nLima", "Ana Souza  Lima");
    check("Ana   Souza", "Ana   Souza");
    check("Ana    Souza", "Ana Souza");
    check("Ana\u{a0}\u{a0}\u{a0}\u{a0}\u{a0}Souza", "Ana Souza");
    check("Ana\u{0}Souza\u{7}", "Ana Souza");
}

#[test]
fn spaces_that_only_meet_in_the_entry_are_cleaned_too() {
    let entry = "Sr.  \n #cliente_razao#";
    check(entry, &["Sr. João da Silva"]);
}

#[test]
fn a_variable_without_a_value_is_named_and_nothing_is_written() {
    #[track_caller]
    fn check(field: &str, variable: Variable) {
        let customer = Customer { name: " \n".to_owned(), trade_name: String::new(), ..customer() };
        let invoice = Invoice { pix_code: String::new(), payment_link: "\t".to_owned(), ..invoice() };
        assert_eq!(written(field, &customer, &invoice), Err(RenderError::Empty(variable)), "{field:?}");
    }
    check("#cliente_fantasia#", Variable::CustomerTradeName);
    check("#areceber_valor#,Pix: #pix_copia_e_cola#", Variable::PixCode);
    check("#areceber_link#", Variable::InvoiceLink);
    check("#cliente_primeiro_nome#", Variable::CustomerFirstName);
}

#[test]
fn a_long_value_is_refused_and_never_cut() {
    let exact = Customer { name: "ã".repeat(VALUE_CHARS_MAX), ..customer() };
    assert_eq!(written("#cliente_razao#", &exact, &invoice()), Ok(vec![exact.name.clone()]));
    let error = written("#areceber_valor#,#cliente_razao#!", &exact, &invoice());
    assert_eq!(error, Err(RenderError::TooLong { entry: 2, chars: VALUE_CHARS_MAX + 1 }));
}

#[test]
fn a_first_name_is_written_properly() {
    #[track_caller]
    fn check(name: &str, first: &str) {
        let customer = Customer { name: name.to_owned(), ..customer() };
        assert_eq!(written("#cliente_primeiro_nome#", &customer, &invoice()), Ok(vec![first.to_owned()]), "{name:?}");
    }
    check("JOÃO DA SILVA", "João");
    check("ângela maria", "Ângela");
    check("  ANA-MARIA LIMA", "Ana-Maria");
    check("D'AVILA SOUZA", "D'Avila");
    check("McArthur Lima", "McArthur");
    check("12 - JOSÉ", "José");
    check("Zé", "Zé");
    check("É", "É");
}

#[test]
fn placeholders_are_filled_in_order_of_appearance() {
    #[track_caller]
    fn check(template: &str, count: usize, filled: &str) {
        let values = ["um", "{{dois}}", "três"].map(str::to_owned);
        assert_eq!(placeholders(template), count, "{template:?}");
        assert_eq!(fill(template, &values), filled);
    }
    check("sem nada", 0, "sem nada");
    check("", 0, "");
    check("{{1}}", 1, "um");
    check("{{nome_cliente}}, {{ valor }} e {{vencimento}}.", 3, "um, {{dois}} e três.");
    check("{{2}} antes de {{1}}", 2, "um antes de {{dois}}");
    check("{{1}} e {{1}}", 1, "um e um");
    check("{{2}}, {{1}}, {{ 2 }}, {{3}}", 3, "um, {{dois}}, um, três");
    check("{{nome}} e {{nome}}", 2, "um e {{dois}}");
    check("{{1}}{{2}}{{3}}{{4}}", 4, "um{{dois}}três{{4}}");
    check("{{}} {{ }} {{1}} {1} }} {{", 1, "{{}} {{ }} um {1} }} {{");
    check("{{{1}}}", 1, "{um}");
    check("{{a {{b}} c}}", 1, "{{a um c}}");
}

#[test]
fn a_placeholder_that_appears_twice_is_seen() {
    assert!(repeats_a_placeholder("{{1}} e {{ 1 }}") && repeats_a_placeholder("{{nome}}, {{nome}}"));
    assert!(!repeats_a_placeholder("{{1}} e {{2}}") && !repeats_a_placeholder("nome nome"));
}

fn name() -> impl Strategy<Value = String> {
    "\\PC{0,60}|[ \\t\\n\\u{a0}a-zÁ]{0,60}"
}

proptest! {
    #[test]
    fn a_written_value_is_always_one_that_the_platform_takes(name in name(), text in "[ a-z\\t]{0,10}") {
        let customer = Customer { name, ..customer() };
        match written(&format!("{text}#cliente_razao#{text}"), &customer, &invoice()) {
            Ok(values) => {
                prop_assert_eq!(values.len(), 1);
                let value = &values[0];
                prop_assert!(!value.is_empty() && value.trim() == value);
                prop_assert!(!value.contains("    ") && !value.chars().any(char::is_control));
                prop_assert!(value.chars().count() <= VALUE_CHARS_MAX);
            }
            Err(error) => prop_assert_eq!(error, RenderError::Empty(Variable::CustomerName)),
        }
    }

    #[test]
    fn no_field_panics_and_each_entry_gives_one_value(field in "[#,\\\\ a-z_]{0,40}|(#areceber_valor#|,|x){0,9}") {
        if let Ok(entries) = parse(&field) {
            let values = rendered(&entries, &customer(), &invoice()).expect("every fact is there");
            prop_assert_eq!(values.len(), entries.len());
            prop_assert!(entries.iter().flat_map(Entry::variables).all(|variable| Variable::ALL.contains(&variable)));
        }
    }

    #[test]
    fn no_template_panics_and_filling_leaves_none_of_its_placeholders(template in "[{}a1 ]{0,40}") {
        let values = vec!["x".to_owned(); placeholders(&template)];
        let filled = fill(&template, &values);
        prop_assert_eq!(fill(&template, &[]), template);
        prop_assert!(filled.matches('x').count() >= values.len());
    }
}

/// CLDR's short date in `pt_BR`.
#[test]
fn dates_are_written_as_cldr_writes_them_in_brazil() {
    let table = include_str!("expectations/brl.tsv");
    let mut checked = 0;
    for row in table.lines().filter_map(|line| line.strip_prefix("date\t")) {
        let (day, expected) = row.split_once('\t').expect("two columns");
        let invoice = Invoice { due_on: day.parse().expect("a date"), ..invoice() };
        assert_eq!(written("#areceber_data_vencimento#", &customer(), &invoice), Ok(vec![expected.to_owned()]));
        checked += 1;
    }
    assert!(checked > 60);
}
