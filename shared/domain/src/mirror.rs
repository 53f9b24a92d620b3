//! Customers and invoices as the ledger mirrors them: only the columns that a decision or a text needs.
//!
//! The ERP's records carry passwords and birth dates; nothing outside these structs is ever kept.

use crate::ids::{CustomerId, InvoiceId};
use crate::message::names;
use crate::money::Centavos;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A customer (`cliente`). Text fields are trimmed; an absent one is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// `id`.
    pub id: CustomerId,
    /// `razao`: the legal or full name.
    pub name: String,
    /// `fantasia`: the trade name.
    pub trade_name: String,
    /// `cnpj_cpf`, as the ERP punctuates it.
    pub tax_id: String,
    /// `tipo_pessoa`: `F`, `J` or `E`; empty when unknown.
    pub person_type: String,
    /// `telefone_celular`, free text.
    pub mobile_phone: String,
    /// `whatsapp`, free text; preferred over the mobile phone.
    pub whatsapp: String,
    /// `cidade`, resolved to its name.
    pub city: String,
    /// `uf`, resolved to its two letters; empty when unknown.
    pub state: String,
    /// `filial_id`.
    pub branch_id: String,
    /// `id_tipo_cliente`.
    pub customer_type_id: String,
    /// `participa_cobranca`: the ERP leaves it empty, not `N`, where it is unchecked.
    pub takes_part_in_collection: bool,
    /// `participa_pre_cobranca`.
    pub takes_part_in_pre_due: bool,
    /// `num_dias_cob`: days late before collection starts; 0 is the default of the schedule.
    pub days_before_collection: u16,
    /// `ativo_serasa`: whether a negative listing is active; `None` where the source doesn't say.
    #[serde(default)]
    pub negatively_listed: Option<bool>,
}

impl Customer {
    /// A customer whose record says nothing but a name: then nothing keeps it out of any stage.
    pub fn new(id: CustomerId, name: impl Into<String>) -> Self {
        Self {
            id,
            name: name.into(),
            trade_name: String::new(),
            tax_id: String::new(),
            person_type: String::new(),
            mobile_phone: String::new(),
            whatsapp: String::new(),
            city: String::new(),
            state: String::new(),
            branch_id: String::new(),
            customer_type_id: String::new(),
            takes_part_in_collection: true,
            takes_part_in_pre_due: true,
            days_before_collection: 0,
            negatively_listed: None,
        }
    }
}

/// `fn_areceber.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvoiceStatus {
    /// `A`: a receber.
    #[serde(rename = "A")]
    Open,
    /// `P`: parcial, still open.
    #[serde(rename = "P")]
    Partial,
    /// `R`: recebido.
    #[serde(rename = "R")]
    Received,
    /// `C`: cancelado.
    #[serde(rename = "C")]
    Cancelled,
}

impl InvoiceStatus {
    /// The ERP's letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Open => "A",
            Self::Partial => "P",
            Self::Received => "R",
            Self::Cancelled => "C",
        }
    }

    /// The status of an ERP letter.
    pub fn parse(letter: &str) -> Option<Self> {
        [Self::Open, Self::Partial, Self::Received, Self::Cancelled].into_iter().find(|s| s.letter() == letter)
    }
}

names! {
    /// What the ERP's webhook says of a title, ahead of the next look at it.
    Told {
        /// It was paid.
        Paid = "paid",
        /// It was cancelled.
        Cancelled = "cancelled",
    }
}

/// An invoice (`fn_areceber`, a title). Text fields are trimmed; an absent one is empty; `0000-00-00` is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the ERP's record")]
pub struct Invoice {
    /// `id`.
    pub id: InvoiceId,
    /// `id_cliente`; `None` when the ERP says nothing or `0`.
    pub customer_id: Option<CustomerId>,
    /// `documento`: the number that the customer sees; empty when there is none.
    pub number: String,
    /// `status`.
    pub status: InvoiceStatus,
    /// `liberado`: an unreleased title is hidden in the ERP and must not be charged.
    pub released: bool,
    /// `valor`.
    pub amount: Centavos,
    /// `valor_aberto`: what is still owed.
    pub open_amount: Centavos,
    /// `data_emissao`.
    pub issued_on: Option<NaiveDate>,
    /// `data_vencimento`.
    pub due_on: NaiveDate,
    /// `pagamento_data`.
    pub paid_on: Option<NaiveDate>,
    /// `data_cancelamento`.
    pub cancelled_on: Option<NaiveDate>,
    /// `filial_id`.
    pub branch_id: String,
    /// `id_carteira_cobranca`: the billing portfolio.
    pub portfolio_id: String,
    /// `id_contrato`, else `id_contrato_principal`, else `id_contrato_avulso`; empty for a one-off title without any.
    pub contract_id: String,
    /// The contract's `status`, of a file its `status_contrato`; empty where the source doesn't say.
    pub contract_status: String,
    /// The contract's `aviso_atraso`: only an `N` keeps the customer from hearing of delay (contracts §2.3). True where nobody says.
    #[serde(default = "unless_said")]
    pub notifies_overdue: bool,
    /// The contract's `nao_avisar_ate`: no notice up to and including this day (contracts §2.3).
    #[serde(default)]
    pub no_notice_until: Option<NaiveDate>,
    /// `tipo_recebimento`.
    pub receipt_type: String,
    /// `linha_digitavel`; unverified.
    pub digitable_line: String,
    /// `pix_copia_e_cola`; unverified.
    pub pix_code: String,
    /// `link_pagamento` or `gateway_link`.
    pub payment_link: String,
    /// `aguardando_confirmacao_pagamento`: a payment is in flight.
    pub awaiting_confirmation: bool,
    /// `estornado`.
    pub reversed: bool,
    /// `titulo_protestado`: its debt is at the notary.
    pub protested: bool,
    /// `previsao` = `M`. The document names three values and says no more (contracts §2.2): `N` (*competência*) and `S` (*caixa*) are the
    /// bases on which ordinary titles are booked, the vendor's own sample of one has `S`; what is only forecast by hand may never be owed.
    #[serde(default)]
    pub forecast: bool,
    /// A renegotiation that the title names; empty when none. Contracts §2.2 leave open which of the two columns is whose: an open title
    /// names the one that it came from (`id_renegociacao_novo`, else `id_renegociacao`), a cancelled one the one that replaced it
    /// (`id_renegociacao`, else `id_renegociacao_novo`).
    pub renegotiation_id: String,
}

/// What holds for records of before a field: the customer may hear of it.
const fn unless_said() -> bool {
    true
}

impl Invoice {
    /// An open title whose record says nothing else: then nothing keeps it out of any stage.
    pub fn open(id: InvoiceId, customer_id: CustomerId, amount: Centavos, due_on: NaiveDate) -> Self {
        Self {
            id,
            customer_id: Some(customer_id),
            number: String::new(),
            status: InvoiceStatus::Open,
            released: true,
            amount,
            open_amount: amount,
            issued_on: None,
            due_on,
            paid_on: None,
            cancelled_on: None,
            branch_id: String::new(),
            portfolio_id: String::new(),
            contract_id: String::new(),
            contract_status: String::new(),
            notifies_overdue: true,
            no_notice_until: None,
            receipt_type: String::new(),
            digitable_line: String::new(),
            pix_code: String::new(),
            payment_link: String::new(),
            awaiting_confirmation: false,
            reversed: false,
            protested: false,
            forecast: false,
            renegotiation_id: String::new(),
        }
    }

    /// The title as it is after what was told of it: nothing is owed any more. Its record stays what the ERP's list said.
    #[must_use]
    pub fn after(self, told: Told) -> Self {
        let status = match told {
            Told::Paid => InvoiceStatus::Received,
            Told::Cancelled => InvoiceStatus::Cancelled,
        };
        Self { status, open_amount: Centavos(0), ..self }
    }

    /// Whether dated stages may speak of it: status A or P, released, something owed, no payment in flight (contracts §2.2).
    pub fn is_open(&self) -> bool {
        matches!(self.status, InvoiceStatus::Open | InvoiceStatus::Partial)
            && self.released
            && self.open_amount > Centavos(0)
            && !self.awaiting_confirmation
            && !self.reversed
    }
}
