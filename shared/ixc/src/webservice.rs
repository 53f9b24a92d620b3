//! The ERP's webservice (contracts §2), read only.
//!
//! Every request is a POST with the header `ixcsoft: listar` to one of a closed list of resources: without the header the very same
//! URL is an insert, so both live in one place (`client.rs`). Rows are paged by ascending id, never by page number, and every row is
//! checked again here, for a server may ignore a filter.

mod answer;
mod by_id;
mod client;
mod config;
mod contract;
mod date_form;
mod error;
mod own_sending;
mod pix;
mod places;
mod query;
mod titles;

pub use client::IxcClient;
pub use config::{ConfigError, IxcConfig};
pub use contract::Contract;
pub use error::{ErrorClass, IxcError, Refusal};
pub use own_sending::{OmnichannelGateway, OwnCollection};
pub use pix::{Pix, parse_pix};
pub use places::Places;

use crate::problem::RowProblem;
use regua_domain::ids::InvoiceId;

/// The rows of one answer, or of one list of ids.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The records that could be read and that were asked for, each id once; those of a page by ascending id.
    pub rows: Vec<T>,
    /// Those that could not be read: count them in a [`crate::BadRowBudget`].
    pub problems: Vec<RowProblem>,
    /// Rows that the server's filter should have left out; they are dropped.
    pub filter_ignored: usize,
    /// All rows of the answer: read, unreadable and dropped.
    pub rows_read: usize,
    /// Where the next page begins; `None` after the last one, and for lists of ids.
    pub next: Option<InvoiceId>,
}

impl<T> Page<T> {
    const fn empty() -> Self {
        Self { rows: Vec::new(), problems: Vec::new(), filter_ignored: 0, rows_read: 0, next: None }
    }
}
