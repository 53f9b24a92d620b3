//! Policies: whom they speak for, and with which stages.

use crate::decide::DatedStage;
use crate::folding::is_same;
use crate::ids::PolicyId;
use crate::message::names;
use crate::mirror::{Customer, Invoice, InvoiceStatus};
use crate::money::Centavos;
use crate::render::NoticePlan;
use crate::stage::Stage;
use crate::window::WeekHours;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A policy, ready to decide with.
#[derive(Clone, Debug)]
pub struct PolicyPlan {
    /// The policy.
    pub id: PolicyId,
    /// Its name.
    pub name: String,
    /// Whom it speaks for.
    pub filters: PolicyFilters,
    /// Its stages that are switched on.
    pub stages: Vec<StagePlan>,
}

/// One stage of a policy.
#[derive(Clone, Debug)]
pub struct StagePlan {
    /// The stage.
    pub stage: Stage,
    /// Days from the due date; `None` for event stages.
    pub days: Option<i64>,
    /// The day on which it was switched on: what was due before is not made up for, else a new schedule would begin with a flood.
    pub active_from: NaiveDate,
    /// Of an event stage: whether it is only for those who may have had a dated notice before.
    pub only_after_notice: bool,
    /// What it means that its day is closed to the recipient.
    pub closed_day: ClosedDay,
    /// Hours of its own, else of its policy; `None`: those of the recipient's place.
    pub hours: Option<WeekHours>,
    /// What it says.
    pub notice: NoticePlan,
}

impl StagePlan {
    /// When it is due; `None` for an event stage.
    pub fn dated(&self) -> Option<DatedStage> {
        let &Self { stage, days, active_from, closed_day, hours, .. } = self;
        Some(DatedStage { stage, days: days?, active_from, closed_day, hours })
    }
}

names! {
    /// What it means for a stage that nothing may be sent on its day: a weekend or holiday where the recipient is.
    ClosedDay {
        /// It is sent when the next window opens.
        Next = "next",
        /// It is sent on the last open day before; when that was missed, when the next window opens.
        Previous = "previous",
        /// It is left out.
        Skip = "skip",
    }
}

impl ClosedDay {
    /// What holds where the configuration doesn't say: a text that says "today" would be wrong on any other day.
    pub const fn default_of(stage: Stage) -> Self {
        match stage {
            Stage::DueDay => Self::Skip,
            Stage::PreDue
            | Stage::Overdue
            | Stage::PendingQuery
            | Stage::PaymentScheduling
            | Stage::InPerson
            | Stage::CreditBureau
            | Stage::Settled
            | Stage::Cancelled
            | Stage::Renegotiated
            | Stage::BureauRemoved => Self::Next,
        }
    }
}

/// What a policy speaks for, in the ERP's own values (contracts §2.2, §2.3). An empty filter lets everything through; several
/// values of one filter are alternatives; all filters must let an invoice through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyFilters {
    /// `filial_id` of the invoice, else of the customer.
    pub branch: Vec<String>,
    /// `id_carteira_cobranca` of the invoice.
    pub portfolio: Vec<String>,
    /// `id_tipo_cliente` of the customer.
    pub customer_type: Vec<String>,
    /// `tipo_pessoa` of the customer: `F`, `J` or `E`.
    pub person_type: Vec<String>,
    /// `tipo_recebimento` of the invoice: `Boleto`, `Pix`, ….
    pub receipt_type: Vec<String>,
    /// The status of the invoice's contract: `A` active, `I` inactive, ….
    pub contract_status: Vec<String>,
    /// The customer's city, alone or with its state: `Chapecó`, `Chapecó/SC`. Accents and case don't count.
    pub city: Vec<String>,
    /// The least that must be owed (`valor_aberto`); of a title that ended, for which nothing is, the least of its whole amount.
    pub amount_min: Option<Centavos>,
}

names! {
    /// A filter of a policy, by its key in the configuration file.
    Filter {
        /// *Filial*.
        Branch = "branch",
        /// *Carteira de cobrança*.
        Portfolio = "portfolio",
        /// *Tipo de cliente*.
        CustomerType = "customer_type",
        /// *Tipo de pessoa*.
        PersonType = "person_type",
        /// *Tipo de recebimento*.
        ReceiptType = "receipt_type",
        /// *Status do contrato*.
        ContractStatus = "contract_status",
        /// *Cidade*.
        City = "city",
        /// *Valor mínimo*.
        AmountMin = "amount_min",
    }
}

impl PolicyFilters {
    /// The values of a filter; none for [`Filter::AmountMin`], which is an amount.
    pub fn values(&self, filter: Filter) -> &[String] {
        match filter {
            Filter::Branch => &self.branch,
            Filter::Portfolio => &self.portfolio,
            Filter::CustomerType => &self.customer_type,
            Filter::PersonType => &self.person_type,
            Filter::ReceiptType => &self.receipt_type,
            Filter::ContractStatus => &self.contract_status,
            Filter::City => &self.city,
            Filter::AmountMin => &[],
        }
    }

    /// The values of a filter, to be written; `None` for [`Filter::AmountMin`].
    pub fn values_mut(&mut self, filter: Filter) -> Option<&mut Vec<String>> {
        Some(match filter {
            Filter::Branch => &mut self.branch,
            Filter::Portfolio => &mut self.portfolio,
            Filter::CustomerType => &mut self.customer_type,
            Filter::PersonType => &mut self.person_type,
            Filter::ReceiptType => &mut self.receipt_type,
            Filter::ContractStatus => &mut self.contract_status,
            Filter::City => &mut self.city,
            Filter::AmountMin => return None,
        })
    }

    /// The first filter that keeps an invoice out, or, without one, a customer as such; `None` when all let it through. What asks
    /// something of an invoice keeps every customer as such out.
    pub fn kept_out_by<'i>(&self, invoice: impl Into<Option<&'i Invoice>>, customer: Option<&Customer>) -> Option<Filter> {
        let invoice = invoice.into();
        Filter::ALL.iter().copied().find(|filter| !self.lets_through(*filter, invoice, customer))
    }

    fn lets_through(&self, filter: Filter, invoice: Option<&Invoice>, customer: Option<&Customer>) -> bool {
        if filter == Filter::AmountMin {
            return self.amount_min.is_none_or(|least| invoice.is_some_and(|invoice| measured(invoice) >= least));
        }
        let wanted = self.values(filter);
        wanted.is_empty() || wanted.iter().any(|wanted| is_meant(wanted, filter, invoice, customer))
    }
}

/// The amount that [`Filter::AmountMin`] looks at.
pub fn measured(invoice: &Invoice) -> Centavos {
    match invoice.status {
        InvoiceStatus::Open | InvoiceStatus::Partial => invoice.open_amount,
        InvoiceStatus::Received | InvoiceStatus::Cancelled => invoice.amount,
    }
}

/// What a filter looks at, for a person; `None` where invoice and customer don't say.
pub fn value_of<'v>(filter: Filter, invoice: impl Into<Option<&'v Invoice>>, customer: Option<&'v Customer>) -> Option<&'v str> {
    let invoice = invoice.into();
    let of_customer = |field: fn(&Customer) -> &str| customer.map(field);
    let of_invoice = |field: fn(&Invoice) -> &str| invoice.map(field);
    let value = match filter {
        Filter::Branch => of_invoice(|invoice| &invoice.branch_id)
            .filter(|branch| !branch.is_empty())
            .or_else(|| of_customer(|customer| &customer.branch_id)),
        Filter::Portfolio => of_invoice(|invoice| &invoice.portfolio_id),
        Filter::CustomerType => of_customer(|customer| &customer.customer_type_id),
        Filter::PersonType => of_customer(|customer| &customer.person_type),
        Filter::ReceiptType => of_invoice(|invoice| &invoice.receipt_type),
        Filter::ContractStatus => of_invoice(|invoice| &invoice.contract_status),
        Filter::City => of_customer(|customer| &customer.city),
        Filter::AmountMin => None,
    };
    value.filter(|value| !value.is_empty())
}

fn is_meant(wanted: &str, filter: Filter, invoice: Option<&Invoice>, customer: Option<&Customer>) -> bool {
    let Some(value) = value_of(filter, invoice, customer) else { return false };
    if filter != Filter::City {
        return is_same(wanted, value);
    }
    let state = customer.map_or("", |customer| customer.state.as_str());
    match wanted.rsplit_once('/') {
        Some((city, wanted_state)) => is_same(city, value) && is_same(wanted_state, state),
        None => is_same(wanted, value),
    }
}

/// Whether any notice of these policies says what a customer owes in all, which must be added up first.
pub fn needs_totals(policies: &[PolicyPlan]) -> bool {
    policies.iter().flat_map(|policy| &policy.stages).any(|stage| stage.notice.needs_totals())
}

/// The policy that decides for an invoice, or without one for a customer as such: the first of `policies`, best first, whose filters let
/// it through.
pub fn policy_for<'p, 'i>(
    policies: &'p [PolicyPlan],
    invoice: impl Into<Option<&'i Invoice>>,
    customer: Option<&Customer>,
) -> Option<&'p PolicyPlan> {
    let invoice = invoice.into();
    policies.iter().find(|policy| policy.filters.kept_out_by(invoice, customer).is_none())
}
