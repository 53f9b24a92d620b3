//! What happened to an invoice between two looks at it.

use crate::message::names;
use crate::mirror::{Invoice, InvoiceStatus};
use serde::{Deserialize, Serialize};
use std::fmt;

names! {
    /// A change that an event stage may speak of.
    InvoiceEvent {
        /// It was paid in full.
        Settled = "settled",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// A renegotiation replaced it.
        Renegotiated = "renegotiated",
        /// It is owed again.
        Reopened = "reopened",
    }
}

/// The event between two states of one invoice, if there was one. A partial payment is none: the remainder goes on.
pub fn between(before: &Invoice, after: &Invoice) -> Option<InvoiceEvent> {
    let renegotiated = |invoice: &Invoice| invoice.status == InvoiceStatus::Cancelled && !invoice.renegotiation_id.is_empty();
    if renegotiated(after) && !renegotiated(before) {
        return Some(InvoiceEvent::Renegotiated);
    }
    if before.status == after.status {
        return None;
    }
    match after.status {
        InvoiceStatus::Received => Some(InvoiceEvent::Settled),
        InvoiceStatus::Cancelled => Some(InvoiceEvent::Cancelled),
        InvoiceStatus::Open | InvoiceStatus::Partial => {
            matches!(before.status, InvoiceStatus::Received | InvoiceStatus::Cancelled).then_some(InvoiceEvent::Reopened)
        }
    }
}
