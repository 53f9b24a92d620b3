//! The webservice of IXC Provedor and the routes that move its date and its titles.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::NaiveDate;
use http::header::{HeaderValue, SET_COOKIE};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::books::{Books, ChangeRefused, Payment};
use super::pix;
use super::provider::Provider;
use super::query::{Query, members};
use super::table::{Counts, Table, list};
use super::tables::{Contracts, Customers, Fixed, Gateways, Parameters, Titles};
use super::{IxcOptions, IxcStats, OwnSender, Served};
use crate::exchange::{Answer, Request, admin_json};
use crate::faults::{Fault, Faults, InvalidFault};
use crate::mix::locked;
use crate::server::App;
use crate::spill::{LogBytes, LogReader, SpillLog};
use crate::tally::Tally;

const API: &str = "/webservice/v1/";

/// The simulated product.
#[derive(Debug)]
pub(crate) struct IxcApp {
    token: String,
    authorization: String,
    iso_dates_only: bool,
    own_sender: RwLock<Option<OwnSender>>,
    books: RwLock<Books>,
    counts: Counts,
    log: SpillLog<Served>,
    counters: Mutex<Counters>,
    faults: Arc<Faults>,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Counters {
    by_resource: BTreeMap<String, u64>,
    inserts_attempted: u64,
}

/// What was done for one request, apart from the answer itself.
struct Deed {
    answer: Answer,
    rows: usize,
}

#[derive(Deserialize)]
struct MoveDate {
    date: NaiveDate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pay {
    invoices: Option<Vec<u64>>,
    count: Option<usize>,
    status: Option<String>,
}

#[derive(Deserialize)]
struct OneInvoice {
    invoice: u64,
}

impl IxcApp {
    pub fn new(options: IxcOptions) -> io::Result<Self> {
        let provider = Provider::new(options.seed, options.customers, options.today, options.due_offsets);
        Ok(Self {
            authorization: base64(options.token.as_bytes()),
            token: options.token,
            iso_dates_only: options.iso_dates_only,
            own_sender: RwLock::new(options.own_sender),
            books: RwLock::new(Books::open(provider, options.by_hand)),
            counts: Counts::default(),
            log: SpillLog::create()?,
            counters: Mutex::default(),
            faults: Arc::new(Faults::new(options.seed)),
            tally: Tally::default(),
        })
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn books(&self) -> RwLockReadGuard<'_, Books> {
        self.books.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn books_to_change(&self) -> RwLockWriteGuard<'_, Books> {
        self.books.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_own_sender(&self, settings: Option<OwnSender>) {
        *self.own_sender.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn own_sender(&self) -> Option<OwnSender> {
        self.own_sender.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn arm(&self, faults: Vec<Fault>) -> Result<(), InvalidFault> {
        self.faults.arm(faults)
    }

    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    pub fn read_log(&self) -> io::Result<LogReader<Served>> {
        self.log.read()
    }

    pub fn counted(&self) -> IxcStats {
        let counters = locked(&self.counters);
        IxcStats {
            date: self.books().day,
            requests: counters.by_resource.values().sum(),
            by_resource: counters.by_resource.clone(),
            inserts_attempted: counters.inserts_attempted,
            by_status: self.tally.by_status(),
            faults: self.faults.struck(),
        }
    }

    fn serve(&self, request: &Request, resource: &str) -> Deed {
        if let Err(answer) = self.authenticate(request) {
            return answer.into();
        }
        // Contracts §2.1: the header `ixcsoft: listar` selects a list.
        let listing = request.header("ixcsoft") == Some("listar");
        match (&request.method, resource) {
            // Contracts §2.4; the table doesn't ask for the header.
            (&Method::POST | &Method::GET, "get_pix") => self.get_pix(request).into(),
            (&Method::POST | &Method::GET, _) if listing => self.list(request, resource),
            // Contracts §2.1: POST without the header is an insert. Nothing is ever inserted here, but it is counted.
            (&Method::POST, _) => {
                locked(&self.counters).inserts_attempted += 1;
                business_error("Preencha os campos obrigatórios!<br />").into()
            }
            // Contracts §2.1: without the header a list is answered 404.
            _ => html_error(StatusCode::NOT_FOUND).into(),
        }
    }

    /// Contracts §2.1: HTTP Basic with base64 of the token; Bearer is answered 400, an unknown token 401.
    fn authenticate(&self, request: &Request) -> Result<(), Answer> {
        let given = request.header("authorization").and_then(|value| value.split_once(' '));
        match given {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case("basic") && given.trim() == self.authorization => Ok(()),
            Some((scheme, _)) if !scheme.eq_ignore_ascii_case("basic") => Err(html_error(StatusCode::BAD_REQUEST)),
            _ => Err(html_error(StatusCode::UNAUTHORIZED)),
        }
    }

    fn list(&self, request: &Request, resource: &str) -> Deed {
        let books = self.books();
        match resource {
            "fn_areceber" => self.page(&Titles(&books), request),
            "cliente" => self.page(&Customers(&books.provider), request),
            "cliente_contrato" => self.page(&Contracts(&books.provider), request),
            "cidade" => self.page(&Fixed::Cities, request),
            "uf" => self.page(&Fixed::States, request),
            "filial" => self.page(&Fixed::Branches, request),
            "empresa" => self.page(&Fixed::Company, request),
            "parametros" | "gateway_omnichannel" => match self.own_sender() {
                Some(settings) if resource == "parametros" => self.page(&Parameters(&settings), request),
                Some(settings) => self.page(&Gateways(&settings), request),
                None => unavailable(resource),
            },
            // Contracts §2.1: the business error of a resource that isn't there, with 200.
            _ => unavailable(resource),
        }
    }

    fn page<T: Table>(&self, table: &T, request: &Request) -> Deed {
        let query =
            members(request).and_then(|members| Query::read(&members, table.name(), table.columns(), self.iso_dates_only));
        let query = match query {
            Ok(query) => query,
            Err(error) => {
                tracing::debug!(?error, "a list that can't be understood");
                // Contracts §2.1: a missing table, like any generic failure, is HTML, here with 200.
                return html_error(StatusCode::OK).into();
            }
        };
        match list(table, &query, &self.counts) {
            Ok(page) => {
                let answer = Answer::new(StatusCode::OK, "application/json; charset=utf-8", page.body);
                Deed { answer, rows: page.rows }
            }
            // Contracts §2.1: big pages provoke 504.
            Err(_too_much) => html_error(StatusCode::GATEWAY_TIMEOUT).into(),
        }
    }

    fn get_pix(&self, request: &Request) -> Answer {
        let id = members(request).ok().and_then(|members| members.get("id_areceber")?.trim().parse().ok());
        let books = self.books();
        match id.and_then(|id| books.title(id)) {
            None => business_error("Registro não encontrado!"),
            Some(title) if !title.is_open() => business_error("Parcela já está recebida ou cancelada!<br />"),
            Some(title) => Answer::ok(&pix::answer(&books.provider, &title)),
        }
    }

    fn pay(&self, request: &Request) -> Result<Answer, Answer> {
        let pay: Pay = admin_json(request)?;
        let payment = match pay.status.as_deref() {
            None | Some("R") => Payment::Full,
            Some("P") => Payment::Half,
            Some(other) => return Err(Answer::refused(format_args!("status {other} is neither R (received) nor P (partly)"))),
        };
        let paid = match (pay.invoices, pay.count) {
            (Some(ids), None) => self.books_to_change().pay(&ids, payment).map(|()| ids).map_err(refused)?,
            (None, Some(count)) => self.books_to_change().pay_open(count, payment),
            _ => return Err(Answer::refused("expected either invoices or count")),
        };
        Ok(Answer::ok(&json!({ "paid": paid })))
    }
}

impl From<Answer> for Deed {
    fn from(answer: Answer) -> Self {
        Self { answer, rows: 0 }
    }
}

/// Contracts §2.1: a resource that isn't there, or that the token's user may not read.
fn unavailable(resource: &str) -> Deed {
    business_error(&format!("Recurso {resource} não está disponível!")).into()
}

/// Contracts §2.1: business, permission and IP errors come with 200.
fn business_error(message: &str) -> Answer {
    Answer::ok(&json!({ "type": "error", "message": message }))
}

/// Contracts §2.1: generic failures are HTML, whatever the status.
fn html_error(status: StatusCode) -> Answer {
    Answer::html(status, "<div style=\"text-align: center;\">Ocorreu um erro ao processar a sua requisição.</div>")
}

fn refused(why: ChangeRefused) -> Answer {
    Answer::json(StatusCode::CONFLICT, &json!({ "error": why.to_string() }))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().chain([0, 0].iter()).take(3).fold(0, |bits, byte| (bits << 8) | usize::from(*byte));
        for place in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * place)) & 63]);
            text.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

impl App for IxcApp {
    fn laborious(&self, _request: &Request) -> bool {
        true // a page computes its rows
    }

    fn answer(&self, request: &Request) -> Answer {
        let Some(resource) = request.path.strip_prefix(API) else { return html_error(StatusCode::NOT_FOUND) };
        let Deed { answer, rows } = self.serve(request, resource);
        *locked(&self.counters).by_resource.entry(resource.chars().take(64).collect()).or_default() += 1;
        let served = Served {
            at_us: request.received_at_us,
            method: request.method.to_string(),
            resource: resource.to_owned(),
            listing: request.header("ixcsoft") == Some("listar"),
            request: String::from_utf8_lossy(&request.body).into_owned(),
            answered: request.replaced_by.map_or_else(|| answer.status.as_str().to_owned(), str::to_owned),
            rows,
        };
        if let Err(error) = self.log.append(&served) {
            tracing::error!(%error, "the log could not be written");
            return html_error(StatusCode::INTERNAL_SERVER_ERROR);
        }
        // Contracts §2.1: a session cookie is set, not required.
        answer.with_header(SET_COOKIE, HeaderValue::from_static("IXC_Session=simulator; path=/; HttpOnly"))
    }

    fn admin(&self, request: &Request) -> Option<Answer> {
        if request.method != Method::POST {
            return None;
        }
        let done = match request.path.as_str() {
            "/_admin/day" => admin_json(request).and_then(|MoveDate { date }| {
                let moved = self.books_to_change().move_to(date).map_err(refused)?;
                Ok(Answer::ok(&json!({ "date": date, "moved": moved })))
            }),
            "/_admin/pay" => self.pay(request),
            "/_admin/own-sender" => admin_json::<Option<OwnSender>>(request).map(|settings| {
                self.set_own_sender(settings.clone());
                Answer::ok(&json!({ "own_sender": settings }))
            }),
            "/_admin/cancel" => admin_json(request).and_then(|OneInvoice { invoice }| {
                self.books_to_change().cancel(invoice).map_err(refused)?;
                Ok(Answer::ok(&json!({ "cancelled": invoice })))
            }),
            "/_admin/renegotiate" => admin_json(request).and_then(|OneInvoice { invoice }| {
                let replacement = self.books_to_change().renegotiate(invoice).map_err(refused)?;
                Ok(Answer::ok(&json!({ "renegotiated": invoice, "replacement": replacement })))
            }),
            _ => return None,
        };
        Some(done.unwrap_or_else(|answer| answer))
    }

    fn stats(&self) -> Value {
        serde_json::to_value(self.counted()).expect("statistics are plain data")
    }

    fn log(&self) -> io::Result<LogBytes> {
        self.log.bytes()
    }

    fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_the_standard_one() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("1:abc", "MTphYmM=")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
