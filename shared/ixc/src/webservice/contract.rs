//! Contracts: what they say about warning the customer.

use super::query::Resource;
use crate::columns::{Scalar, columns};
use crate::problem::FieldProblem;
use crate::record::{Record, field, id, sealed::Sealed};
use crate::value::Origin;
use chrono::NaiveDate;
use regua_domain::ids::CustomerId;

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
    pub warns_of_delay: bool,
    /// `nao_avisar_ate`: no warning up to and including this day.
    pub no_warning_until: Option<NaiveDate>,
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
        let warning = field!(c.aviso_atraso, origin);
        Ok(Self {
            id: id(field!(c.id, origin))?,
            customer_id: (!customer.is_empty()).then_some(CustomerId(customer)),
            status: field!(c.status, origin).text()?,
            warns_of_delay: warning.text()?.is_empty() || warning.switch(true)?,
            no_warning_until: field!(c.nao_avisar_ate, origin).date()?,
        })
    }
}
