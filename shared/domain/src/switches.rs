//! What keeps an invoice silent although it is owed: the ERP's switches of title, contract and customer, and our own holds.
//!
//! They are asked when a stage is decided and again when its message is topped up and started. Each has its [`SkipReason`], and each
//! reason can go away: the message then comes back while its stage can be caught up.

use crate::message::{SkipReason, names};
use crate::mirror::{Customer, Invoice};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::fmt;

names! {
    /// What a hold of our own keeps silent.
    HoldKind {
        /// Every invoice of a customer.
        Customer = "customer",
        /// One invoice.
        Invoice = "invoice",
    }
}

/// Whether an open title may be charged at all; the switch of contracts §2.2 that says no. [`Invoice::is_open`] asks the same.
///
/// # Errors
/// `liberado`, `estornado`, `aguardando_confirmacao_pagamento`, or nothing left to pay.
pub fn chargeable(invoice: &Invoice) -> Result<(), SkipReason> {
    let says_no = [
        (!invoice.released, SkipReason::Unreleased),
        (invoice.reversed, SkipReason::Reversed),
        (invoice.awaiting_confirmation, SkipReason::AwaitingConfirmation),
        (invoice.open_amount.0 <= 0, SkipReason::NotChargeable),
    ];
    first(says_no)
}

/// Whether a dated stage may speak of an invoice on `today`, the provider's date.
///
/// `days` is the stage's offset from the due date: a day after it is collection, any other is a reminder. `held_until` is the last day
/// of the longest hold that is in force on the invoice or its customer.
///
/// # Errors
/// The first of these that says no: a hold; `titulo_protestado`, whose debt is at the notary; `previsao` = M; the contract's
/// `nao_avisar_ate` (that day included) and, for collection, `aviso_atraso` (contracts §2.3); the customer's `num_dias_cob`.
pub fn may_speak(
    invoice: &Invoice,
    customer: Option<&Customer>,
    days: Option<i64>,
    held_until: Option<NaiveDate>,
    today: NaiveDate,
) -> Result<(), SkipReason> {
    let lasts = |until: Option<NaiveDate>| until.is_some_and(|until| today <= until);
    let says_no = [
        (lasts(held_until), SkipReason::OnHold),
        (invoice.protested, SkipReason::Protested),
        (invoice.forecast, SkipReason::Forecast),
        (lasts(invoice.no_notice_until), SkipReason::NoNoticeUntil),
        (is_collection(days) && !invoice.notifies_overdue, SkipReason::OverdueNoticesOff),
        (is_before_collection(days, customer), SkipReason::BeforeCollection),
    ];
    first(says_no)
}

/// Whether a stage with this offset comes after the due date.
fn is_collection(days: Option<i64>) -> bool {
    days.is_some_and(|days| days > 0)
}

/// Whether the customer's own `num_dias_cob` puts collection off beyond this stage (contracts §2.3); reminders are no collection.
pub(crate) fn is_before_collection(days: Option<i64>, customer: Option<&Customer>) -> bool {
    let from = customer.map_or(0, |customer| i64::from(customer.days_before_collection));
    is_collection(days) && days.is_some_and(|days| days < from)
}

fn first<const N: usize>(says_no: [(bool, SkipReason); N]) -> Result<(), SkipReason> {
    says_no.into_iter().find(|(holds, _)| *holds).map_or(Ok(()), |(_, why)| Err(why))
}
