//! Open titles, page by page.

use super::Page;
use super::answer::Listing;
use super::client::IxcClient;
use super::error::IxcError;
use super::query::{DateForm, Filter, Operator, Query, Resource};
use crate::record::Record;
use crate::value;
use chrono::NaiveDate;
use regua_domain::ids::InvoiceId;
use regua_domain::mirror::{Invoice, InvoiceStatus};

impl IxcClient {
    /// The next page of the titles with status A or P that are due from `due_from` to `due_to`, both included, with ids above `after`.
    ///
    /// Unreleased titles and those whose payment is in flight are among them: whether a title may be charged is decided by
    /// [`Invoice::is_open`], with everything that the mirror knows. The first page of a client may take up to five more requests, to
    /// learn how this installation writes dates in filters (contracts §2.1).
    ///
    /// # Errors
    /// Any [`IxcError`]; after one the sync must not be called complete.
    pub async fn open_titles_page(
        &self,
        after: Option<&InvoiceId>,
        due_from: NaiveDate,
        due_to: NaiveDate,
    ) -> Result<Page<Invoice>, IxcError> {
        let after = match after {
            Some(id) => erp_number(&id.0)?,
            None => 0,
        };
        let form = self.date_form().await?;
        let listing = self.list(&open_titles(after, due_from, due_to, form, self.page_size())).await?;
        page_after(listing, after, self.page_size(), |invoice| {
            is_unpaid(invoice.status) && (due_from..=due_to).contains(&invoice.due_on)
        })
    }
}

/// The documented example for "open and partial" is `status != R` with a second parameter `C`; two plain conditions say the same
/// and depend on nothing unusual. A server that ignores one of them only sends more, and each row is checked again.
fn open_titles(after: u64, due_from: NaiveDate, due_to: NaiveDate, form: DateForm, rows_max: usize) -> Query {
    Query::new(Resource::Invoices, Filter::new("data_vencimento", Operator::AtLeast, form.write(due_from)), rows_max)
        .and(Filter::new("data_vencimento", Operator::AtMost, form.write(due_to)))
        .and(Filter::new("status", Operator::NotEqual, InvoiceStatus::Received.letter()))
        .and(Filter::new("status", Operator::NotEqual, InvoiceStatus::Cancelled.letter()))
        .and(Filter::new("id", Operator::Greater, after))
}

const fn is_unpaid(status: InvoiceStatus) -> bool {
    match status {
        InvoiceStatus::Open | InvoiceStatus::Partial => true,
        InvoiceStatus::Received | InvoiceStatus::Cancelled => false,
    }
}

/// Keeps what was asked for and finds where the next page begins. Ids that don't ascend, or don't advance, would lose rows: an error.
fn page_after<T: Record>(
    listing: Listing<T>,
    after: u64,
    rows_max: usize,
    wanted: impl Fn(&T) -> bool,
) -> Result<Page<T>, IxcError> {
    let rows_read = listing.rows.len();
    let has_more = match listing.total {
        Some(total) => total > rows_read as u64,
        None => rows_read >= rows_max,
    };
    let mut page = Page { rows_read, ..Page::empty() };
    let mut last: Option<u64> = None;
    for listed in listing.rows {
        if let Some(id) = listed.id {
            if last.is_some_and(|last| id <= last) {
                return Err(IxcError::OrderIgnored { resource: T::RESOURCE });
            }
            last = Some(id);
        }
        match listed.row {
            Ok(row) if listed.id.is_some_and(|id| id > after) && wanted(&row) => page.rows.push(row),
            Ok(_) => page.filter_ignored += 1,
            Err(problem) => page.problems.push(problem),
        }
    }
    if has_more {
        let next = last.filter(|last| *last > after).ok_or(IxcError::PageRepeats { resource: T::RESOURCE })?;
        page.next = Some(InvoiceId(next.to_string()));
    }
    Ok(page)
}

/// An id as a number, for comparing and for filters.
pub(super) fn erp_number(id: &str) -> Result<u64, IxcError> {
    value::erp_number(id).ok_or_else(|| IxcError::IdNotNumeric { shape: value::shape(id) })
}
