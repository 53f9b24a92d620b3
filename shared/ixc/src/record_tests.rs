//! What the mirror's records take from the ERP's columns.

use super::*;
use crate::columns::ColumnsSeed;
use chrono::NaiveDate;
use serde::de::DeserializeSeed;
use serde_json::{Value, json};

fn read<T: Record>(columns: &Value, origin: Origin) -> Result<T, FieldProblem> {
    let mut ignore = |_: &str| {};
    let columns = ColumnsSeed::new(&mut ignore).deserialize(columns).expect("an object");
    T::from_columns(&columns, origin)
}

fn invoice_columns() -> Value {
    json!({"id": "1", "id_cliente": "2", "status": "A", "liberado": "S", "valor": "10.00", "valor_aberto": "9.00", "data_vencimento": "2026-11-24"})
}

fn customer_columns() -> Value {
    json!({"id": 7, "razao": "Ana", "participa_cobranca": "S", "participa_pre_cobranca": "S", "uf": "0", "cidade": "3828"})
}

fn with(mut columns: Value, name: &str, value: Value) -> Value {
    columns[name] = value;
    columns
}

#[track_caller]
fn check_problem<T: Record + std::fmt::Debug>(columns: &Value, origin: Origin, field: &str, shape: &str) {
    let problem = read::<T>(columns, origin).expect_err("a problem");
    assert_eq!((problem.field, problem.shape.as_str()), (field, shape));
}

#[test]
fn scalars_may_be_strings_numbers_or_null() {
    let columns = json!({"id": 145_535, "id_cliente": 2, "status": "P", "liberado": true, "valor": 26.5, "valor_aberto": 26,
        "data_vencimento": "2026-11-24", "documento": null, "estornado": false, "pagamento_data": null});
    let invoice = read::<Invoice>(&columns, Origin::Webservice).expect("a title");
    assert_eq!((invoice.id.0.as_str(), invoice.amount, invoice.open_amount), ("145535", Centavos(2650), Centavos(2600)));
    assert_eq!((invoice.number.as_str(), invoice.released, invoice.reversed, invoice.paid_on), ("", true, false, None));
}

#[test]
fn an_unreadable_column_is_a_problem_with_its_shape() {
    let columns = invoice_columns();
    for origin in [Origin::Webservice, Origin::File] {
        check_problem::<Invoice>(&with(columns.clone(), "valor", json!("12x4")), origin, "valor", "`99a9`");
        check_problem::<Invoice>(&with(columns.clone(), "valor", json!("")), origin, "valor", "empty");
        check_problem::<Invoice>(&with(columns.clone(), "valor", json!(["1"])), origin, "valor", "a list");
        check_problem::<Invoice>(&with(columns.clone(), "status", json!("Z")), origin, "status", "`a`");
        check_problem::<Invoice>(
            &with(columns.clone(), "data_vencimento", json!("0000-00-00")),
            origin,
            "data_vencimento",
            "`9999-99-99`",
        );
        check_problem::<Invoice>(&with(columns.clone(), "liberado", json!("1")), origin, "liberado", "`9`");
        check_problem::<Invoice>(&with(columns.clone(), "id", json!("1,2")), origin, "id", "`9,9`");
        check_problem::<Invoice>(&with(columns.clone(), "id", json!({})), origin, "id", "an object");
        check_problem::<Invoice>(&with(columns.clone(), "id_cliente", json!("a b")), origin, "id_cliente", "`a a`");
    }
}

#[test]
fn an_unchecked_customer_takes_no_part_and_an_absent_column_is_asked_for() {
    let columns = with(customer_columns(), "participa_cobranca", json!(""));
    assert!(!read::<Customer>(&columns, Origin::Webservice).expect("a customer").takes_part_in_collection);
    assert!(!read::<Customer>(&columns, Origin::File).expect("a customer").takes_part_in_collection);

    let mut absent = customer_columns();
    absent.as_object_mut().expect("an object").remove("participa_cobranca");
    check_problem::<Customer>(&absent, Origin::Webservice, "participa_cobranca", "absent");
    assert!(read::<Customer>(&absent, Origin::File).expect("a customer").takes_part_in_collection);

    let mut hidden = invoice_columns();
    hidden.as_object_mut().expect("an object").remove("liberado");
    check_problem::<Invoice>(&hidden, Origin::Webservice, "liberado", "absent");
    assert!(read::<Invoice>(&hidden, Origin::File).expect("a title").released);
    let empty = with(invoice_columns(), "liberado", json!(""));
    assert!(!read::<Invoice>(&empty, Origin::File).expect("a title").released);
}

#[test]
fn what_is_owed_is_never_guessed_of_a_partly_paid_title() {
    let unknown = |status: &str| with(with(invoice_columns(), "valor_aberto", json!("")), "status", json!(status));
    let open = |status| read::<Invoice>(&unknown(status), Origin::Webservice).map(|invoice| invoice.open_amount);
    assert_eq!(open("A"), Ok(Centavos(1000)));
    assert_eq!(open("R"), Ok(Centavos(0)));
    assert_eq!(open("C"), Ok(Centavos(0)));
    check_problem::<Invoice>(&unknown("P"), Origin::Webservice, "valor_aberto", "empty");
}

#[test]
fn the_contract_is_the_first_of_three_that_is_not_zero() {
    let columns = json!({"id_contrato": "", "id_contrato_principal": "0", "id_contrato_avulso": "2309"});
    let mut all = invoice_columns();
    all.as_object_mut().expect("an object").extend(columns.as_object().expect("an object").clone());
    assert_eq!(read::<Invoice>(&all, Origin::Webservice).expect("a title").contract_id, "2309");
    let all = with(all, "id_contrato", json!("5"));
    assert_eq!(read::<Invoice>(&all, Origin::Webservice).expect("a title").contract_id, "5");
}

#[test]
fn a_title_without_customer_is_no_bad_row() {
    for none in [json!("0"), json!(""), json!(null)] {
        let invoice = read::<Invoice>(&with(invoice_columns(), "id_cliente", none), Origin::Webservice).expect("a title");
        assert_eq!(invoice.customer_id, None);
    }
}

#[test]
fn places_of_a_file_are_names_or_unknown() {
    let place = |city: &str, state: &str| {
        let columns = with(with(customer_columns(), "cidade", json!(city)), "uf", json!(state));
        read::<Customer>(&columns, Origin::File).map(|customer| (customer.city, customer.state))
    };
    assert_eq!(place("Chapecó", "sc"), Ok(("Chapecó".to_owned(), "SC".to_owned())));
    assert_eq!(place("3828", "24"), Ok((String::new(), String::new())));
    assert_eq!(place("", "Santa Catarina").expect_err("a problem").field, "uf");
}

#[test]
fn days_before_collection_are_bounded() {
    let days = |text: Value| read::<Customer>(&with(customer_columns(), "num_dias_cob", text), Origin::Webservice);
    assert_eq!(days(json!("5")).expect("a customer").days_before_collection, 5);
    assert_eq!(days(json!("")).expect("a customer").days_before_collection, 0);
    assert_eq!(days(json!("70000")).expect_err("a problem").shape, "`99999`");
    assert_eq!(days(json!("-1")).expect_err("a problem").shape, "`-9`");
}

#[test]
fn the_switches_of_a_file_are_those_of_the_erp() {
    let columns = |switches: Value| {
        let mut columns = invoice_columns();
        columns.as_object_mut().expect("an object").extend(switches.as_object().expect("an object").clone());
        columns
    };
    let plain = read::<Invoice>(&invoice_columns(), Origin::File).expect("a title");
    assert_eq!((plain.notifies_overdue, plain.no_notice_until, plain.forecast, plain.protested), (true, None, false, false));
    let all = columns(json!({"aviso_atraso": "N", "nao_avisar_ate": "30/11/2026", "previsao": "M", "titulo_protestado": "S",
        "aguardando_confirmacao_pagamento": "S", "estornado": "S"}));
    let all = read::<Invoice>(&all, Origin::File).expect("a title");
    assert_eq!((all.notifies_overdue, all.no_notice_until), (false, NaiveDate::from_ymd_opt(2026, 11, 30)));
    assert!(all.forecast && all.protested && all.awaiting_confirmation && all.reversed);
    for (regime, forecast) in [("N", false), ("S", false), ("", false), ("m", true)] {
        let read = read::<Invoice>(&with(invoice_columns(), "previsao", json!(regime)), Origin::Webservice).expect("a title");
        assert_eq!(read.forecast, forecast, "previsao {regime:?}");
    }
    check_problem::<Invoice>(&with(invoice_columns(), "previsao", json!("X")), Origin::Webservice, "previsao", "`a`");
    check_problem::<Invoice>(&with(invoice_columns(), "aviso_atraso", json!("?")), Origin::File, "aviso_atraso", "`?`");
}

#[test]
fn a_listing_is_active_at_1_alone_and_unknown_without_its_column() {
    let listed = |columns: &Value| read::<Customer>(columns, Origin::File).expect("a customer").negatively_listed;
    assert_eq!(listed(&customer_columns()), None);
    for (text, expected) in [("1", true), (" 1 ", true), ("2", false), ("0", false), ("", false)] {
        assert_eq!(listed(&with(customer_columns(), "ativo_serasa", json!(text))), Some(expected), "{text:?}");
    }
}

#[test]
fn a_cancelled_title_names_first_what_replaced_it_and_an_open_one_what_it_came_from() {
    let both = with(with(invoice_columns(), "id_renegociacao", json!("88")), "id_renegociacao_novo", json!("77"));
    let named = |columns: &Value| read::<Invoice>(columns, Origin::Webservice).expect("a title").renegotiation_id;
    assert_eq!((named(&both), named(&with(both.clone(), "status", json!("C")))), ("77".to_owned(), "88".to_owned()));
    let one = with(with(invoice_columns(), "id_renegociacao_novo", json!("77")), "status", json!("C"));
    assert_eq!(named(&one), "77");
}
