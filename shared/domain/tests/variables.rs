//! Variables of a notice: what is understood, what is written, and the seed's example to its letter.

use chrono::NaiveDate;
use proptest::prelude::*;
use regua_domain::ids::{CustomerId, InvoiceId};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_domain::variables::{
    Entry, Facts, RenderError, VALUE_CHARS_MAX, Variable, VariablesError, fill, parse, placeholders, render,
};

fn customer() -> Customer {
    Customer {
        id: CustomerId("1".to_owned()),
        name: "João da Silva".to_owned(),
        trade_name: "Padaria do João".to_owned(),
        tax_id: String::new(),
        person_type: "F".to_owned(),
        mobile_phone: String::new(),
        whatsapp: "11987654321".to_owned(),
        city: String::new(),
        state: "SP".to_owned(),
        branch_id: "1".to_owned(),
        customer_type_id: "1".to_owned(),
        takes_part_in_collection: true,
        takes_part_in_pre_due: true,
        days_before_collection: 0,
        negatively_listed: None,
    }
}

fn invoice() -> Invoice {
    Invoice {
        id: InvoiceId("10".to_owned()),
        customer_id: Some(CustomerId("1".to_owned())),
        number: "4711".to_owned(),
        status: InvoiceStatus::Partial,
        released: true,
        amount: Centavos(12_300),
        open_amount: Centavos(123_456),
        issued_on: None,
        due_on: NaiveDate::from_ymd_opt(2023, 7, 19).expect("a day"),
        paid_on: None,
        cancelled_on: None,
        branch_id: "1".to_owned(),
        portfolio_id: "1".to_owned(),
        contract_id: "1".to_owned(),
        contract_status: String::new(),
        notifies_overdue: true,
        no_notice_until: None,
        receipt_type: "Boleto".to_owned(),
        digitable_line: "00190.00009 01234.567890".to_owned(),
        pix_code: "00020126PIX".to_owned(),
        payment_link: "https://pague.example/10".to_owned(),
        awaiting_confirmation: false,
        reversed: false,
        protested: false,
        forecast: false,
        renegotiation_id: String::new(),
    }
}

fn written(field: &str, customer: &Customer, invoice: &Invoice) -> Result<Vec<String>, RenderError> {
    render(&parse(field).expect("the field is understood"), &Facts { customer, invoice: Some(invoice), renegotiated_to: None })
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
    for (field, value) in [
        ("#cliente_razao#", "João da Silva"),
        ("#cliente_fantasia#", "Padaria do João"),
        ("#cliente_primeiro_nome#", "João"),
        ("#areceber_numero#", "4711"),
        ("#areceber_valor#", "R$123,00"),
        ("#areceber_valor_aberto#", "R$1.234,56"),
        ("#areceber_data_vencimento#", "19/07/2023"),
        ("#areceber_link#", "https://pague.example/10"),
        ("#linha_digitavel#", "00190.00009 01234.567890"),
        ("#pix_copia_e_cola#", "00020126PIX"),
    ] {
        check(field, &[value]);
    }
    assert_eq!(Variable::ALL.len(), 11);
    let renegotiated_to = NaiveDate::from_ymd_opt(2026, 12, 10);
    let (customer, entries) = (customer(), parse("#Renegociacao_Vencimento#").expect("it is known"));
    let of_customer = Facts { customer: &customer, invoice: None, renegotiated_to };
    assert_eq!(render(&entries, &of_customer), Ok(vec!["10/12/2026".to_owned()]));
    let (empty, nothing) = (parse("#areceber_valor#").expect("known"), RenderError::Empty(Variable::InvoiceAmount));
    assert_eq!(render(&empty, &of_customer), Err(nothing), "a customer as such has no invoice");
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
    check("{{1}} e {{1}}", 2, "um e {{dois}}");
    check("{{1}}{{2}}{{3}}{{4}}", 4, "um{{dois}}três{{4}}");
    check("{{}} {{ }} {{1}} {1} }} {{", 1, "{{}} {{ }} um {1} }} {{");
    check("{{{1}}}", 1, "{um}");
    check("{{a {{b}} c}}", 1, "{{a um c}}");
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
            let values = render(&entries, &Facts { customer: &customer(), invoice: Some(&invoice()), renegotiated_to: NaiveDate::from_ymd_opt(2026, 12, 10) }).expect("every fact is there");
            prop_assert_eq!(values.len(), entries.len());
            prop_assert!(entries.iter().flat_map(Entry::variables).all(|variable| Variable::ALL.contains(&variable)));
        }
    }

    #[test]
    fn no_template_panics_and_filling_leaves_none_of_its_placeholders(template in "[{}a1 ]{0,40}") {
        let values = vec!["x".to_owned(); placeholders(&template)];
        let filled = fill(&template, &values);
        prop_assert_eq!(fill(&template, &[]), template);
        prop_assert!(filled.matches('x').count() == values.len());
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
