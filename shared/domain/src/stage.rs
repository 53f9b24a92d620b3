//! The eleven stages of the dunning schedule.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A step of the dunning schedule: the ten tabs of the ERP's screen plus the newer ERP's *No vencimento*.
///
/// The declaration order is the order of advance: of two dated stages the later one supersedes the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Pré-cobrança/Lembrete.
    PreDue,
    /// No vencimento.
    DueDay,
    /// Aviso de cobrança.
    Overdue,
    /// Quest. Pendência.
    PendingQuery,
    /// Agendar Pagamento.
    PaymentScheduling,
    /// Cobrança Presencial.
    InPerson,
    /// Crédito/Cartório.
    CreditBureau,
    /// Baixa.
    Settled,
    /// Cancelamento.
    Cancelled,
    /// Renegociação.
    Renegotiated,
    /// Remover negativações.
    BureauRemoved,
}

/// What makes a stage due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// A day offset from the due date.
    Dated,
    /// Something that happened to the invoice or the customer.
    Event,
}

impl Stage {
    /// Every stage, in the order of advance.
    pub const ALL: [Self; 11] = [
        Self::PreDue,
        Self::DueDay,
        Self::Overdue,
        Self::PendingQuery,
        Self::PaymentScheduling,
        Self::InPerson,
        Self::CreditBureau,
        Self::Settled,
        Self::Cancelled,
        Self::Renegotiated,
        Self::BureauRemoved,
    ];

    /// Whether the stage is due by date or by event.
    pub const fn kind(self) -> StageKind {
        match self {
            Self::PreDue
            | Self::DueDay
            | Self::Overdue
            | Self::PendingQuery
            | Self::PaymentScheduling
            | Self::InPerson
            | Self::CreditBureau => StageKind::Dated,
            Self::Settled | Self::Cancelled | Self::Renegotiated | Self::BureauRemoved => StageKind::Event,
        }
    }

    /// The place in the order of advance, 0 to 10: stored beside the message so that the most advanced goes first.
    pub const fn rank(self) -> u8 {
        self as u8
    }

    /// The name in configuration, SQL, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreDue => "pre_due",
            Self::DueDay => "due_day",
            Self::Overdue => "overdue",
            Self::PendingQuery => "pending_query",
            Self::PaymentScheduling => "payment_scheduling",
            Self::InPerson => "in_person",
            Self::CreditBureau => "credit_bureau",
            Self::Settled => "settled",
            Self::Cancelled => "cancelled",
            Self::Renegotiated => "renegotiated",
            Self::BureauRemoved => "bureau_removed",
        }
    }

    /// The tab's label in the ERP, for operators.
    pub const fn erp_label(self) -> &'static str {
        match self {
            Self::PreDue => "Pré-cobrança/Lembrete",
            Self::DueDay => "No vencimento",
            Self::Overdue => "Aviso de cobrança",
            Self::PendingQuery => "Quest. Pendência",
            Self::PaymentScheduling => "Agendar Pagamento",
            Self::InPerson => "Cobrança Presencial",
            Self::CreditBureau => "Crédito/Cartório",
            Self::Settled => "Baixa",
            Self::Cancelled => "Cancelamento",
            Self::Renegotiated => "Renegociação",
            Self::BureauRemoved => "Remover negativações",
        }
    }

    /// The stage of a configuration or SQL name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
