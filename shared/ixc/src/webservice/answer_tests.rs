//! Answers as bytes: the samples, both families of errors, lying totals, odd rows.

use super::*;
use chrono::NaiveDate;
use proptest::prelude::*;
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;

const INVOICES: &[u8] = include_bytes!("../../tests/samples/ixc-fn_areceber-list.json");
const CUSTOMERS: &[u8] = include_bytes!("../../tests/samples/ixc-cliente-list.json");
const ERROR: &[u8] = include_bytes!("../../tests/samples/ixc-error-200.json");

#[test]
fn the_sample_of_titles_is_read() {
    let mut listing = read_listing::<Invoice>(INVOICES, 500).expect("a list");
    assert_eq!((listing.total, listing.rows.len()), (Some(1), 1));
    let listed = listing.rows.remove(0);
    assert_eq!(listed.id, Some(145_535));
    let invoice = listed.row.expect("a title");
    assert_eq!(invoice.due_on, NaiveDate::from_ymd_opt(2024, 11, 21).expect("a date"));
    assert_eq!(invoice.issued_on, NaiveDate::from_ymd_opt(2024, 11, 8));
    assert_eq!((invoice.paid_on, invoice.cancelled_on), (None, None));
    assert_eq!((invoice.amount, invoice.open_amount, invoice.status), (Centavos(2600), Centavos(2600), InvoiceStatus::Open));
    assert_eq!((invoice.number.as_str(), invoice.contract_id.as_str(), invoice.portfolio_id.as_str()), ("72006", "2309", "5"));
    assert_eq!((invoice.receipt_type.as_str(), invoice.renegotiation_id.as_str()), ("Gateway", ""));
    assert_eq!(invoice.customer_id.as_ref().map(|id| id.0.as_str()), Some("2"));
    assert!(invoice.is_open());
}

#[test]
fn the_sample_of_customers_is_read_and_its_password_is_nowhere() {
    let listing = read_listing::<Customer>(CUSTOMERS, 500).expect("a list");
    assert_eq!(listing.total, Some(1));
    let customer = listing.rows[0].row.as_ref().expect("a customer");
    assert_eq!(
        (customer.id.0.as_str(), customer.name.as_str(), customer.trade_name.as_str()),
        ("2", "Cliente Teste", "Cliente 2")
    );
    assert_eq!((customer.city.as_str(), customer.state.as_str()), ("3828", ""));
    assert!(customer.takes_part_in_collection && customer.takes_part_in_pre_due);
    let kept = format!("{listing:?}");
    for secret in ["segredo-do-cliente", "1991-01-01", "cliente@example.invalid"] {
        assert!(std::str::from_utf8(CUSTOMERS).expect("UTF-8").contains(secret) && !kept.contains(secret), "{secret}");
    }
}

#[test]
fn the_sample_of_an_error_with_200_is_a_refusal() {
    let error = read_listing::<Invoice>(ERROR, 1).expect_err("a refusal");
    assert_eq!(error.to_string(), "the ERP refused to list `fn_areceber`: Parcela já está recebida ou cancelada!");
}

#[track_caller]
fn check_empty(body: &str) {
    let listing = read_listing::<Invoice>(body.as_bytes(), 500).expect("an empty list");
    assert!(listing.rows.is_empty(), "{body}");
}

#[test]
fn an_empty_list_has_several_forms() {
    check_empty(r#"{"page":"1","total":"0","registros":[]}"#);
    check_empty(r#"{"page":"1","total":0}"#);
    check_empty(r#"{"page":"1","total":0,"registros":null}"#);
    check_empty(r#"{"page":"1"}"#);
    check_empty("\u{feff}\r\n{\"total\":\"\",\"registros\":[]}");
}

#[track_caller]
fn check_unparsable(body: &str) {
    let error = read_listing::<Invoice>(body.as_bytes(), 500).expect_err("no list");
    assert!(matches!(error, IxcError::Unparsable { .. }), "{body}: {error}");
}

#[test]
fn what_is_no_list_is_never_an_empty_one() {
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "\"x\"",
        "{\"page\":",
        r#"{"total":"many"}"#,
        r#"{"total":-1}"#,
        r#"{"registros":"x"}"#,
        r#"{"type":"success"}"#,
    ] {
        check_unparsable(body);
    }
    let html = read_listing::<Invoice>(b" <div class='x'>Ocorreu um erro ao processar</div>", 500).expect_err("a page");
    assert!(matches!(html, IxcError::Html));
}

#[track_caller]
fn check_total(total: &str, sent: usize, asked: usize, holds: bool) {
    let row = r#"{"id":"1"}"#;
    let body = format!(r#"{{"total":{total},"registros":[{}]}}"#, vec![row; sent].join(","));
    let result = read_listing::<Invoice>(body.as_bytes(), asked);
    assert_eq!(result.is_ok(), holds, "{sent} sent of {total}, {asked} asked");
    if let Err(error) = result {
        assert!(matches!(error, IxcError::TotalDisagrees { .. }), "{error}");
    }
}

#[test]
fn a_total_that_disagrees_with_the_rows_is_an_error() {
    check_total("2", 2, 500, true);
    check_total("\"2\"", 2, 500, true);
    check_total("900", 500, 500, true);
    check_total("3", 2, 500, false);
    check_total("900", 499, 500, false);
    check_total("1", 0, 500, false);
    check_total("1", 2, 500, false);
    check_total("0", 1, 500, false);
}

#[test]
fn an_odd_row_spoils_only_itself() {
    let body = r#"{"total":"4","registros":[7,null,["senha"],{"id":"9","valor":"segredo"}]}"#;
    let listing = read_listing::<Invoice>(body.as_bytes(), 500).expect("a list");
    let texts: Vec<String> = listing.rows.iter().map(|listed| listed.row.as_ref().expect_err("a problem").to_string()).collect();
    assert_eq!(
        texts,
        [
            "fn_areceber without a readable id: registros is a number, expected an object per record",
            "fn_areceber without a readable id: registros is null, expected an object per record",
            "fn_areceber without a readable id: registros is a list, expected an object per record",
            "fn_areceber 9: status is absent, expected A (open), P (partial), R (received) or C (cancelled)",
        ]
    );
}

#[test]
fn an_unreadable_answer_repeats_nothing_of_itself() {
    let error = read_listing::<Customer>(br#"{"total":"1","registros":{"senha":"segredo-do-cliente"}}"#, 1).expect_err("no list");
    assert!(!format!("{error} {error:?}").contains("segredo"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read_listing::<Invoice>(&body, 10).is_ok() || read_listing::<Invoice>(&body, 10).is_err());
    }

    #[test]
    fn arbitrary_columns_never_panic(id in ".*", valor in ".*", date in ".*", total in any::<i64>()) {
        let row = serde_json::json!({"id": id, "valor": valor, "status": "A", "data_vencimento": date, "liberado": "S"});
        let body = serde_json::json!({"total": total, "registros": [row]}).to_string();
        if let Ok(listing) = read_listing::<Invoice>(body.as_bytes(), 1) {
            prop_assert_eq!(listing.rows.len(), 1);
        }
    }
}
