//! A plain page for a person who looks at the process: what there is, in the ERP's words.

use axum::Router;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use regua_domain::message::State;
use regua_domain::pilot::Pilot;
use regua_ledger::queries::StageCount;
use regua_ledger::{Ledger, LedgerError};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

/// The page; it shows a ledger once there is one.
#[derive(Clone, Default)]
pub struct StatusPage(Arc<OnceLock<Ledger>>);

impl StatusPage {
    /// The page's route.
    pub fn router(&self) -> Router {
        let page = self.clone();
        Router::new().route("/", get(move || async move { page.respond().await }))
    }

    /// From now on it shows `ledger`; the first one stays.
    pub fn show(&self, ledger: Ledger) {
        if self.0.set(ledger).is_err() {
            tracing::debug!("status_page.shows_a_ledger_already");
        }
    }

    async fn respond(&self) -> Response {
        let Some(ledger) = self.0.get() else {
            return (StatusCode::SERVICE_UNAVAILABLE, Html(page("<p>Iniciando…</p>"))).into_response();
        };
        match body(ledger).await {
            Ok(body) => Html(page(&body)).into_response(),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, Html(page("<p>O banco de dados não responde.</p>"))).into_response(),
        }
    }
}

fn page(body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"pt-BR\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\"><title>Régua</title>\
         <style>body{{font:16px system-ui;margin:2rem;color:#222}}table{{border-collapse:collapse}}td,th{{padding:.3rem .8rem;\
         border-bottom:1px solid #ddd;text-align:right}}td:first-child,th:first-child{{text-align:left}}</style></head>\
         <body><h1>Régua de cobrança</h1>{body}</body></html>"
    )
}

/// What operators call the states.
const fn label(state: State) -> &'static str {
    match state {
        State::Held => "Na fila",
        State::Scheduled => "Aguardando",
        State::Queued => "Liberada",
        State::Sending => "Enviando",
        State::Sent => "Enviada",
        State::Delivered => "Entregue",
        State::Read => "Lida",
        State::Skipped => "Não enviada",
        State::Failed => "Falhou",
        State::InDoubt => "Em dúvida",
    }
}

async fn body(ledger: &Ledger) -> Result<String, LedgerError> {
    let counts = ledger.kept_counts().await?.by_stage();
    let stops = ledger.stops().await?;
    let runs = ledger.runs(5).await?;
    let mut html = match ledger.settings().await?.pilot {
        Pilot::Off => String::new(),
        Pilot::Only(phones) => format!("<p>⚠ PILOTO: só {} telefone(s) recebem mensagens</p>", phones.len()),
        Pilot::RedirectTo(_) => "<p>⚠ PILOTO: todas as mensagens vão para um único telefone; nenhum cliente as recebe</p>".into(),
    };
    html.push_str(&table(&counts));
    for stop in stops {
        write!(html, "<p>⛔ Parado: {} {} ({})</p>", stop.scope, escape(&stop.name), escape(&stop.why))
            .expect("a String takes all text");
    }
    html.push_str(
        "<h2>Últimas execuções</h2><table><tr><th>Tarefa</th><th>Planejada</th><th>Situação</th><th>Mensagens</th></tr>",
    );
    for run in runs {
        let name = match run.kind {
            regua_domain::schedule::TaskKind::UpdateCollections => "Atualizar cobranças",
            regua_domain::schedule::TaskKind::SendQueuedMessages => "Envia mensagens Omnichannel da fila",
            regua_domain::schedule::TaskKind::Reserved => "Tarefa do ERP",
        };
        let (planned, state, messages) = (run.planned_at.format("%d/%m/%Y %H:%M:%S UTC"), &run.state, run.evaluated);
        write!(html, "<tr><td>{name}</td><td>{planned}</td><td>{state}</td><td>{messages}</td></tr>")
            .expect("a String takes all text");
    }
    html.push_str("</table><p><a href=\"/readyz\">readyz</a> · <a href=\"/metrics\">metrics</a></p>");
    Ok(html)
}

fn table(counts: &[StageCount]) -> String {
    let mut rows: BTreeMap<_, BTreeMap<State, u64>> = BTreeMap::new();
    for count in counts {
        *rows.entry(count.stage).or_default().entry(count.state).or_default() += count.messages;
    }
    let mut html = String::from("<table><tr><th>Etapa</th>");
    for state in State::ALL {
        write!(html, "<th>{}</th>", label(*state)).expect("a String takes all text");
    }
    html.push_str("</tr>");
    for (stage, states) in rows {
        write!(html, "<tr><td>{}</td>", stage.erp_label()).expect("a String takes all text");
        for state in State::ALL {
            write!(html, "<td>{}</td>", states.get(state).copied().unwrap_or(0)).expect("a String takes all text");
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
