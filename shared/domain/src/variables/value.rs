//! What a variable stands for, and the values that a message is sent with.

use super::{Entry, Part, Variable};
use crate::media::MediaFault;
use crate::message::SkipReason;
use crate::mirror::{Customer, Invoice};
use crate::money::Centavos;
use crate::payment_codes::{DigitableLine, PixCode, PixKey};
use crate::place::Uf;
use crate::provider::{IdentityField, Provider};
use crate::tax_id::TaxId;
use chrono::NaiveDate;
use thiserror::Error;

/// The most characters of one rendered value: what the body of a message bears in all (contracts §3.2), so that the longest Pix code fits
/// with words around it.
pub const VALUE_CHARS_MAX: usize = 1024;
/// The platform refuses a value with this many spaces in a row (contracts §1.2).
const SPACES_REFUSED: usize = 4;

/// What a text is written from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who is written to.
    pub customer: &'a Customer,
    /// What it is about.
    /// `None` for what concerns the customer as such.
    pub invoice: Option<&'a Invoice>,
    /// What stands in neither.
    pub circumstances: Circumstances<'a>,
}

impl Facts<'_> {
    /// The branch that speaks: the invoice's, and without one the customer's.
    fn branch_id(&self) -> &str {
        let of_invoice = self.invoice.map(|invoice| &invoice.branch_id).filter(|branch| !branch.is_empty());
        of_invoice.unwrap_or(&self.customer.branch_id)
    }

    /// The key of the account that the branch's Pix payments go to, if the configuration says it.
    pub(crate) fn provider_pix_key(&self) -> Option<&PixKey> {
        self.circumstances.provider.pix_key(self.branch_id())
    }
}

/// What a text says that stands neither with the customer nor with the invoice.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The provider's date on which it is written.
    pub today: NaiveDate,
    /// Who sends it.
    pub provider: &'a Provider,
    /// What the customer owes in all; `None` where nobody added it up.
    pub totals: Option<Totals>,
    /// The due date of what a renegotiation put in the invoice's place.
    pub renegotiated_to: Option<NaiveDate>,
}

/// What a customer owes in all, of one source: its invoices of whatever due date that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Their open amounts.
    pub open_amount: Centavos,
    /// Their number.
    pub invoices: u32,
}

/// Why the values of a message could not be written. Says nothing of the facts themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RenderError {
    /// There is nothing there, and the platform refuses an empty value.
    #[error("{0} is empty for this invoice; {mend}", mend = .0.mend_if_empty())]
    Empty(Variable),
    /// A Pix code or a digitable line that can't be paid, or not this invoice.
    #[error("{0} of this invoice is not one that could be paid, or asks for another amount; renew it in the ERP")]
    InvalidPaymentCode(Variable),
    /// A Pix code that doesn't say whose account it is paid to, and neither does the configuration.
    #[error("the Pix code of this invoice names no key, and nothing else does; write pix_key in [provider] or in its [[branch]]")]
    NoPixKey,
    /// An address from which the platform couldn't fetch the header's media.
    #[error("#areceber_link# of this invoice can't be the media of the template's header: it {0}; mend it in the ERP")]
    InvalidMedia(MediaFault),
    /// Longer than [`VALUE_CHARS_MAX`].
    #[error("entry {entry} of the variables has {chars} characters, more than {VALUE_CHARS_MAX}")]
    TooLong {
        /// Which entry, counted from 1.
        entry: usize,
        /// How many characters it has.
        chars: usize,
    },
}

impl From<RenderError> for SkipReason {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Empty(_) | RenderError::NoPixKey | RenderError::TooLong { .. } => Self::MissingValue,
            RenderError::InvalidPaymentCode(_) => Self::InvalidPaymentCode,
            RenderError::InvalidMedia(_) => Self::InvalidMedia,
        }
    }
}

/// Writes one value per entry, as the platform demands them: without line breaks, tabs or long runs of spaces,
/// trimmed, never empty and at most [`VALUE_CHARS_MAX`] characters (contracts §1.2, §3.2). Nothing is cut off: half a
/// Pix code is worse than none.
///
/// # Errors
/// A variable without a value, a payment code that can't be paid, and a value that is too long.
pub fn render(entries: &[Entry], facts: &Facts<'_>) -> Result<Vec<String>, RenderError> {
    entries.iter().zip(1..).map(|(entry, place)| render_entry(entry, place, facts)).collect()
}

fn render_entry(entry: &Entry, place: usize, facts: &Facts<'_>) -> Result<String, RenderError> {
    let mut written = String::new();
    for part in &entry.0 {
        match part {
            Part::Text(text) => written.push_str(text),
            Part::Variable(variable) => {
                let value = clean(&value(*variable, facts)?);
                if value.is_empty() {
                    return Err(RenderError::Empty(*variable));
                }
                written.push_str(&value);
            }
        }
    }
    let written = clean(&written);
    match written.chars().count() {
        chars if chars > VALUE_CHARS_MAX => Err(RenderError::TooLong { entry: place, chars }),
        _ => Ok(written),
    }
}

/// What a variable stands for; empty where there is nothing.
fn value(variable: Variable, facts: &Facts<'_>) -> Result<String, RenderError> {
    let Facts { customer, invoice, circumstances } = facts;
    let provider = |field| circumstances.provider.field(facts.branch_id(), field).to_owned();
    let of_invoice = |value: fn(&Invoice) -> String| invoice.map(value).unwrap_or_default();
    Ok(match variable {
        Variable::CustomerName => customer.name.clone(),
        Variable::CustomerTradeName => customer.trade_name.clone(),
        Variable::CustomerFirstName => first_name(&customer.name),
        Variable::CustomerTaxId => TaxId::parse(&customer.tax_id).map_or_else(String::new, |id| id.masked()),
        Variable::CustomerCity => city(&customer.city),
        Variable::CustomerState => Uf::parse(&customer.state).map_or_else(String::new, |uf| uf.to_string()),
        Variable::InvoiceNumber => of_invoice(|invoice| invoice.number.clone()),
        Variable::InvoiceAmount => of_invoice(|invoice| invoice.amount.format_brl()),
        Variable::InvoiceOpenAmount => of_invoice(|invoice| invoice.open_amount.format_brl()),
        Variable::InvoiceIssuedOn => of_invoice(|invoice| invoice.issued_on.map_or_else(String::new, brazilian)),
        Variable::InvoiceDueOn => of_invoice(|invoice| brazilian(invoice.due_on)),
        Variable::InvoiceDaysLate => invoice.map_or_else(String::new, |invoice| {
            circumstances.provider.days_late_from.days_late(invoice.due_on, circumstances.today).to_string()
        }),
        Variable::InvoiceLink => of_invoice(|invoice| invoice.payment_link.clone()),
        Variable::DigitableLine => invoice.map_or(Ok(None), digitable_line)?.map_or_else(String::new, |line| line.formatted()),
        Variable::PixCode => invoice.map_or(Ok(None), pix_code)?.map_or_else(String::new, |code| code.as_str().to_owned()),
        Variable::ContractNumber => of_invoice(|invoice| invoice.contract_id.clone()),
        Variable::RenegotiatedDueOn => circumstances.renegotiated_to.map_or_else(String::new, brazilian),
        Variable::TotalOpenAmount => circumstances.totals.map_or_else(String::new, |totals| totals.open_amount.format_brl()),
        Variable::OpenInvoices => circumstances.totals.map_or_else(String::new, |totals| totals.invoices.to_string()),
        Variable::ProviderName => provider(IdentityField::Name),
        Variable::ProviderTradeName => provider(IdentityField::TradeName),
        Variable::ProviderTaxId => provider(IdentityField::TaxId),
        Variable::ProviderAddress => provider(IdentityField::Address),
        Variable::ProviderPhone => provider(IdentityField::Phone),
    })
}

/// A date as Brazil writes it.
fn brazilian(date: NaiveDate) -> String {
    date.format("%d/%m/%Y").to_string()
}

/// The invoice's digitable line, if it has one, every check digit verified. What it asks for is not compared with the invoice: a bank adds fine and
/// interest to a boleto when it is paid, and the one registered decides.
pub(crate) fn digitable_line(invoice: &Invoice) -> Result<Option<DigitableLine>, RenderError> {
    if invoice.digitable_line.trim().is_empty() {
        return Ok(None);
    }
    let line = DigitableLine::parse(&invoice.digitable_line);
    line.map(Some).map_err(|_| RenderError::InvalidPaymentCode(Variable::DigitableLine))
}

/// The invoice's Pix code, if it has one, structure and CRC verified. A static code that asks for another amount than what is owed is another charge's, or
/// an old one; of a dynamic code the amount is a hint that no bank goes by.
pub(crate) fn pix_code(invoice: &Invoice) -> Result<Option<PixCode>, RenderError> {
    if invoice.pix_code.trim().is_empty() {
        return Ok(None);
    }
    let invalid = RenderError::InvalidPaymentCode(Variable::PixCode);
    let code = PixCode::parse(&invoice.pix_code).map_err(|_| invalid)?;
    let asks_for_another = !code.is_dynamic() && code.amount().is_some_and(|amount| amount != invoice.open_amount);
    // What the platform makes us clean would be another code.
    if asks_for_another || clean(code.as_str()) != code.as_str() {
        return Err(invalid);
    }
    Ok(Some(code))
}

/// An id that the ERP didn't resolve is no name for people.
fn city(city: &str) -> String {
    if city.bytes().all(|byte| byte.is_ascii_digit()) { String::new() } else { city.to_owned() }
}

/// Blanks and control signs become spaces, a run of four or more spaces becomes one, and the ends are trimmed.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut spaces = 0;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            spaces += 1;
            continue;
        }
        let kept = if spaces >= SPACES_REFUSED { 1 } else { spaces };
        if !cleaned.is_empty() {
            cleaned.extend(std::iter::repeat_n(' ', kept));
        }
        spaces = 0;
        cleaned.push(c);
    }
    cleaned
}

/// The first word with a letter in it; a word all in one case is written with a capital at each part.
fn first_name(name: &str) -> String {
    let word = name.split_whitespace().find(|word| word.chars().any(char::is_alphabetic)).unwrap_or_default();
    if word.chars().any(char::is_lowercase) && word.chars().any(char::is_uppercase) {
        return word.to_owned();
    }
    let mut at_start = true;
    let mut proper = String::with_capacity(word.len());
    for c in word.chars() {
        if at_start {
            proper.extend(c.to_uppercase());
        } else {
            proper.extend(c.to_lowercase());
        }
        at_start = !c.is_alphabetic();
    }
    proper
}
