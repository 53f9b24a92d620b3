//! IXC Provedor: customers and titles behind its webservice, as contracts §2 has them.
//!
//! The provider is never stored. Every record is a pure function of the seed, its id and the simulator's date, so a million
//! customers cost no memory; only what is changed by hand is remembered.

mod app;
mod books;
mod columns;
mod customers;
mod payment_codes;
mod people;
mod pix;
mod provider;
mod query;
mod table;
mod tables;
mod value;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::faults::{Fault, InvalidFault};
use crate::mix::Clock;
use crate::server::Server;
use crate::spill::LogReader;
use app::IxcApp;

pub use books::{ChangeRefused, DayMove, Payment};
pub use customers::{Customer, OddCustomer};
pub use provider::{OddTitle, Provider, Title, TitleStatus};

/// How the simulated IXC Provedor behaves.
#[derive(Clone, Debug)]
pub struct IxcOptions {
    /// Where to listen; port 0 means any free one.
    pub listen: SocketAddr,
    /// Decides everybody and everything: the same seed gives the same provider.
    pub seed: u64,
    /// How many customers; one in ten has a second contract, and every contract one title a month.
    pub customers: u64,
    /// The date that the provider begins with.
    pub today: NaiveDate,
    /// Days from `today` on which 78 of 100 contracts fall due, in equal parts: `[3, 0, -3]` gives work to the stages −3, 0 and +3.
    /// Each between −25 and 10. Empty: due dates are spread over the month.
    pub due_offsets: Vec<i64>,
    /// No title exists but those that [`IxcSimulator::issue`] issues.
    pub by_hand: bool,
    /// The token, of the form `<user id>:<hex secret>` (contracts §2.1).
    pub token: String,
    /// Filters understand only `YYYY-MM-DD`, as on some installations (contracts §2.1).
    pub iso_dates_only: bool,
    /// Closes keep-alive connections that idle so long. `None`: never.
    pub idle_close: Option<Duration>,
    /// What the ERP's own senders are set to. `None`: the token's user may not read it, as is likely on real installations.
    pub own_sender: Option<OwnSender>,
}

/// The settings by which the ERP itself notifies customers (contracts §2.6), as `parametros` and `gateway_omnichannel` show them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnSender {
    /// `ativar_regua_cobranca`: the newer engine, *Régua de Cobrança*.
    pub regua: bool,
    /// `utiliza_cobranca_auto`: the older one, in the CRM.
    pub crm: bool,
    /// The `url` of each of its omnichannel gateways.
    pub gateways: Vec<String>,
}

impl Default for IxcOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            customers: 2000,
            today: (Utc::now() - TimeDelta::hours(3)).date_naive(),
            due_offsets: vec![3, 0, -3],
            by_hand: false,
            token: "1:00000000000000000000000000000000".to_owned(),
            iso_dates_only: false,
            idle_close: None,
            own_sender: None,
        }
    }
}

/// One request that was answered, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Microseconds since 1970 of this host's clock, when the request had been read to its end.
    pub at_us: i64,
    /// The HTTP method.
    pub method: String,
    /// The last part of the path.
    pub resource: String,
    /// It had the header `ixcsoft: listar`.
    pub listing: bool,
    /// The body, as sent.
    pub request: String,
    /// What the client got: the status, or the kind of fault that replaced it.
    pub answered: String,
    /// Rows in the answer.
    pub rows: usize,
}

/// What the simulator counted since it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IxcStats {
    /// The simulator's date.
    pub date: NaiveDate,
    /// Requests that reached a resource.
    pub requests: u64,
    /// The same by resource.
    pub by_resource: BTreeMap<String, u64>,
    /// POSTs without `ixcsoft: listar`: inserts, had this been a real ERP. A reader keeps it 0.
    pub inserts_attempted: u64,
    /// Answers by HTTP status, apart from the admin routes.
    pub by_status: BTreeMap<u16, u64>,
    /// Strikes by kind of fault.
    pub faults: BTreeMap<String, u64>,
}

/// A running IXC Provedor simulator; dropping it stops it.
#[derive(Debug)]
pub struct IxcSimulator {
    app: Arc<IxcApp>,
    server: Server,
}

impl IxcSimulator {
    /// Starts it on the current tokio runtime.
    ///
    /// # Errors
    /// The address can't be bound, the log's temporary file can't be created, or a due offset is outside −25 to 10.
    pub async fn start(options: IxcOptions) -> io::Result<Self> {
        if let Some(offset) = options.due_offsets.iter().find(|offset| !(-25..=10).contains(*offset)) {
            let why = format!("due offset {offset} is outside -25 to 10");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let (listen, idle_close) = (options.listen, options.idle_close);
        let app = Arc::new(IxcApp::new(options)?);
        let server = Server::start(listen, Arc::clone(&app), idle_close, Clock::new(None)).await?;
        Ok(Self { app, server })
    }

    /// `http://127.0.0.1:PORT`; the webservice is below `/webservice/v1`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The token that it accepts.
    pub fn token(&self) -> &str {
        self.app.token()
    }

    /// The simulator's date.
    pub fn today(&self) -> NaiveDate {
        self.app.books().day
    }

    /// Moves the date forward, as `POST /_admin/day` does: titles get issued, paid, cancelled, renegotiated.
    ///
    /// # Errors
    /// The date is before the one it has.
    pub fn move_to(&self, date: NaiveDate) -> Result<DayMove, ChangeRefused> {
        self.app.books_to_change().move_to(date)
    }

    /// Issues a title today, where titles are issued [by hand](IxcOptions::by_hand). Returns its id. Contracts have the ids of their customers,
    /// from 1.
    ///
    /// # Errors
    /// The contract doesn't exist, or the provider issues titles by itself.
    pub fn issue(&self, contract: u64, due_on: NaiveDate) -> Result<u64, ChangeRefused> {
        self.app.books_to_change().issue(contract, due_on)
    }

    /// Marks these open titles as paid today, all or none.
    ///
    /// # Errors
    /// One of them doesn't exist or isn't open.
    pub fn pay(&self, titles: &[u64], payment: Payment) -> Result<(), ChangeRefused> {
        self.app.books_to_change().pay(titles, payment)
    }

    /// Marks up to `count` open titles as paid today, those due nearest to today first. Returns their ids.
    pub fn pay_open(&self, count: usize, payment: Payment) -> Vec<u64> {
        self.app.books_to_change().pay_open(count, payment)
    }

    /// Sets the ERP's own senders, as `POST /_admin/own-sender` does; `None` makes them unreadable.
    pub fn set_own_sender(&self, settings: Option<OwnSender>) {
        self.app.set_own_sender(settings);
    }

    /// Cancels an open title today.
    ///
    /// # Errors
    /// It doesn't exist or isn't open.
    pub fn cancel(&self, title: u64) -> Result<(), ChangeRefused> {
        self.app.books_to_change().cancel(title)
    }

    /// Renegotiates an open title today. Returns the id of the title that replaces it.
    ///
    /// # Errors
    /// It doesn't exist, isn't open, or already replaces another.
    pub fn renegotiate(&self, title: u64) -> Result<u64, ChangeRefused> {
        self.app.books_to_change().renegotiate(title)
    }

    /// The rules that customers and titles follow: phones, odd cases.
    pub fn provider(&self) -> Provider {
        self.app.books().provider.clone()
    }

    /// A title as it stands today.
    pub fn title(&self, id: u64) -> Option<Title> {
        self.app.books().title(id)
    }

    /// Open titles of which this is true today, ascending, at most `count`.
    pub fn odd_titles(&self, odd: OddTitle, count: usize) -> Vec<u64> {
        self.app.books().odd_titles(odd).take(count).collect()
    }

    /// What it counted since it started.
    pub fn stats(&self) -> IxcStats {
        self.app.counted()
    }

    /// Arms further faults, as `POST /_admin/faults` does.
    ///
    /// # Errors
    /// One of them is impossible; none is armed then.
    pub fn faults(&self, faults: Vec<Fault>) -> Result<(), InvalidFault> {
        self.app.arm(faults)
    }

    /// Clears all faults, as `DELETE /_admin/faults` does.
    pub fn clear_faults(&self) {
        self.app.clear_faults();
    }

    /// Every request answered until now, oldest first.
    ///
    /// # Errors
    /// The temporary file can't be read.
    pub fn log(&self) -> io::Result<LogReader<Served>> {
        self.app.read_log()
    }

    /// Stops: no new connections, half a second for answers under way.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
