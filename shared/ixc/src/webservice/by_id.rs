//! Records by their ids, in bounded lists.

use super::Page;
use super::client::{IDS_PER_REQUEST, IxcClient};
use super::contract::Contract;
use super::error::IxcError;
use super::query::{Filter, Query, Resource};
use super::titles::erp_number;
use crate::record::Record;
use regua_domain::ids::{CustomerId, InvoiceId};
use regua_domain::mirror::{Customer, Invoice};
use std::collections::BTreeSet;

impl IxcClient {
    /// The titles with these ids, of any status: this is how payments, cancellations and renegotiations are seen. An id that the
    /// answer lacks says nothing: absence is never an event.
    ///
    /// Asks at most 200 ids at a time, one request after the other.
    ///
    /// # Errors
    /// Any [`IxcError`]; [`IxcError::IdNotNumeric`] before anything is asked.
    pub async fn titles_by_id(&self, ids: &[InvoiceId]) -> Result<Page<Invoice>, IxcError> {
        self.by_id(Resource::Invoices, ids.iter().map(|id| id.0.as_str())).await
    }

    /// The customers with these ids. City and state may still be ids: see [`IxcClient::resolve_places`].
    ///
    /// # Errors
    /// As [`IxcClient::titles_by_id`].
    pub async fn customers_by_id(&self, ids: &[CustomerId]) -> Result<Page<Customer>, IxcError> {
        self.by_id(Resource::Customers, ids.iter().map(|id| id.0.as_str())).await
    }

    /// The contracts with these ids (`Invoice::contract_id`).
    ///
    /// # Errors
    /// As [`IxcClient::titles_by_id`].
    pub async fn contracts_by_id(&self, ids: &[String]) -> Result<Page<Contract>, IxcError> {
        self.by_id(Resource::Contracts, ids.iter().map(String::as_str)).await
    }

    /// `ids` in any order, repeated or not.
    pub(super) async fn by_id<'a, T: Record>(
        &self,
        resource: Resource,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<Page<T>, IxcError> {
        let ids: BTreeSet<u64> = ids.map(erp_number).collect::<Result<_, _>>()?;
        let ids: Vec<u64> = ids.into_iter().collect();
        let mut page = Page::empty();
        for batch in ids.chunks(IDS_PER_REQUEST) {
            self.add_batch(resource, batch, &mut page).await?;
        }
        Ok(page)
    }

    async fn add_batch<T: Record>(&self, resource: Resource, batch: &[u64], page: &mut Page<T>) -> Result<(), IxcError> {
        let listing = self.list::<T>(&Query::new(resource, Filter::id_in(batch), batch.len())).await?;
        page.rows_read += listing.rows.len();
        let mut awaited: BTreeSet<u64> = batch.iter().copied().collect();
        for listed in listing.rows {
            match listed.row {
                Ok(row) if listed.id.is_some_and(|id| awaited.remove(&id)) => page.rows.push(row),
                Ok(_) => page.filter_ignored += 1,
                Err(problem) => page.problems.push(problem),
            }
        }
        Ok(())
    }
}
