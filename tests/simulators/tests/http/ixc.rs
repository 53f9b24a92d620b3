//! IXC Provedor: transport, lists, filters, errors (contracts §2.1 to §2.4).

use std::collections::HashSet;

use chrono::NaiveDate;
use regua_simulators::ixc::{OddCustomer, OddTitle};
use regua_simulators::{IxcOptions, IxcSimulator};
use serde_json::{Value, json};

use crate::client::{Answer, ask};

/// Basic of `1:secret`.
const AUTHORIZATION: (&str, &str) = ("Authorization", "Basic MTpzZWNyZXQ=");
const LISTING: (&str, &str) = ("ixcsoft", "listar");
const JSON: (&str, &str) = ("Content-Type", "application/json");

pub struct Ixc {
    pub simulator: IxcSimulator,
}

impl Ixc {
    pub async fn start(customers: u64) -> anyhow::Result<Self> {
        let today = NaiveDate::from_ymd_opt(2026, 3, 10).unwrap_or_default();
        let options = IxcOptions { customers, today, token: "1:secret".to_owned(), ..IxcOptions::default() };
        Ok(Self { simulator: IxcSimulator::start(options).await? })
    }

    pub async fn ask(&self, method: &str, resource: &str, headers: &[(&str, &str)], body: &str) -> anyhow::Result<Answer> {
        ask(&self.simulator.url(), method, &format!("/webservice/v1/{resource}"), headers, body).await
    }

    pub async fn list(&self, resource: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.ask("POST", resource, &[AUTHORIZATION, LISTING, JSON], &body.to_string()).await?;
        assert_eq!(answer.status, 200);
        answer.json()
    }

    pub async fn admin(&self, route: &str, body: &Value) -> anyhow::Result<Answer> {
        ask(&self.simulator.url(), "POST", &format!("/_admin/{route}"), &[], &body.to_string()).await
    }
}

pub fn rows(page: &Value) -> Vec<Value> {
    page["registros"].as_array().cloned().unwrap_or_default()
}

fn by_id(resource: &str, id: u64) -> Value {
    json!({ "qtype": format!("{resource}.id"), "query": id.to_string(), "oper": "=" })
}

#[track_caller]
fn assert_html(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status);
    assert!(answer.text().starts_with("<div"), "{}", answer.text());
}

/// Contracts §2.1: 401 without or with a wrong token, 400 for Bearer.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_basic_token_is_let_in() -> anyhow::Result<()> {
    let ixc = Ixc::start(10).await?;
    for (headers, status) in [
        (vec![LISTING, JSON], 401),
        (vec![LISTING, JSON, ("Authorization", "Basic MTp3cm9uZw==")], 401),
        (vec![LISTING, JSON, ("Authorization", "Bearer 1:secret")], 400),
        (vec![LISTING, JSON, AUTHORIZATION], 200),
    ] {
        assert_eq!(ixc.ask("POST", "empresa", &headers, "{}").await?.status, status, "{headers:?}");
    }
    Ok(())
}

/// Contracts §2.1: POST without the header is an insert, GET without it is 404.
#[tokio::test(flavor = "multi_thread")]
async fn a_post_without_the_listing_header_counts_as_an_insert() -> anyhow::Result<()> {
    let ixc = Ixc::start(10).await?;
    let insert = ixc.ask("POST", "cliente", &[AUTHORIZATION, JSON], "{}").await?;
    assert_eq!((insert.status, insert.json()?["type"].clone()), (200, json!("error")));
    assert_html(&ixc.ask("GET", "cliente", &[AUTHORIZATION, JSON], "{}").await?, 404);
    assert_eq!(ixc.simulator.stats().inserts_attempted, 1);
    Ok(())
}

/// Contracts §2.1: GET with a JSON body, POST with JSON, URL-encoded and multipart bodies all list.
#[tokio::test(flavor = "multi_thread")]
async fn every_documented_form_of_a_list_gives_the_same_page() -> anyhow::Result<()> {
    let ixc = Ixc::start(10).await?;
    let json = r#"{"qtype":"cliente.id","query":"3","oper":"="}"#;
    let multipart = ["qtype\"\r\n\r\ncliente.id", "query\"\r\n\r\n3", "oper\"\r\n\r\n="]
        .map(|part| format!("--XX\r\nContent-Disposition: form-data; name=\"{part}\r\n"))
        .concat()
        + "--XX--\r\n";
    let mut pages = HashSet::new();
    for (method, kind, body) in [
        ("POST", "application/json", json),
        ("GET", "application/json", json),
        ("POST", "application/x-www-form-urlencoded", "qtype=cliente.id&query=3&oper=%3D"),
        ("POST", "multipart/form-data; boundary=XX", &multipart),
    ] {
        let answer = ixc.ask(method, "cliente", &[AUTHORIZATION, LISTING, ("Content-Type", kind)], body).await?;
        assert_eq!(rows(&answer.json()?)[0]["id"], "3", "{kind}");
        pages.insert(answer.text());
    }
    assert_eq!(pages.len(), 1);
    Ok(())
}

/// Contracts §2.1: all scalars are text; `total` is text in `fn_areceber` and a number in `cliente`; a cookie is set.
#[tokio::test(flavor = "multi_thread")]
async fn every_scalar_is_text_and_total_is_either() -> anyhow::Result<()> {
    let ixc = Ixc::start(50).await?;
    let titles = ixc.list("fn_areceber", &json!({ "rp": "5" })).await?;
    assert!(titles["total"].is_string() && titles["page"] == "1");
    let customers = ixc.list("cliente", &json!({ "rp": "5" })).await?;
    assert_eq!(customers["total"], 50);
    for row in rows(&titles).iter().chain(&rows(&customers)) {
        let members = row.as_object().cloned().unwrap_or_default();
        assert!(members.len() > 50 && members.values().all(Value::is_string), "{row}");
    }
    let answer = ixc.ask("POST", "cliente", &[AUTHORIZATION, LISTING, JSON], "{}").await?;
    assert!(answer.header("set-cookie").is_some_and(|cookie| cookie.starts_with("IXC_Session=")));
    Ok(())
}

/// Contracts §2.1: the exact body of no result is unknown; clients must bear both forms.
#[tokio::test(flavor = "multi_thread")]
async fn no_result_comes_with_and_without_registros() -> anyhow::Result<()> {
    let ixc = Ixc::start(10).await?;
    assert_eq!(ixc.list("fn_areceber", &by_id("fn_areceber", 999_999)).await?, json!({ "page": "1", "total": "0" }));
    assert_eq!(ixc.list("cliente", &by_id("cliente", 11)).await?, json!({ "page": "1", "total": 0, "registros": [] }));
    Ok(())
}

/// Contracts §2.1: missing table, unknown column or operator are the generic HTML failure, here with 200; a missing resource is JSON.
#[tokio::test(flavor = "multi_thread")]
async fn both_error_families_come_with_200() -> anyhow::Result<()> {
    let ixc = Ixc::start(10).await?;
    let headers = [AUTHORIZATION, LISTING, JSON];
    for body in [
        r#"{"qtype":"status","query":"A","oper":"="}"#,
        r#"{"qtype":"fn_areceber.nothing","query":"A","oper":"="}"#,
        r#"{"qtype":"fn_areceber.id","query":"A","oper":"~"}"#,
        r#"{"sortname":"id"}"#,
        r#"{"grid_param":"{}"}"#,
        "{",
    ] {
        assert_html(&ixc.ask("POST", "fn_areceber", &headers, body).await?, 200);
    }
    let unknown = ixc.ask("POST", "parametros", &headers, "{}").await?;
    let expected = json!({ "type": "error", "message": "Recurso parametros não está disponível!" });
    assert_eq!((unknown.status, unknown.json()?), (200, expected));
    assert_html(&ixc.ask("POST", "fn_areceber", &headers, r#"{"rp":"200000"}"#).await?, 504); // big pages provoke 504
    Ok(())
}

/// Contracts §2.1: filters of `qtype` and `grid_param` are ANDed, dates in either form.
#[tokio::test(flavor = "multi_thread")]
async fn filters_are_anded_and_every_row_fulfils_them() -> anyhow::Result<()> {
    let ixc = Ixc::start(500).await?;
    let mut totals = HashSet::new();
    for (from, to) in [("2026-03-05", "2026-03-20"), ("05/03/2026", "20/03/2026")] {
        let grid = json!([
            { "TB": "fn_areceber.liberado", "OP": "=", "P": "S" },
            { "TB": "fn_areceber.data_vencimento", "OP": ">=", "P": from },
            { "TB": "fn_areceber.data_vencimento", "OP": "<=", "P": to },
        ]);
        let body =
            json!({ "qtype": "fn_areceber.status", "query": "A", "oper": "=", "rp": "5000", "grid_param": grid.to_string() });
        let page = ixc.list("fn_areceber", &body).await?;
        let rows = rows(&page);
        assert!(!rows.is_empty() && page["total"] == *rows.len().to_string());
        for row in &rows {
            let due = row["data_vencimento"].as_str().unwrap_or_default();
            assert!(("2026-03-05"..="2026-03-20").contains(&due) && row["status"] == "A" && row["liberado"] == "S");
        }
        totals.insert(rows.len());
    }
    assert_eq!(totals.len(), 1);
    Ok(())
}

/// Contracts §2.1: BE on dates matches only 0000-00-00.
#[tokio::test(flavor = "multi_thread")]
async fn between_on_dates_is_broken() -> anyhow::Result<()> {
    let ixc = Ixc::start(3000).await?;
    let grid = json!([{ "TB": "fn_areceber.data_vencimento", "OP": "BE", "P": "2026-03-01", "P2": "2026-03-31" }]);
    let page = ixc.list("fn_areceber", &json!({ "rp": "100", "grid_param": grid.to_string() })).await?;
    assert!(!rows(&page).is_empty());
    assert!(rows(&page).iter().all(|row| row["data_vencimento"] == "0000-00-00"));
    Ok(())
}

/// Contracts §2.1: page by `id > last`; every title comes once, and each page's total is what is left.
#[tokio::test(flavor = "multi_thread")]
async fn paging_by_ascending_id_meets_every_title_once() -> anyhow::Result<()> {
    let ixc = Ixc::start(3000).await?;
    let whole =
        ixc.list("fn_areceber", &json!({ "qtype": "fn_areceber.status", "query": "A", "oper": "=", "rp": "10000" })).await?;
    let expected: Vec<Value> = rows(&whole).iter().map(|row| row["id"].clone()).collect();
    let (mut seen, mut last) = (Vec::new(), 0_u64);
    loop {
        let grid = json!([{ "TB": "fn_areceber.id", "OP": ">", "P": last.to_string() }]).to_string();
        let page = ixc
            .list(
                "fn_areceber",
                &json!({ "qtype": "fn_areceber.status", "query": "A", "oper": "=", "rp": "400", "grid_param": grid }),
            )
            .await?;
        let ids: Vec<Value> = rows(&page).iter().map(|row| row["id"].clone()).collect();
        assert_eq!(page["total"], (expected.len() - seen.len()).to_string());
        let Some(highest) = ids.last().and_then(Value::as_str) else { break };
        last = highest.parse()?;
        seen.extend(ids);
    }
    assert!(expected.len() > 800);
    assert_eq!(seen, expected);
    Ok(())
}

/// Contracts §2.1: `page`, `sortname`, `sortorder`.
#[tokio::test(flavor = "multi_thread")]
async fn pages_and_orders_agree_with_each_other() -> anyhow::Result<()> {
    let ixc = Ixc::start(2000).await?;
    let ids = |page: &Value| rows(page).iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
    let ask = |page: u32, rows: u32, sort: &str, order: &str| json!({ "page": page.to_string(), "rp": rows.to_string(), "sortname": format!("fn_areceber.{sort}"), "sortorder": order });
    let whole = ids(&ixc.list("fn_areceber", &ask(1, 10_000, "id", "asc")).await?);
    let third = ids(&ixc.list("fn_areceber", &ask(3, 700, "id", "asc")).await?);
    assert_eq!(third, whole[1400..2100]);
    let descending = ids(&ixc.list("fn_areceber", &ask(2, 700, "id", "desc")).await?);
    assert!(descending.iter().eq(whole.iter().rev().skip(700).take(700)));
    let by_due = ixc.list("fn_areceber", &ask(1, 2000, "data_vencimento", "desc")).await?;
    let dues: Vec<String> = rows(&by_due).iter().map(|row| row["data_vencimento"].to_string()).collect();
    assert!(dues.windows(2).all(|pair| pair[0] >= pair[1]) && dues.len() == 2000);
    Ok(())
}

/// Re-reading titles by id: `IN` takes a comma list (contracts §2.1).
#[tokio::test(flavor = "multi_thread")]
async fn titles_are_read_again_by_their_ids() -> anyhow::Result<()> {
    let ixc = Ixc::start(100).await?;
    let page = ixc.list("fn_areceber", &json!({ "qtype": "fn_areceber.id", "query": "5,3,999999", "oper": "IN" })).await?;
    assert_eq!(rows(&page).iter().map(|row| row["id"].clone()).collect::<Vec<_>>(), [json!("3"), json!("5")]);
    assert_eq!(page["total"], "2");
    Ok(())
}

/// Contracts §2.3 and the sample: `uf` and `cidade` are ids; `uf` may be "0"; password and birth date are in the record.
#[tokio::test(flavor = "multi_thread")]
async fn places_resolve_through_their_lists_and_records_carry_secrets() -> anyhow::Result<()> {
    let ixc = Ixc::start(200).await?;
    let cities = rows(&ixc.list("cidade", &json!({ "rp": "1000" })).await?);
    let states = rows(&ixc.list("uf", &json!({ "rp": "1000" })).await?);
    assert_eq!(states.len(), 27);
    let mut without_state = 0;
    for customer in rows(&ixc.list("cliente", &json!({ "rp": "200" })).await?) {
        let city = cities.iter().find(|city| city["id"] == customer["cidade"]);
        let state_of_city = city.map(|city| city["uf"].clone()).unwrap_or_default();
        assert!(states.iter().any(|state| state["id"] == state_of_city && state["sigla"].as_str().is_some_and(|s| s.len() == 2)));
        if customer["uf"] == "0" {
            without_state += 1;
        } else {
            assert_eq!(customer["uf"], state_of_city);
        }
        assert_eq!(customer["senha"], format!("segredo-{}", customer["id"].as_str().unwrap_or_default()));
        assert!(customer["data_nascimento"].as_str().is_some_and(|date| date.parse::<NaiveDate>().is_ok()));
    }
    assert!((20..120).contains(&without_state), "{without_state}");
    for resource in ["filial", "empresa", "cliente_contrato"] {
        assert!(!rows(&ixc.list(resource, &json!({ "rp": "1" })).await?).is_empty(), "{resource}");
    }
    Ok(())
}

/// Contracts §2.2, §2.3: the odd cases that the library enumerates are what a client reads.
#[tokio::test(flavor = "multi_thread")]
async fn enumerated_odd_cases_are_what_a_client_reads() -> anyhow::Result<()> {
    let ixc = Ixc::start(4000).await?;
    for (odd, column, values) in [
        (OddTitle::Unreleased, "liberado", ["N", "N"]),
        (OddTitle::AwaitingConfirmation, "aguardando_confirmacao_pagamento", ["S", "S"]),
        (OddTitle::PartiallyPaid, "status", ["P", "P"]),
        (OddTitle::WithoutCustomer, "id_cliente", ["0", ""]),
        (OddTitle::WithoutDueDate, "data_vencimento", ["0000-00-00", "0000-00-00"]),
        (OddTitle::Protested, "titulo_protestado", ["S", "S"]),
        (OddTitle::Forecast, "previsao", ["M", "M"]),
    ] {
        let ids = ixc.simulator.odd_titles(odd, 5);
        assert!(!ids.is_empty(), "{odd:?}");
        for id in ids {
            let row = rows(&ixc.list("fn_areceber", &by_id("fn_areceber", id)).await?).remove(0);
            assert!(values.iter().any(|value| row[column] == *value), "{odd:?} {row}");
        }
    }
    let provider = ixc.simulator.provider();
    for (odd, column, expected) in [
        (OddCustomer::EmptyPhone, "telefone_celular", Some("")),
        (OddCustomer::Words, "whatsapp", None),
        (OddCustomer::OnlyMobileField, "whatsapp", Some("")),
        (OddCustomer::OutsideDunning, "participa_cobranca", Some("")),
    ] {
        for id in provider.odd_customers(odd).take(5) {
            let row = rows(&ixc.list("cliente", &by_id("cliente", id)).await?).remove(0);
            let typed = row[column].as_str().unwrap_or_default();
            assert!(expected.map_or(!typed.contains('9'), |expected| typed == expected), "{odd:?} {typed}");
        }
    }
    Ok(())
}

/// Contracts §2.4: a real code, an empty charge, "success" with nothing; a title that is closed is an error with 200.
#[tokio::test(flavor = "multi_thread")]
async fn get_pix_has_all_its_forms() -> anyhow::Result<()> {
    let ixc = Ixc::start(200).await?;
    let open =
        rows(&ixc.list("fn_areceber", &json!({ "qtype": "fn_areceber.status", "query": "A", "oper": "=", "rp": "80" })).await?);
    let (mut codes, mut empty_charges, mut nothing) = (0, 0, 0);
    for title in &open {
        let answer =
            ixc.ask("POST", "get_pix", &[AUTHORIZATION, JSON], &json!({ "id_areceber": title["id"] }).to_string()).await?;
        let pix = answer.json()?;
        assert_eq!(pix["type"], "success");
        match pix["pix"]["dadosPix"]["pixCopiaECola"].as_str() {
            Some("") => empty_charges += 1,
            Some(code) => {
                assert!(code.starts_with("000201"));
                codes += 1;
            }
            None => {
                assert_eq!(pix["pix"]["dadosPix"]["expiracaoPix"], "31/12/1969 21:00:00");
                nothing += 1;
            }
        }
    }
    assert!(codes > 0 && empty_charges > 0 && nothing > 0, "{codes} {empty_charges} {nothing}");
    let closed =
        rows(&ixc.list("fn_areceber", &json!({ "qtype": "fn_areceber.status", "query": "R", "oper": "=", "rp": "1" })).await?);
    let body = json!({ "id_areceber": closed[0]["id"] }).to_string();
    assert_eq!(ixc.ask("POST", "get_pix", &[AUTHORIZATION, JSON], &body).await?.json()?["type"], "error");
    assert_eq!(ixc.simulator.stats().inserts_attempted, 0);
    Ok(())
}

/// The same seed gives the same provider, another seed another one; a million customers start at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_seed_decides_everything_and_size_costs_nothing() -> anyhow::Result<()> {
    let (one, two) = (Ixc::start(1_000_000).await?, Ixc::start(1_000_000).await?);
    for (resource, id) in [("cliente", 999_999), ("fn_areceber", 1_099_999)] {
        let row = one.list(resource, &by_id(resource, id)).await?;
        assert_eq!(rows(&row).len(), 1, "{resource}");
        assert_eq!(row, two.list(resource, &by_id(resource, id)).await?);
    }
    let today = one.simulator.today();
    let other = IxcSimulator::start(IxcOptions { seed: 2, customers: 1_000_000, today, ..IxcOptions::default() }).await?;
    let name = |ixc: &IxcSimulator| ixc.provider().customer(999_999).map(|customer| (customer.name, customer.tax_id));
    assert_ne!(name(&one.simulator), name(&other));
    Ok(())
}

/// Contracts §2.6, §2.1: what the ERP itself sends by is not readable unless it is made so; its gateway's record carries a token.
#[tokio::test(flavor = "multi_thread")]
async fn the_erps_own_senders_are_shown_only_where_that_is_allowed() -> anyhow::Result<()> {
    let ixc = Ixc::start(10).await?;
    for resource in ["parametros", "gateway_omnichannel"] {
        let refused = ixc.list(resource, &json!({})).await?;
        assert_eq!(refused, json!({ "type": "error", "message": format!("Recurso {resource} não está disponível!") }));
    }
    let settings = json!({ "regua": true, "gateways": ["https://opa.example.com/api/v1"] });
    assert_eq!(ixc.admin("own-sender", &settings).await?.status, 200);
    let parameters = rows(&ixc.list("parametros", &json!({})).await?);
    assert_eq!((parameters.len(), &parameters[0]["ativar_regua_cobranca"]), (1, &json!("S")));
    assert_eq!(
        (&parameters[0]["utiliza_cobranca_auto"], &parameters[0]["gateway_omnichannel_default"]),
        (&json!("N"), &json!("1"))
    );
    let gateways = rows(&ixc.list("gateway_omnichannel", &json!({})).await?);
    assert_eq!((gateways.len(), &gateways[0]["url"]), (1, &json!("https://opa.example.com/api/v1")));
    assert!(!gateways[0]["token"].as_str().unwrap_or_default().is_empty());
    ixc.admin("own-sender", &Value::Null).await?;
    assert_eq!(ixc.list("parametros", &json!({})).await?["type"], "error");
    Ok(())
}
