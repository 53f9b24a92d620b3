//! Lists over real HTTP: what is asked, paging, filters that a server ignores, dates in filters, ids, places.

use crate::raw_erp::{Erp, Flaws, Reply, Server, Total, customer, title};
use chrono::NaiveDate;
use regua_domain::ids::{CustomerId, InvoiceId};
use regua_domain::mirror::Invoice;
use regua_ixc::webservice::{IxcClient, IxcError, Page, Places, Refusal};
use serde_json::{Value, json};

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a test date")
}

fn invoice_ids(ids: impl IntoIterator<Item = u64>) -> Vec<InvoiceId> {
    ids.into_iter().map(|id| InvoiceId(id.to_string())).collect()
}

/// 100 titles that are open and due in November, among 60 of each other kind.
fn titles() -> Vec<Value> {
    (1..=100)
        .map(|n| title(n * 7, if n % 2 == 0 { "A" } else { "P" }, "2026-11-24"))
        .chain((1..=60).map(|n| title(n * 7 + 1, "R", "2026-11-24")))
        .chain((1..=60).map(|n| title(n * 7 + 2, "C", "2026-11-24")))
        .chain((1..=60).map(|n| title(n * 7 + 3, "A", "2026-10-31")))
        .chain((1..=60).map(|n| title(n * 7 + 4, "A", "2026-12-01")))
        .collect()
}

async fn november(client: &IxcClient, after: Option<&InvoiceId>) -> Result<Page<Invoice>, IxcError> {
    client.open_titles_page(after, day("2026-11-01"), day("2026-11-30")).await
}

/// Pages to the end; at most 100 pages.
async fn all_pages(client: &IxcClient) -> Result<Vec<Page<Invoice>>, IxcError> {
    let mut pages = vec![november(client, None).await?];
    while let Some(after) = pages.last().and_then(|page| page.next.clone()) {
        assert!(pages.len() < 100, "the pages don't end");
        pages.push(november(client, Some(&after)).await?);
    }
    Ok(pages)
}

/// Every open title of November once, in order, whatever the installation gets wrong; returns how many rows were dropped.
async fn check_all_found(flaws: Flaws) -> usize {
    let server = Erp::new([("fn_areceber", titles())]).with(flaws).start().await;
    let pages = all_pages(&server.client_with(|config| config.page_size = 16)).await.expect("pages");
    let ids: Vec<InvoiceId> = pages.iter().flat_map(|page| &page.rows).map(|invoice| invoice.id.clone()).collect();
    assert_eq!(ids, invoice_ids((1..=100).map(|n| n * 7)));
    assert!(pages.iter().all(|page| page.problems.is_empty() && page.rows_read <= 16));
    pages.iter().map(|page| page.filter_ignored).sum()
}

#[tokio::test]
async fn open_titles_are_paged_by_ascending_id() {
    assert_eq!(check_all_found(Flaws::default()).await, 0);
    assert_eq!(check_all_found(Flaws { total: Total::Text, ..Flaws::default() }).await, 0);
    assert_eq!(check_all_found(Flaws { total: Total::Absent, ..Flaws::default() }).await, 0);
}

#[tokio::test]
async fn rows_that_the_servers_filter_should_have_left_out_are_dropped_and_counted() {
    assert_eq!(check_all_found(Flaws { ignores: &["status"], ..Flaws::default() }).await, 120);
    assert_eq!(check_all_found(Flaws { ignores: &["data_vencimento"], ..Flaws::default() }).await, 120);
    assert_eq!(check_all_found(Flaws { ignores: &["data_vencimento", "status"], ..Flaws::default() }).await, 240);
}

#[tokio::test]
async fn an_installation_that_only_understands_iso_dates_is_found_out_once() {
    assert_eq!(check_all_found(Flaws { iso_dates_only: true, ..Flaws::default() }).await, 0);

    let server = Erp::new([("fn_areceber", titles())]).with(Flaws { iso_dates_only: true, ..Flaws::default() }).start().await;
    let client = server.client();
    november(&client, None).await.expect("a page");
    let learning = server.requests().len();
    november(&client.clone(), None).await.expect("a page");
    assert_eq!((learning, server.requests().len()), (5, 6));
}

#[tokio::test]
async fn a_date_filter_that_finds_nothing_is_an_error_and_no_empty_list() {
    let none = Server::start(|request| {
        let filters_dates = request.body["qtype"] == "fn_areceber.data_vencimento";
        let rows = if filters_dates { vec![] } else { vec![title(7, "A", "2026-11-24")] };
        crate::raw_erp::Reply::ok(json!({"page": "1", "total": rows.len(), "registros": rows}).to_string())
    })
    .await;
    assert!(matches!(november(&none.client(), None).await, Err(IxcError::DateFilterBroken)));
}

#[tokio::test]
async fn without_any_open_title_the_list_is_empty() {
    let server = Erp::new([("fn_areceber", vec![title(1, "R", "2026-11-24")])]).start().await;
    let page = november(&server.client(), None).await.expect("a page");
    assert!(page.rows.is_empty() && page.next.is_none() && page.rows_read == 0);
}

#[tokio::test]
async fn a_server_that_ignores_the_order_or_the_id_is_an_error() {
    let descending = Erp::new([("fn_areceber", titles())]).with(Flaws { descends: true, ..Flaws::default() }).start().await;
    assert!(matches!(all_pages(&descending.client()).await, Err(IxcError::OrderIgnored { resource: "fn_areceber" })));

    let repeating = Erp::new([("fn_areceber", titles())]).with(Flaws { ignores: &["id"], ..Flaws::default() }).start().await;
    let client = repeating.client_with(|config| config.page_size = 10);
    assert!(matches!(all_pages(&client).await, Err(IxcError::PageRepeats { resource: "fn_areceber" })));
}

#[tokio::test]
async fn a_lying_total_is_an_error_on_any_page() {
    let server = Erp::new([("fn_areceber", titles())]).with(Flaws { total: Total::TooLarge, ..Flaws::default() }).start().await;
    let client = server.client_with(|config| config.page_size = 30);
    let error = all_pages(&client).await.expect_err("rows are missing at the end");
    assert!(matches!(error, IxcError::TotalDisagrees { resource: "fn_areceber", .. }), "{error}");
}

#[tokio::test]
async fn a_bad_row_spoils_only_itself_and_is_told_without_its_value() {
    let mut rows = vec![title(1, "A", "2026-11-24"), title(2, "A", "2026-11-24"), title(3, "A", "2026-11-24")];
    rows[1]["valor"] = json!("segredo");
    let server = Erp::new([("fn_areceber", rows)]).start().await;
    let page = november(&server.client(), None).await.expect("a page");
    assert_eq!((page.rows.len(), page.rows_read), (2, 3));
    let texts: Vec<String> = page.problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["fn_areceber 2: valor is `aaaaaaa`, expected money as 1234.56 or 1.234,56"]);
}

#[tokio::test]
async fn every_request_is_a_list_and_never_an_insert() {
    let server = Erp::new([
        ("fn_areceber", titles()),
        ("cliente", vec![customer(2, "3828", "24")]),
        ("cliente_contrato", vec![]),
        ("empresa", vec![json!({"id": "1"}), json!({"id": "2"})]),
        ("cidade", vec![json!({"id": "3828", "nome": "Chapecó"})]),
        ("uf", vec![json!({"id": "24", "sigla": "SC"})]),
    ])
    .start()
    .await;
    let client = server.client();
    client.probe().await.expect("an answer");
    all_pages(&client).await.expect("pages");
    client.titles_by_id(&invoice_ids([7])).await.expect("a title");
    client.contracts_by_id(&["5".to_owned()]).await.expect("no contract");
    let mut customers = client.customers_by_id(&[CustomerId("2".to_owned())]).await.expect("a customer").rows;
    client.resolve_places(&mut Places::default(), &mut customers).await.expect("places");

    let requests = server.requests();
    let mut resources: Vec<&str> = requests.iter().map(crate::raw_erp::Request::resource).collect();
    resources.sort_unstable();
    resources.dedup();
    assert_eq!(resources, ["cidade", "cliente", "cliente_contrato", "empresa", "fn_areceber", "uf"]);
    for request in &requests {
        assert_eq!(request.line, format!("POST /webservice/v1/{} HTTP/1.1", request.resource()));
        assert_eq!(request.headers["ixcsoft"], "listar");
        assert_eq!(request.headers["authorization"], "Basic MTI6czNjcmV0");
        let body = request.body.as_object().expect("an object");
        assert!(body.values().all(Value::is_string), "{body:?}");
        assert_eq!((&body["page"], &body["sortorder"]), (&json!("1"), &json!("asc")));
        assert_eq!(body["sortname"], json!(format!("{}.id", request.resource())));
        assert!(!request.body.to_string().contains("\"BE\""));
    }
}

#[tokio::test]
async fn titles_by_id_come_in_bounded_lists_and_in_any_status() {
    let server = Erp::new([("fn_areceber", (1..=600).map(|id| title(id, "R", "2026-11-24")).collect())]).start().await;
    let asked = invoice_ids((1..=450).chain(1..=10).chain(10_000..=10_001));
    let page = server.client().titles_by_id(&asked).await.expect("titles");
    let ids: Vec<InvoiceId> = page.rows.iter().map(|invoice| invoice.id.clone()).collect();
    assert_eq!(ids, invoice_ids(1..=450));
    let sizes: Vec<usize> =
        server.requests().iter().map(|r| r.body["query"].as_str().expect("text").split(',').count()).collect();
    assert_eq!(sizes, [200, 200, 52]);
    assert!(server.client().titles_by_id(&[]).await.expect("nothing").rows.is_empty());
}

#[tokio::test]
async fn rows_that_were_not_asked_for_are_dropped() {
    let rows = [title(1, "A", "2026-11-24"), title(9, "A", "2026-11-24")];
    let answer = json!({"page": "1", "registros": rows}).to_string();
    let server = Server::always(crate::raw_erp::Reply::ok(answer)).await;
    let page = server.client().titles_by_id(&invoice_ids([1])).await.expect("a title");
    assert_eq!((page.rows.len(), page.filter_ignored, page.rows_read), (1, 1, 2));
}

#[tokio::test]
async fn an_id_that_the_erp_cannot_have_given_is_never_sent() {
    let server = Erp::new([("fn_areceber", titles())]).start().await;
    for id in ["", "0", "1,2", "x", "1 OR 1=1", "07"] {
        let ids = [InvoiceId(id.to_owned())];
        assert!(matches!(server.client().titles_by_id(&ids).await, Err(IxcError::IdNotNumeric { .. })), "{id:?}");
        assert!(matches!(november(&server.client(), Some(&ids[0])).await, Err(IxcError::IdNotNumeric { .. })), "{id:?}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn places_become_names_and_their_lists_are_read_once() {
    let server = Erp::new([
        (
            "cliente",
            vec![customer(1, "3828", "24"), customer(2, "Chapecó", "sc"), customer(3, "0", "0"), customer(4, "9999", "99")],
        ),
        ("cidade", vec![json!({"id": "3828", "nome": "Chapecó"}), json!({"id": "1", "nome": "Outra"})]),
        ("uf", vec![json!({"id": "24", "sigla": "SC"}), json!({"id": "25", "sigla": ""})]),
    ])
    .start()
    .await;
    let client = server.client();
    let ids: Vec<CustomerId> = (1..=4).map(|id: u64| CustomerId(id.to_string())).collect();
    let mut places = Places::default();
    for _ in 0..2 {
        let mut customers = client.customers_by_id(&ids).await.expect("customers").rows;
        client.resolve_places(&mut places, &mut customers).await.expect("places");
        let found: Vec<(&str, &str)> = customers.iter().map(|c| (c.city.as_str(), c.state.as_str())).collect();
        assert_eq!(found, [("Chapecó", "SC"), ("Chapecó", "SC"), ("", ""), ("", "")]);
        assert!(customers.iter().all(|c| c.takes_part_in_collection && !c.takes_part_in_pre_due));
    }
    let asked: Vec<String> = server.requests().iter().map(|r| r.resource().to_owned()).collect();
    assert_eq!(asked, ["cliente", "uf", "cidade", "cliente"]);
}

#[tokio::test]
async fn contracts_say_whether_to_warn() {
    let contract = |id: &str, warning: &str, until: &str| json!({"id": id, "id_cliente": "2", "status": "A", "aviso_atraso": warning, "nao_avisar_ate": until});
    let rows =
        vec![contract("1", "S", "0000-00-00"), contract("2", "N", ""), contract("3", "", "2026-11-30"), contract("4", "?", "")];
    let server = Erp::new([("cliente_contrato", rows)]).start().await;
    let ids: Vec<String> = (1..=4).map(|id: u64| id.to_string()).collect();
    let page = server.client().contracts_by_id(&ids).await.expect("contracts");
    let found: Vec<(bool, Option<NaiveDate>)> = page.rows.iter().map(|c| (c.notifies_overdue, c.no_notice_until)).collect();
    assert_eq!(found, [(true, None), (false, None), (true, Some(day("2026-11-30")))]);
    assert_eq!(page.problems[0].to_string(), "cliente_contrato 4: aviso_atraso is `?`, expected S, N or empty");
}

/// A title of this contract.
fn of_contract(id: u64, contract: &str) -> Value {
    let mut title = title(id, "A", "2026-11-24");
    title["id_contrato"] = json!(contract);
    title
}

async fn titles_with_contracts(server: &Server, ids: std::ops::RangeInclusive<u64>) -> Vec<Invoice> {
    server.client().titles_by_id(&invoice_ids(ids)).await.expect("titles").rows
}

#[tokio::test]
async fn a_title_gets_what_its_contract_says_and_is_left_out_where_that_is_unreadable() {
    let contract = |id: &str, status: &str, warning: &str, until: &str| json!({"id": id, "id_cliente": "2", "status": status, "aviso_atraso": warning, "nao_avisar_ate": until});
    let contracts = vec![
        contract("10", "A", "", "0000-00-00"),
        contract("11", "I", "N", "2026-11-30"),
        contract("12", "A", "S", "30/11/2026"),
    ];
    let mut paid = of_contract(7, "12");
    paid["status"] = json!("R");
    let titles = vec![
        of_contract(1, "10"),
        of_contract(2, "11"),
        of_contract(3, "12"),
        of_contract(4, "13"),
        of_contract(5, "0"),
        of_contract(6, "x"),
        paid,
    ];
    let server = Erp::new([("fn_areceber", titles), ("cliente_contrato", contracts)]).start().await;
    let mut titles = titles_with_contracts(&server, 1..=7).await;
    let page = server.client().resolve_contracts(&mut titles).await.expect("contracts");
    let found: Vec<_> =
        titles.iter().map(|t| (t.id.0.as_str(), t.contract_status.as_str(), t.notifies_overdue, t.no_notice_until)).collect();
    let unrestricted = |id| (id, "", true, None);
    assert_eq!(
        found,
        [
            ("1", "A", true, None),
            ("2", "I", false, Some(day("2026-11-30"))),
            unrestricted("4"),
            unrestricted("5"),
            unrestricted("6"),
            unrestricted("7")
        ]
    );
    assert_eq!((page.rows_read, page.problems.len()), (3, 1));
    let asked: Vec<Value> =
        server.requests().iter().filter(|r| r.resource() == "cliente_contrato").map(|r| r.body["query"].clone()).collect();
    assert_eq!(asked, [json!("10,11,12,13")], "one request for the page");
}

#[tokio::test]
async fn contracts_that_may_not_be_listed_are_a_refusal_of_their_own_and_change_no_title() {
    let server = Erp::new([("fn_areceber", vec![of_contract(1, "10")])]).start().await;
    let before = titles_with_contracts(&server, 1..=1).await;
    let mut titles = before.clone();
    let refused = |error| matches!(error, IxcError::Refused { refusal: Refusal::ResourceUnavailable, .. });
    assert!(refused(server.client().resolve_contracts(&mut titles).await.expect_err("a refusal")));
    assert_eq!(titles, before);
    assert!(refused(server.client().probe_contracts().await.expect_err("a refusal")));
}

#[tokio::test]
async fn a_pix_is_asked_for_by_the_titles_id_and_never_as_an_insert() {
    const CODE: &str = "00020101021226700014br.gov.bcb.pix2548pix.example.com/8b3da2f39a4140d1a91abd93113bd4415204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***630464E4";
    let server = Server::start(|request| match request.body["id_areceber"].as_str() {
        Some("7") => Reply::ok(json!({ "type": "success", "pix": { "qrCode": { "qrcode": CODE } } }).to_string()),
        Some("8") => Reply::ok(json!({ "type": "success" }).to_string()),
        _ => Reply::ok(json!({ "type": "error", "message": "Parcela já está recebida ou cancelada!" }).to_string()),
    })
    .await;
    let client = server.client();
    let ask = |id: &str| {
        let (client, id) = (client.clone(), InvoiceId(id.to_owned()));
        async move { client.pix(&id).await }
    };
    assert_eq!(ask("7").await.expect("an answer").map(|pix| pix.code.as_str().to_owned()).as_deref(), Some(CODE));
    assert_eq!(ask("8").await.expect("an answer"), None);
    assert!(matches!(ask("9").await, Err(IxcError::Refused { resource: "get_pix", .. })));
    assert!(matches!(ask("7; DROP").await, Err(IxcError::IdNotNumeric { .. })));
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.resource() == "get_pix" && request.headers["ixcsoft"] == "listar"));
}
