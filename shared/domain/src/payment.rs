//! Payment templates: WhatsApp shows a payment with its code in place of a text with placeholders.
//!
//! Opa! Suite takes the payment as an object where other templates have a list (contracts §1.5). What that object shall hold is documented
//! by name only. Inferred, from WhatsApp's own order details that it must become: who receives (`merchantName`) is the account's holder,
//! which a Pix code carries itself (field 59); the key's type is one of WhatsApp's five words; a digitable line is its digits alone.
//!
//! A boleto's line is the one of the invoice's record. The ERP is not asked for another: of `get_boleto` the answer to `tipo_boleto:"dados"`
//! was never captured, and its neighbours `"mail"` and `"sms"` make the ERP write to the customer (contracts §2.4).

use crate::message::names;
use crate::mirror::Invoice;
use crate::money::Centavos;
use crate::payment_codes::PixKey;
use crate::variables::{Facts, RenderError, Variable, clean, digitable_line, pix_code};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The members of the object, in any payment: a placeholder of such a name in a payment template is Opa! Suite's to fill (contracts §1.5).
pub const MEMBERS: [&str; 7] = ["valor", "tipoPagamento", "codigo", "merchantName", "pixKey", "pixKeyType", "linhaDigitavel"];

names! {
    /// How a payment template has the customer pay.
    PaymentMeans {
        /// With a Pix code.
        Pix = "pix",
        /// With a boleto's digitable line.
        Boleto = "boleto",
    }
}

names! {
    /// What the platform takes the object's amount for. The contracts leave it open (§1.5: "cents? — unit unverified"), and the wrong one shows
    /// a hundred times, or a hundredth of, what is owed: so it is never guessed.
    AmountUnit {
        /// R$123,00 is `12300`.
        Centavos = "centavos",
        /// R$123,00 is `123.00`.
        Reais = "reais",
    }
}

/// What a notice says of its payment template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentTerms {
    /// How it is paid.
    pub means: PaymentMeans,
    /// The unit of the amount.
    pub amount: AmountUnit,
}

impl PaymentTerms {
    /// What it says of an invoice: what is owed, and the code to pay it with.
    pub const fn variables(self) -> [Variable; 2] {
        let code = match self.means {
            PaymentMeans::Pix => Variable::PixCode,
            PaymentMeans::Boleto => Variable::DigitableLine,
        };
        [Variable::InvoiceOpenAmount, code]
    }
}

/// A payment, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// What is owed of the invoice.
    pub amount: Centavos,
    /// The unit in which it is written.
    pub unit: AmountUnit,
    /// What it is paid with.
    pub code: PaymentCode,
}

/// What a payment is made with, verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "means", rename_all = "snake_case")]
pub enum PaymentCode {
    /// Pix.
    Pix {
        /// The code for copying, letter for letter.
        code: String,
        /// The account's holder, as the code names it.
        merchant_name: String,
        /// The account's key.
        key: PixKey,
    },
    /// Boleto.
    Boleto {
        /// The 47 or 48 digits.
        digitable_line: String,
    },
}

impl PaymentCode {
    /// How it is paid.
    pub const fn means(&self) -> PaymentMeans {
        match self {
            Self::Pix { .. } => PaymentMeans::Pix,
            Self::Boleto { .. } => PaymentMeans::Boleto,
        }
    }
}

impl Payment {
    /// The amount as it is sent.
    pub fn amount_text(&self) -> String {
        let centavos = self.amount.0;
        match self.unit {
            AmountUnit::Centavos => centavos.to_string(),
            AmountUnit::Reais => format!("{}.{:02}", centavos / 100, centavos % 100),
        }
    }
}

/// What a payment says of the invoice.
///
/// # Errors
/// No invoice, nothing owed or no code: [`RenderError::Empty`]; a code that can't be paid; a Pix code that names no key, as dynamic ones
/// don't, of a branch without a key in the configuration.
pub fn render(terms: PaymentTerms, facts: &Facts<'_>) -> Result<Payment, RenderError> {
    let owed = facts.invoice.filter(|invoice| invoice.open_amount > Centavos(0));
    let invoice = owed.ok_or(RenderError::Empty(Variable::InvoiceOpenAmount))?;
    let code = match terms.means {
        PaymentMeans::Pix => pix(invoice, facts)?,
        PaymentMeans::Boleto => {
            let line = digitable_line(invoice)?.ok_or(RenderError::Empty(Variable::DigitableLine))?;
            PaymentCode::Boleto { digitable_line: line.digits().to_owned() }
        }
    };
    Ok(Payment { amount: invoice.open_amount, unit: terms.amount, code })
}

/// Who receives is what the code says. A key of the configuration only stands in where the code has none.
fn pix(invoice: &Invoice, facts: &Facts<'_>) -> Result<PaymentCode, RenderError> {
    let code = pix_code(invoice)?.ok_or(RenderError::Empty(Variable::PixCode))?;
    let invalid = RenderError::InvalidPaymentCode(Variable::PixCode);
    let merchant_name = clean(code.merchant_name());
    if merchant_name.is_empty() {
        return Err(invalid);
    }
    let key = match code.key() {
        Some(key) => PixKey::of_code(key).ok_or(invalid)?,
        None => facts.provider_pix_key().cloned().ok_or(RenderError::NoPixKey)?,
    };
    Ok(PaymentCode::Pix { code: code.as_str().to_owned(), merchant_name, key })
}
