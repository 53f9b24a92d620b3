//! What a notice fills its template with: values by position or a payment, and the media of its header.

use crate::media::Media;
use crate::payment::{self, Payment, PaymentTerms};
use crate::variables::{self, Entry, Facts, RenderError, Variable, VariablesError};
use serde::{Deserialize, Serialize};

/// What a notice fills its template with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filling {
    /// What its body gets.
    pub parameters: Parameters,
    /// What its header shows in place of the template's own; `None`: that.
    pub media: Option<Media>,
}

/// What a template's body gets. It is one or the other: Opa! Suite takes a list or an object in one member (contracts §1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// A value for each placeholder, in order of appearance.
    ByPosition(Vec<Entry>),
    /// A payment template's payment.
    Payment(PaymentTerms),
}

/// The same for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// What its body gets.
    pub values: Values,
    /// The address of its header's media.
    pub media: Option<String>,
}

/// What one message's body gets. In JSON a list or an object; the ledger has kept the list for as long as there are messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// The values of the placeholders.
    ByPosition(Vec<String>),
    /// The payment.
    Payment(Box<Payment>),
}

impl Filling {
    /// What a notice says, from the fields that it says it with.
    ///
    /// # Errors
    /// Variables that aren't understood.
    pub fn of(variables: &str, payment: Option<PaymentTerms>, media: Option<Media>) -> Result<Self, VariablesError> {
        let parameters = match payment {
            Some(terms) => Parameters::Payment(terms),
            None => Parameters::ByPosition(variables::parse(variables)?),
        };
        Ok(Self { parameters, media })
    }

    /// Every fact that it needs.
    pub fn variables(&self) -> impl Iterator<Item = Variable> + '_ {
        let (entries, payment): (&[Entry], _) = match &self.parameters {
            Parameters::ByPosition(entries) => (entries, None),
            Parameters::Payment(terms) => (&[], Some(terms.variables())),
        };
        let of_media = self.media.as_ref().and_then(Media::variable);
        entries.iter().flat_map(Entry::variables).chain(payment.into_iter().flatten()).chain(of_media)
    }

    /// Fills it with the facts of one message.
    ///
    /// # Errors
    /// As [`variables::render`], [`payment::render`] and [`Media::render`].
    pub fn render(&self, facts: &Facts<'_>) -> Result<Filled, RenderError> {
        let values = match &self.parameters {
            Parameters::ByPosition(entries) => Values::ByPosition(variables::render(entries, facts)?),
            Parameters::Payment(terms) => Values::Payment(Box::new(payment::render(*terms, facts)?)),
        };
        let media = self.media.as_ref().map(|media| media.render(facts)).transpose()?;
        Ok(Filled { values, media })
    }
}

impl Values {
    /// The values of the placeholders; none of a payment, which has no placeholders.
    pub fn by_position(&self) -> &[String] {
        match self {
            Self::ByPosition(values) => values,
            Self::Payment(_) => &[],
        }
    }

    /// The payment, if it is one.
    pub const fn payment(&self) -> Option<&Payment> {
        match self {
            Self::ByPosition(_) => None,
            Self::Payment(payment) => Some(payment),
        }
    }
}
