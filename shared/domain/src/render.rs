//! From a notice and what the ledger knows to exactly what will be sent.

use crate::ids::{ChannelId, NoticeId};
use crate::message::SkipReason;
use crate::mirror::{Customer, Invoice};
use crate::money::Centavos;
use crate::phone;
use crate::stage::Stage;
use crate::variables::{self, Entry, Facts};
use chrono::NaiveDate;
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
    /// Its variables in order.
    pub entries: Vec<Entry>,
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
    /// The values of the template's placeholders, in order of appearance.
    pub variables: Vec<String>,
    /// What is owed: it ranks the messages of one person, and is no part of what they read.
    pub amount: Centavos,
    /// Whether it goes to the pilot's phone in place of the customer's.
    pub redirected: bool,
}

impl Rendered {
    /// The version of the facts: two renderings have the same one exactly when the customer would read the same.
    ///
    /// Sixteen hexadecimal digits of SHA-256 over the fields, each preceded by its length.
    pub fn facts_version(&self) -> String {
        let mut hash = Sha256::new();
        let fields = [&self.phone, &self.provider_channel_id, &self.template_id];
        for field in fields.into_iter().chain(&self.variables) {
            hash.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(field.as_bytes());
        }
        let first: [u8; 8] = std::array::from_fn({
            let digest = hash.finalize();
            move |place| digest[place]
        });
        format!("{:016x}", u64::from_be_bytes(first))
    }
}

/// What a message is about, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Who is written to.
    pub customer: Option<&'a Customer>,
    /// The invoice; `None` for what concerns the customer as such.
    pub invoice: Option<&'a Invoice>,
    /// The due date of what a renegotiation put in the invoice's place.
    pub renegotiated_to: Option<NaiveDate>,
}

/// Renders `notice` for one invoice at one stage.
///
/// # Errors
/// As [`render_about`].
pub fn render(notice: &NoticePlan, stage: Stage, customer: Option<&Customer>, invoice: &Invoice) -> Result<Rendered, SkipReason> {
    render_about(notice, stage, &About { customer, invoice: Some(invoice), renegotiated_to: None })
}

/// Renders `notice` for whatever it is about.
///
/// # Errors
/// The reason why this customer can't get it: no customer, no part in collection, no valid phone, a variable without a value.
pub fn render_about(notice: &NoticePlan, stage: Stage, about: &About<'_>) -> Result<Rendered, SkipReason> {
    let About { customer, invoice, renegotiated_to } = *about;
    let customer = customer.ok_or(SkipReason::NoCustomer)?;
    if !customer.takes_part_in_collection {
        return Err(SkipReason::NotInCollection);
    }
    if stage == Stage::PreDue && !customer.takes_part_in_pre_due {
        return Err(SkipReason::NotInPreDue);
    }
    let phone = phone::choose(&customer.whatsapp, &customer.mobile_phone).map_err(|_| SkipReason::NoValidPhone)?;
    let variables = variables::render(&notice.entries, &Facts { customer, invoice, renegotiated_to })
        .map_err(|_| SkipReason::MissingValue)?;
    Ok(Rendered {
        phone: phone.e164().to_owned(),
        phone_key: phone.key().as_str().to_owned(),
        provider_channel_id: notice.provider_channel_id.clone(),
        template_id: notice.template_id.clone(),
        variables,
        amount: invoice.map_or(Centavos(0), |invoice| invoice.open_amount),
        redirected: false,
    })
}
