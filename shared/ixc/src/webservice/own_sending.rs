//! Whether the ERP notifies customers itself (contracts §2.6): two senders on one channel would write to everybody twice.
//!
//! Whether an installation lets its webservice's users read these resources is unknown (contracts §6), so both may be refused: what
//! can't be read is not known, and never taken for "off".

use super::client::IxcClient;
use super::error::IxcError;
use super::query::{Filter, Operator, Query, Resource};
use crate::columns::{Scalar, columns};
use crate::problem::FieldProblem;
use crate::record::{Record, field, id, sealed::Sealed};
use crate::value::{self, Origin};

/// Gateways read: more omnichannel platforms than any provider has.
const GATEWAYS_MAX: usize = 50;

/// The switches of the ERP's own collection engines, from its one record of `parametros`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnCollection {
    /// `ativar_regua_cobranca`: the newer *Régua de Cobrança*. `None` where the column is absent or not understood.
    pub regua: Option<bool>,
    /// `utiliza_cobranca_auto`: the automatic collection of the CRM. `None` where the column is absent or not understood.
    pub crm: Option<bool>,
}

/// One omnichannel platform that the ERP can send through (`gateway_omnichannel`). Its token is never read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OmnichannelGateway {
    /// `id`.
    pub id: String,
    /// `url`, as it was typed there.
    pub url: String,
}

impl IxcClient {
    /// The switches of the ERP's own engines; `None` where it has no such record.
    ///
    /// # Errors
    /// Any [`IxcError`]; `Refused` with `ResourceUnavailable` where the token's user may not read it.
    pub async fn own_collection(&self) -> Result<Option<OwnCollection>, IxcError> {
        let query = Query::new(Resource::Parameters, Filter::new("id", Operator::Greater, 0), 1);
        let listing = self.list::<Parameters>(&query).await?;
        Ok(listing.rows.into_iter().find_map(|listed| listed.row.ok()).map(|row| row.0))
    }

    /// The omnichannel platforms that the ERP knows.
    ///
    /// # Errors
    /// As [`IxcClient::own_collection`].
    pub async fn omnichannel_gateways(&self) -> Result<Vec<OmnichannelGateway>, IxcError> {
        let query = Query::new(Resource::OmnichannelGateways, Filter::new("id", Operator::Greater, 0), GATEWAYS_MAX);
        let listing = self.list::<OmnichannelGateway>(&query).await?;
        Ok(listing.rows.into_iter().filter_map(|listed| listed.row.ok()).collect())
    }
}

columns! {
    /// The columns of `parametros` that are read.
    ParameterColumns { id, ativar_regua_cobranca, utiliza_cobranca_auto }
}

struct Parameters(OwnCollection);

impl Sealed for Parameters {}
impl Record for Parameters {
    type Columns = ParameterColumns;
    const RESOURCE: &'static str = Resource::Parameters.table();

    fn id_column(columns: &ParameterColumns) -> &Scalar {
        &columns.id
    }

    fn from_columns(c: &ParameterColumns, _: Origin) -> Result<Self, FieldProblem> {
        Ok(Self(OwnCollection { regua: switch(&c.ativar_regua_cobranca), crm: switch(&c.utiliza_cobranca_auto) }))
    }
}

columns! {
    /// The columns of `gateway_omnichannel` that are read.
    GatewayColumns { id, url }
}

impl Sealed for OmnichannelGateway {}
impl Record for OmnichannelGateway {
    type Columns = GatewayColumns;
    const RESOURCE: &'static str = Resource::OmnichannelGateways.table();

    fn id_column(columns: &GatewayColumns) -> &Scalar {
        &columns.id
    }

    fn from_columns(c: &GatewayColumns, origin: Origin) -> Result<Self, FieldProblem> {
        Ok(Self { id: id(field!(c.id, origin))?, url: field!(c.url, origin).text()? })
    }
}

/// `S` and `N`, as the ERP's other switches; whatever else it is, is not known.
fn switch(scalar: &Scalar) -> Option<bool> {
    if !scalar.is_present() {
        return None;
    }
    scalar.as_text().and_then(|text| value::switch(text).ok())
}
