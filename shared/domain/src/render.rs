//! From a notice and what the ledger knows to exactly what will be sent.

use crate::ids::{ChannelId, NoticeId};
use crate::message::SkipReason;
use crate::mirror::{Customer, Invoice};
use crate::money::Centavos;
use crate::phone;
use crate::stage::Stage;
use crate::variables::{self, Circumstances, Entry, Facts, Variable};
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

impl NoticePlan {
    /// Whether it says what a customer owes in all, which must be added up first.
    pub fn needs_totals(&self) -> bool {
        self.entries.iter().flat_map(Entry::variables).any(Variable::is_total)
    }

    /// Whether it says a Pix code, which the ERP is asked for where the invoice has none.
    pub fn needs_pix(&self) -> bool {
        self.entries.iter().flat_map(Entry::variables).any(|variable| variable == Variable::PixCode)
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
    let variables = variables::render(&notice.entries, &Facts { customer, invoice, circumstances })?;
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
