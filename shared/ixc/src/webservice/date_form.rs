//! How this installation understands dates in filters, found out by asking.
//!
//! Documented is `DD/MM/YYYY`, but some installations only understand `YYYY-MM-DD` (contracts §2.1). Guessing wrong would not fail:
//! it would list nothing, and nobody would be reminded of anything. So a title whose due date is known is asked for by that date.

use super::client::IxcClient;
use super::error::IxcError;
use super::query::{DateForm, Filter, Operator, Query, Resource};
use chrono::{Days, NaiveDate};
use regua_domain::mirror::{Invoice, InvoiceStatus};

/// Titles looked at to find one with a readable due date.
const SAMPLE_ROWS: usize = 20;

impl IxcClient {
    /// The form, found out once per client. Without any open title the documented one, and the next call asks again.
    ///
    /// # Errors
    /// [`IxcError::DateFilterBroken`] when neither form finds the title, or any error of a list.
    pub(super) async fn date_form(&self) -> Result<DateForm, IxcError> {
        if let Some(form) = self.known_date_form().get() {
            return Ok(*form);
        }
        let Some((id, due_on)) = self.any_open_title().await? else { return Ok(DateForm::Documented) };
        let form = self.form_that_finds(id, due_on).await?;
        Ok(*self.known_date_form().get_or_init(|| form))
    }

    async fn any_open_title(&self) -> Result<Option<(u64, NaiveDate)>, IxcError> {
        let query = Query::new(Resource::Invoices, Filter::new("id", Operator::Greater, 0), SAMPLE_ROWS)
            .and(Filter::new("status", Operator::NotEqual, InvoiceStatus::Received.letter()))
            .and(Filter::new("status", Operator::NotEqual, InvoiceStatus::Cancelled.letter()));
        let listing = self.list::<Invoice>(&query).await?;
        Ok(listing.rows.into_iter().find_map(|listed| Some((listed.id?, listed.row.ok()?.due_on))))
    }

    /// The first form that finds the title on its day and not from the day after; a form that finds it on both is ignored by the
    /// server, which loses nothing (rows are checked again) but is taken only if no other works.
    async fn form_that_finds(&self, id: u64, due_on: NaiveDate) -> Result<DateForm, IxcError> {
        let mut ignored = None;
        for form in DateForm::ALL {
            if !self.finds(id, due_on, due_on, form).await? {
                continue;
            }
            let (from, to) = (due_on + Days::new(1), due_on + Days::new(2));
            if !self.finds(id, from, to, form).await? {
                return Ok(form);
            }
            ignored.get_or_insert(form);
        }
        ignored.ok_or(IxcError::DateFilterBroken)
    }

    async fn finds(&self, id: u64, due_from: NaiveDate, due_to: NaiveDate, form: DateForm) -> Result<bool, IxcError> {
        let query = Query::new(Resource::Invoices, Filter::new("data_vencimento", Operator::AtLeast, form.write(due_from)), 1)
            .and(Filter::new("data_vencimento", Operator::AtMost, form.write(due_to)))
            .and(Filter::new("id", Operator::Equal, id));
        let listing = self.list::<Invoice>(&query).await?;
        Ok(listing.rows.iter().any(|listed| listed.id == Some(id)))
    }
}
