//! From named columns to the mirror's records: one reading for the webservice and for files.

use crate::columns::{Columns, CustomerColumns, Field, InvoiceColumns, Scalar};
use crate::problem::FieldProblem;
use crate::value::{self, Origin};
use regua_domain::ids::{CustomerId, InvoiceId};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;

/// A record that this crate reads from the ERP. Only this crate implements it.
pub trait Record: Sized + sealed::Sealed {
    /// The columns that are read.
    #[doc(hidden)]
    type Columns: Columns;

    /// The ERP's resource (table) name.
    const RESOURCE: &'static str;

    /// The record's id as it arrived, readable or not.
    #[doc(hidden)]
    fn id_column(columns: &Self::Columns) -> &Scalar;

    /// Reads the columns.
    #[doc(hidden)]
    fn from_columns(columns: &Self::Columns, origin: Origin) -> Result<Self, FieldProblem>;
}

pub(crate) mod sealed {
    /// Closes [`super::Record`] to other crates.
    pub trait Sealed {}
}

/// One column with its name.
macro_rules! field {
    ($columns:ident . $column:ident, $origin:expr) => {
        $crate::columns::Field { name: stringify!($column), scalar: &$columns.$column, origin: $origin }
    };
}
pub(crate) use field;

impl sealed::Sealed for Customer {}
impl Record for Customer {
    type Columns = CustomerColumns;
    const RESOURCE: &'static str = "cliente";

    fn id_column(columns: &CustomerColumns) -> &Scalar {
        &columns.id
    }

    /// `cidade` and `uf` are left as they arrive from the webservice, where they may be ids: see `IxcClient::resolve_places`.
    fn from_columns(c: &CustomerColumns, origin: Origin) -> Result<Self, FieldProblem> {
        let name = field!(c.razao, origin);
        let (city, state) = place(field!(c.cidade, origin), field!(c.uf, origin))?;
        let customer = Self {
            id: CustomerId(id(field!(c.id, origin))?),
            name: name.text()?,
            trade_name: field!(c.fantasia, origin).text()?,
            tax_id: field!(c.cnpj_cpf, origin).text()?,
            person_type: person_type(field!(c.tipo_pessoa, origin))?,
            mobile_phone: field!(c.telefone_celular, origin).text()?,
            whatsapp: field!(c.whatsapp, origin).text()?,
            city,
            state,
            branch_id: field!(c.filial_id, origin).text()?,
            customer_type_id: field!(c.id_tipo_cliente, origin).text()?,
            takes_part_in_collection: field!(c.participa_cobranca, origin).consent()?,
            takes_part_in_pre_due: field!(c.participa_pre_cobranca, origin).consent()?,
            days_before_collection: field!(c.num_dias_cob, origin).count()?,
            negatively_listed: field!(c.ativo_serasa, origin).flag()?,
        };
        if origin == Origin::File && customer.name.is_empty() {
            return Err(name.problem("the customer's name"));
        }
        Ok(customer)
    }
}

impl sealed::Sealed for Invoice {}
impl Record for Invoice {
    type Columns = InvoiceColumns;
    const RESOURCE: &'static str = "fn_areceber";

    fn id_column(columns: &InvoiceColumns) -> &Scalar {
        &columns.id
    }

    /// What the contract says is left as it arrives: the webservice has it elsewhere, see `IxcClient::resolve_contracts`.
    fn from_columns(c: &InvoiceColumns, origin: Origin) -> Result<Self, FieldProblem> {
        let status = status(field!(c.status, origin))?;
        let (amount, due_on) = (field!(c.valor, origin), field!(c.data_vencimento, origin));
        let amount = amount.money()?.ok_or_else(|| amount.problem("an amount of money"))?;
        Ok(Self {
            id: InvoiceId(id(field!(c.id, origin))?),
            customer_id: customer_id(field!(c.id_cliente, origin))?,
            number: field!(c.documento, origin).text()?,
            status,
            released: field!(c.liberado, origin).consent()?,
            amount,
            open_amount: open_amount(field!(c.valor_aberto, origin), status, amount)?,
            issued_on: field!(c.data_emissao, origin).date()?,
            due_on: due_on.date()?.ok_or_else(|| due_on.problem("the due date"))?,
            paid_on: field!(c.pagamento_data, origin).date()?,
            cancelled_on: field!(c.data_cancelamento, origin).date()?,
            branch_id: field!(c.filial_id, origin).text()?,
            portfolio_id: field!(c.id_carteira_cobranca, origin).text()?,
            contract_id: first_key([
                field!(c.id_contrato, origin),
                field!(c.id_contrato_principal, origin),
                field!(c.id_contrato_avulso, origin),
            ])?,
            contract_status: field!(c.status_contrato, origin).text()?,
            notifies_overdue: field!(c.aviso_atraso, origin).unless_off()?,
            no_notice_until: field!(c.nao_avisar_ate, origin).date()?,
            receipt_type: field!(c.tipo_recebimento, origin).text()?,
            digitable_line: field!(c.linha_digitavel, origin).text()?,
            pix_code: field!(c.pix_copia_e_cola, origin).text()?,
            payment_link: first_key([field!(c.link_pagamento, origin), field!(c.gateway_link, origin)])?,
            awaiting_confirmation: field!(c.aguardando_confirmacao_pagamento, origin).switch(false)?,
            reversed: field!(c.estornado, origin).switch(false)?,
            protested: field!(c.titulo_protestado, origin).switch(false)?,
            forecast: is_forecast(field!(c.previsao, origin))?,
            renegotiation_id: first_key(match status {
                InvoiceStatus::Cancelled => [field!(c.id_renegociacao, origin), field!(c.id_renegociacao_novo, origin)],
                _ => [field!(c.id_renegociacao_novo, origin), field!(c.id_renegociacao, origin)],
            })?,
        })
    }
}

/// The ERP numbers its records; a file of another origin may name them, in a form that can't break a list, a log line or a URL.
pub(crate) fn id(field: Field<'_>) -> Result<String, FieldProblem> {
    const NUMBER: &str = "the ERP's number: 1 to 18 digits, not beginning with 0";
    const NAME: &str = "1 to 64 letters, digits, points, dashes or underscores, not 0";
    let expected = match field.origin {
        Origin::Webservice => NUMBER,
        Origin::File => NAME,
    };
    let text = field.key()?;
    let is_name =
        |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let holds = match field.origin {
        Origin::Webservice => value::erp_number(&text).is_some(),
        Origin::File => is_name(&text),
    };
    if holds { Ok(text) } else { Err(field.problem(expected)) }
}

/// `None` when absent, empty or `0`: an invoice without a customer is skipped with a reason, it is not a bad row.
fn customer_id(field: Field<'_>) -> Result<Option<CustomerId>, FieldProblem> {
    if field.key()?.is_empty() { Ok(None) } else { id(field).map(|id| Some(CustomerId(id))) }
}

fn status(field: Field<'_>) -> Result<InvoiceStatus, FieldProblem> {
    InvoiceStatus::parse(&field.text()?).ok_or_else(|| field.problem("A (open), P (partial), R (received) or C (cancelled)"))
}

/// What is owed where the column is absent or empty: all of an open title, nothing of a closed one. Of a partly paid one it can't be known.
fn open_amount(field: Field<'_>, status: InvoiceStatus, amount: Centavos) -> Result<Centavos, FieldProblem> {
    match (field.money()?, status) {
        (Some(open), _) => Ok(open),
        (None, InvoiceStatus::Open) => Ok(amount),
        (None, InvoiceStatus::Received | InvoiceStatus::Cancelled) => Ok(Centavos(0)),
        (None, InvoiceStatus::Partial) => Err(field.problem("what is still owed of a partly paid title")),
    }
}

/// `M` is a forecast by hand; `N` and `S` are bases of booking (contracts §2.2), and absent is neither. Another letter would be a guess.
fn is_forecast(field: Field<'_>) -> Result<bool, FieldProblem> {
    match field.text()?.to_ascii_uppercase().as_str() {
        "M" => Ok(true),
        "N" | "S" | "" => Ok(false),
        _ => Err(field.problem("N, S, M or empty")),
    }
}

/// The ERP's `F`, `J` or `E`; anything else is unknown.
fn person_type(field: Field<'_>) -> Result<String, FieldProblem> {
    let text = field.text()?;
    Ok(if matches!(text.as_str(), "F" | "J" | "E") { text } else { String::new() })
}

/// City and state. Ids can't be resolved from a file: there they are unknown, which is empty.
fn place(city: Field<'_>, state: Field<'_>) -> Result<(String, String), FieldProblem> {
    let (city_text, state_text) = (city.key()?, state.key()?);
    match city.origin {
        Origin::Webservice => Ok((city_text, state_text)),
        Origin::File => {
            let city_text = if value::is_digits(&city_text) { String::new() } else { city_text };
            let state_text = if value::is_digits(&state_text) { String::new() } else { state_text.to_ascii_uppercase() };
            if state_text.is_empty() || is_state(&state_text) {
                Ok((city_text, state_text))
            } else {
                Err(state.problem("the two letters of the state, or empty"))
            }
        }
    }
}

/// Two ASCII capitals.
pub(crate) fn is_state(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn first_key<const N: usize>(fields: [Field<'_>; N]) -> Result<String, FieldProblem> {
    for field in fields {
        let key = field.key()?;
        if !key.is_empty() {
            return Ok(key);
        }
    }
    Ok(String::new())
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
