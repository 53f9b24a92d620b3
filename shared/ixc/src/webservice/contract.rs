//! Contracts: what they say about warning the customer is kept with their titles.

use super::Page;
use super::client::IxcClient;
use super::error::IxcError;
use super::query::{Filter, Operator, Query, Resource};
use crate::columns::{Scalar, columns};
use crate::problem::FieldProblem;
use crate::record::{Record, field, id, sealed::Sealed};
use crate::value::{self, Origin};
use chrono::NaiveDate;
use regua_domain::ids::CustomerId;
use regua_domain::mirror::Invoice;
use std::collections::{BTreeSet, HashMap};

/// A contract (`cliente_contrato`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// `id`.
    pub id: String,
    /// `id_cliente`; `None` when the ERP says nothing or `0`.
    pub customer_id: Option<CustomerId>,
    /// `status`: `P` pre-contract, `A` active, `I` inactive, `N` negative-listed, `D` gave up.
    pub status: String,
    /// `aviso_atraso`: whether the customer is warned of delay. Only an `N` says no (contracts §2.3).
    pub notifies_overdue: bool,
    /// `nao_avisar_ate`: no notice up to and including this day.
    pub no_notice_until: Option<NaiveDate>,
}

columns! {
    /// The columns of `cliente_contrato` that are read.
    ContractColumns { id, id_cliente, status, aviso_atraso, nao_avisar_ate }
}

impl Sealed for Contract {}
impl Record for Contract {
    type Columns = ContractColumns;
    const RESOURCE: &'static str = Resource::Contracts.table();

    fn id_column(columns: &ContractColumns) -> &Scalar {
        &columns.id
    }

    fn from_columns(c: &ContractColumns, origin: Origin) -> Result<Self, FieldProblem> {
        let customer = field!(c.id_cliente, origin).key()?;
        Ok(Self {
            id: id(field!(c.id, origin))?,
            customer_id: (!customer.is_empty()).then_some(CustomerId(customer)),
            status: field!(c.status, origin).text()?,
            notifies_overdue: field!(c.aviso_atraso, origin).unless_off()?,
            no_notice_until: field!(c.nao_avisar_ate, origin).date()?,
        })
    }
}

impl IxcClient {
    /// Puts into titles what their contracts say: status, `aviso_atraso`, `nao_avisar_ate`. A title without a contract, or whose contract
    /// the ERP doesn't have, stays as it is: nothing restricts it. An open one whose contract can't be understood is taken out, as a
    /// title that can't be understood itself is: what the contract forbids isn't known. One that is closed stays: its end is known.
    ///
    /// Returns the contracts as they were read, for the budget of bad rows. Asks at most 200 ids at a time.
    ///
    /// # Errors
    /// Any [`IxcError`]; the titles are then unchanged. [`Refusal::ResourceUnavailable`](super::Refusal) where the token's user may list
    /// titles but no contracts.
    pub async fn resolve_contracts(&self, titles: &mut Vec<Invoice>) -> Result<Page<Contract>, IxcError> {
        let named = titles.iter().map(|title| title.contract_id.as_str()).filter(|id| value::erp_number(id).is_some());
        let ids: BTreeSet<String> = named.map(str::to_owned).collect();
        let page = self.contracts_by_id(&ids.into_iter().collect::<Vec<_>>()).await?;
        let known: HashMap<&str, &Contract> = page.rows.iter().map(|contract| (contract.id.as_str(), contract)).collect();
        // A row whose very id can't be read may be any of those that the answer lacks.
        let is_unreadable = |id: &str| page.problems.iter().any(|bad| bad.id.as_deref().is_none_or(|bad| bad == id));
        titles.retain_mut(|title| match known.get(title.contract_id.as_str()) {
            Some(contract) => {
                title.contract_status.clone_from(&contract.status);
                title.notifies_overdue = contract.notifies_overdue;
                title.no_notice_until = contract.no_notice_until;
                true
            }
            None => title.contract_id.is_empty() || !title.is_open() || !is_unreadable(&title.contract_id),
        });
        Ok(page)
    }

    /// Whether the token's user may list contracts: asks for one row.
    ///
    /// # Errors
    /// Any [`IxcError`] of a list.
    pub async fn probe_contracts(&self) -> Result<(), IxcError> {
        let query = Query::new(Resource::Contracts, Filter::new("id", Operator::Equal, 1), 1);
        self.list::<Contract>(&query).await.map(|_| ())
    }
}
