//! What notices fill their templates with, as their rows say it.

use crate::database::Row;
use crate::error::LedgerError;
use regua_domain::filling::Filling;
use regua_domain::media::Media;
use regua_domain::payment::PaymentTerms;

/// What a row's notice says; it has the columns `variables`, `payment` and `media` of one.
///
/// # Errors
/// [`LedgerError::Unreadable`] for what no version of Régua would have accepted.
pub(crate) fn read_filling(row: &Row) -> Result<Filling, LedgerError> {
    let (variables, payment, media) = (row.text("variables")?, read_payment(row)?, read_media(row)?);
    Filling::of(&variables, payment, media).map_err(|_| LedgerError::unreadable("notices.variables", &variables))
}

pub(crate) fn read_payment(row: &Row) -> Result<Option<PaymentTerms>, LedgerError> {
    row.opt_json("payment")
}

pub(crate) fn read_media(row: &Row) -> Result<Option<Media>, LedgerError> {
    row.opt_named("media", |text| Media::parse(text).ok())
}
