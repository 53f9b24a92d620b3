//! From a notice and what the ledger knows to exactly what will be sent.

use crate::filling::{Filled, Filling, Values};
use crate::ids::{ChannelId, NoticeId};
use crate::message::SkipReason;
use crate::mirror::{Customer, Invoice};
use crate::money::Centavos;
use crate::payment::PaymentCode;
use crate::phone;
use crate::stage::Stage;
use crate::variables::{Circumstances, Facts, Variable};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A notice, ready to be rendered.
#[derive(Clone, Debug)]
pub struct NoticePlan {
    /// The notice.
    pub id: NoticeId,
    /// The channel that it goes through.
    pub channel_id: ChannelId,
    /// That channel's id at Opa! Suite.
    pub provider_channel_id: String,
    /// The template's id at Opa! Suite.
    pub template_id: String,
    /// What it fills the template with.
    pub filling: Filling,
}

impl NoticePlan {
    /// Whether it says what a customer owes in all, which must be added up first.
    pub fn needs_totals(&self) -> bool {
        self.filling.variables().any(Variable::is_total)
    }

    /// Whether it says a Pix code, which the ERP is asked for where the invoice has none.
    pub fn needs_pix(&self) -> bool {
        self.filling.variables().any(|variable| variable == Variable::PixCode)
    }
}

/// What will be sent, to the letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// The recipient, `+55…`.
    pub phone: String,
    /// The recipient's canonical form: area code and last eight digits.
    pub phone_key: String,
    /// The channel's id at Opa! Suite.
    pub provider_channel_id: String,
    /// The template's id at Opa! Suite.
    pub template_id: String,
    /// What the template's body gets.
    pub values: Values,
    /// The address of the header's media, in place of the template's own.
    pub media: Option<String>,
    /// What is owed: it ranks the messages of one person, and is no part of what they read.
    pub amount: Centavos,
    /// Whether it goes to the pilot's phone in place of the customer's.
    pub redirected: bool,
}

/// What precedes a payment and a media address in a version: no value can be it, for values have no control signs.
const PAYMENT: &str = "\u{1}payment";
const MEDIA: &str = "\u{1}media";

impl Rendered {
    /// The version of the facts: two renderings have the same one exactly when the customer would read the same.
    ///
    /// Sixteen hexadecimal digits of SHA-256 over the fields, each preceded by its length. Before what not every message has stands a mark
    /// that no value can be, so that the version of a message without it is what it was before there was such a thing.
    pub fn facts_version(&self) -> String {
        let mut hash = Sha256::new();
        let mut fields = |fields: &[&str]| {
            for field in fields {
                hash.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(field.as_bytes());
            }
        };
        fields(&[&self.phone, &self.provider_channel_id, &self.template_id]);
        match &self.values {
            Values::ByPosition(values) => values.iter().for_each(|value| fields(&[value])),
            Values::Payment(payment) => {
                let amount = payment.amount_text();
                fields(&[PAYMENT, &amount, payment.code.means().as_str()]);
                match &payment.code {
                    PaymentCode::Pix { code, merchant_name, key } => {
                        fields(&[code, merchant_name, key.kind().as_str(), key.as_str()]);
                    }
                    PaymentCode::Boleto { digitable_line } => fields(&[digitable_line]),
                }
            }
        }
        if let Some(media) = &self.media {
            fields(&[MEDIA, media]);
        }
        let first: [u8; 8] = std::array::from_fn({
            let digest = hash.finalize();
            move |place| digest[place]
        });
        format!("{:016x}", u64::from_be_bytes(first))
    }
}

/// Renders `notice` at one stage; for one invoice, or for what concerns the customer as such.
///
/// # Errors
/// The reason why this customer can't get it: no customer, no part in collection or in reminders, no valid phone, a variable without a value,
/// a payment code that can't be paid.
pub fn render(
    notice: &NoticePlan,
    stage: Stage,
    customer: Option<&Customer>,
    invoice: Option<&Invoice>,
    circumstances: Circumstances<'_>,
) -> Result<Rendered, SkipReason> {
    let customer = customer.ok_or(SkipReason::NoCustomer)?;
    if !customer.takes_part_in_collection {
        return Err(SkipReason::NotInCollection);
    }
    if stage == Stage::PreDue && !customer.takes_part_in_pre_due {
        return Err(SkipReason::NotInPreDue);
    }
    let phone = phone::choose(&customer.whatsapp, &customer.mobile_phone).map_err(|_| SkipReason::NoValidPhone)?;
    let Filled { values, media } = notice.filling.render(&Facts { customer, invoice, circumstances })?;
    Ok(Rendered {
        phone: phone.e164().to_owned(),
        phone_key: phone.key().as_str().to_owned(),
        provider_channel_id: notice.provider_channel_id.clone(),
        template_id: notice.template_id.clone(),
        values,
        media,
        amount: invoice.map_or(Centavos(0), |invoice| invoice.open_amount),
        redirected: false,
    })
}
