//! IXC Provedor: what changes by the date and by hand, and what is kept of the requests.

use regua_simulators::Fault;
use regua_simulators::FaultKind;
use regua_simulators::ixc::TitleStatus;
use serde_json::{Value, json};

use crate::ixc::{Ixc, rows};

async fn title(ixc: &Ixc, id: &Value) -> anyhow::Result<Value> {
    let page = ixc.list("fn_areceber", &json!({ "qtype": "fn_areceber.id", "query": id.to_string(), "oper": "=" })).await?;
    Ok(rows(&page).remove(0))
}

async fn total(ixc: &Ixc, status: &str) -> anyhow::Result<u64> {
    let page =
        ixc.list("fn_areceber", &json!({ "qtype": "fn_areceber.status", "query": status, "oper": "=", "rp": "1" })).await?;
    Ok(page["total"].as_str().unwrap_or_default().parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn paying_by_count_is_read_back_at_once() -> anyhow::Result<()> {
    let ixc = Ixc::start(500).await?;
    let before = (total(&ixc, "A").await?, total(&ixc, "R").await?);
    let paid = ixc.admin("pay", &json!({ "count": 7 })).await?.json()?;
    let ids = paid["paid"].as_array().cloned().unwrap_or_default();
    assert_eq!(ids.len(), 7);
    for id in &ids {
        let row = title(&ixc, id).await?;
        assert_eq!(
            (&row["status"], &row["pagamento_data"], &row["valor_aberto"]),
            (&json!("R"), &json!("2026-03-10"), &json!("0.00"))
        );
        assert_eq!(row["valor_recebido"], row["valor"]);
        assert!(row["ultima_atualizacao"].as_str().is_some_and(|at| at.starts_with("2026-03-10 ")));
    }
    let open: u64 = ids.iter().map(|_| 1).sum();
    assert_eq!(total(&ixc, "R").await?, before.1 + open);
    assert!(total(&ixc, "A").await? < before.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_can_be_partly_paid_cancelled_and_renegotiated_by_hand() -> anyhow::Result<()> {
    let ixc = Ixc::start(200).await?;
    let open =
        rows(&ixc.list("fn_areceber", &json!({ "qtype": "fn_areceber.status", "query": "A", "oper": "=", "rp": "3" })).await?);
    let id = |index: usize| open[index]["id"].as_str().unwrap_or_default().parse::<u64>();
    assert_eq!(ixc.admin("pay", &json!({ "invoices": [id(0)?], "status": "P" })).await?.status, 200);
    let partly = title(&ixc, &json!(id(0)?)).await?;
    assert_eq!(partly["status"], "P");
    assert_ne!(partly["valor_aberto"], partly["valor"]);
    assert_eq!(ixc.admin("cancel", &json!({ "invoice": id(1)? })).await?.status, 200);
    let cancelled = title(&ixc, &json!(id(1)?)).await?;
    assert_eq!((&cancelled["status"], &cancelled["data_cancelamento"]), (&json!("C"), &json!("2026-03-10")));
    let answer = ixc.admin("renegotiate", &json!({ "invoice": id(2)? })).await?.json()?;
    let (old, new) = (title(&ixc, &json!(id(2)?)).await?, title(&ixc, &answer["replacement"]).await?);
    assert_eq!((&old["status"], &old["titulo_renegociado"]), (&json!("C"), &json!("S")));
    assert_eq!((&new["status"], &new["id_renegociacao_novo"]), (&json!("A"), &old["id_renegociacao"]));
    for (route, body) in [("cancel", json!({ "invoice": id(1)? })), ("pay", json!({ "invoices": [999_999] }))] {
        assert_eq!(ixc.admin(route, &body).await?.status, 409, "{route}");
    }
    assert_eq!(ixc.admin("pay", &json!({})).await?.status, 400);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_the_date_issues_and_ends_titles_and_never_goes_back() -> anyhow::Result<()> {
    let ixc = Ixc::start(1000).await?;
    let count = |ixc: &Ixc| ixc.simulator.stats().date;
    assert_eq!(count(&ixc).to_string(), "2026-03-10");
    let existing = ixc.list("fn_areceber", &json!({ "rp": "1" })).await?["total"].clone();
    let moved = ixc.admin("day", &json!({ "date": "2026-03-17" })).await?.json()?;
    let number = |name: &str| moved["moved"][name].as_u64().unwrap_or_default();
    assert!(number("issued") > 0 && number("paid") > 0 && number("cancelled") > 0 && number("renegotiated") > 0, "{moved}");
    let before: u64 = existing.as_str().unwrap_or_default().parse()?;
    let after = ixc.list("fn_areceber", &json!({ "rp": "1" })).await?["total"].clone();
    assert_eq!(after, (before + number("issued")).to_string());
    assert_eq!(ixc.admin("day", &json!({ "date": "2026-03-16" })).await?.status, 409);
    assert_eq!(ixc.simulator.today().to_string(), "2026-03-17");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_and_the_webservice_tell_the_same_title() -> anyhow::Result<()> {
    let ixc = Ixc::start(300).await?;
    for row in rows(&ixc.list("fn_areceber", &json!({ "rp": "500" })).await?) {
        let id: u64 = row["id"].as_str().unwrap_or_default().parse()?;
        let Some(known) = ixc.simulator.title(id) else { anyhow::bail!("the library does not know {id}") };
        let letter = match known.status {
            TitleStatus::Open => "A",
            TitleStatus::Partial => "P",
            TitleStatus::Received => "R",
            TitleStatus::Cancelled => "C",
        };
        assert_eq!(row["status"], letter);
        assert_eq!(row["valor"], format!("{}.{:02}", known.amount_cents / 100, known.amount_cents % 100));
    }
    Ok(())
}

/// The two error families of contracts §2.1 on demand, in the middle of a sync.
#[tokio::test(flavor = "multi_thread")]
async fn faults_strike_the_webservice_and_the_log_says_so() -> anyhow::Result<()> {
    let ixc = Ixc::start(50).await?;
    let blocked = json!({ "type": "error", "message": "Seu IP não está liberado<br />" });
    let business = FaultKind::Status { code: 200, body: Some(blocked.clone()), retry_after: None };
    ixc.simulator.faults(vec![
        Fault { count: Some(1), ..Fault::always(business) },
        Fault { count: Some(1), after_accept: true, ..Fault::always(FaultKind::Html200) },
    ])?;
    assert_eq!(ixc.list("cliente", &json!({})).await?, blocked);
    assert!(ixc.list("cliente", &json!({})).await.is_err(), "HTML is not JSON");
    assert_eq!(rows(&ixc.list("cliente", &json!({})).await?).len(), 20);
    let log = ixc.simulator.log()?.collect::<Result<Vec<_>, _>>()?;
    let answered: Vec<&str> = log.iter().map(|served| served.answered.as_str()).collect();
    assert_eq!(answered, ["html_200", "200"]); // the first never reached the product
    assert!(log.iter().all(|served| served.listing && served.resource == "cliente"));
    assert_eq!((log[1].rows, ixc.simulator.stats().requests), (20, 2));
    Ok(())
}
