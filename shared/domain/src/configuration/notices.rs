//! `[[notice]]`: what is said, through which channel and template.

use super::connections::{Integrations, is_object_id};
use super::model::Notice;
use super::names::Names;
use super::parse::Reading;
use super::problem::Fault;
use super::reader::{Field, Reported, Section};
use crate::filling::Filling;
use crate::media::Media;
use crate::payment::{AmountUnit, PaymentMeans, PaymentTerms};
use crate::provider::Provider;
use crate::variables::{self, Entry, Variable};

/// What a notice says, for the stages that name it.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub variables: Vec<Variable>,
    pub is_payment: bool,
}

/// The fields of a notice that say what its template is filled with.
#[derive(Default)]
struct Fields {
    variables: String,
    payment: Option<PaymentTerms>,
    media: Option<Media>,
}

impl Fields {
    fn said(&self) -> Said {
        let filling = Filling::of(&self.variables, self.payment, self.media.clone());
        Said { variables: filling.iter().flat_map(Filling::variables).collect(), is_payment: self.payment.is_some() }
    }
}

impl Reading<'_, '_> {
    pub fn notices(
        &self,
        sections: Vec<Section<'_, '_>>,
        integrations: &Integrations,
        channels: &Names<Option<String>>,
        provider: Option<&Provider>,
    ) -> (Vec<Notice>, Names<Said>) {
        let mut names = Names::new("notice");
        let read = |section| self.notice(section, &mut names, integrations, channels, provider);
        let notices = sections.into_iter().map(read).collect::<Vec<_>>();
        (notices.into_iter().flatten().collect(), names)
    }

    fn notice(
        &self,
        mut section: Section<'_, '_>,
        names: &mut Names<Said>,
        integrations: &Integrations,
        channels: &Names<Option<String>>,
        provider: Option<&Provider>,
    ) -> Result<Notice, Reported> {
        let name = section.required_text("name", "name = \"Aviso de cobrança\"");
        let integration = integrations.of(&mut section, &name);
        let channel = section.required_text("channel", "channel = \"Cobrança\"");
        let template = self.template_id(&mut section);
        let fields = self.fields(&mut section, provider);
        let said = fields.as_ref().map_or_else(|_| Said::default(), Fields::said);
        let defined = name.as_ref().map_or(Err(Reported), |name| names.define(self.report, name, said));
        section.finish();
        let (channel, integration) = (channel?, integration);
        let channels_integration = channels.resolve(self.report, &channel)?;
        let integration = integration?;
        if let Some(other) = channels_integration.as_ref().filter(|other| **other != integration.value) {
            let fault = Fault::IntegrationsDiffer { channel: other.clone(), notice: integration.value };
            return Err(self.report.refuse(&channel, fault));
        }
        defined?;
        let (name, integration, channel) = (name?.value, integration.value, channel.value);
        let Fields { variables, payment, media } = fields?;
        Ok(Notice { name, integration, channel, template: template?, variables, payment, media })
    }

    fn template_id(&self, section: &mut Section<'_, '_>) -> Result<String, Reported> {
        let located = section.required_text("template", "template = \"0123456789abcdef01234567\"")?;
        let id = located.value.to_ascii_lowercase();
        if is_object_id(&id) { Ok(id) } else { Err(self.report.refuse(&located, Fault::NotATemplateId)) }
    }

    /// Variables or a payment, and the header's media.
    fn fields(&self, section: &mut Section<'_, '_>, provider: Option<&Provider>) -> Result<Fields, Reported> {
        let variables = self.variables(section, provider);
        let (payment, media) = (self.payment(section, provider), self.media(section));
        let (variables, payment) = (variables?, payment?);
        match variables.filter(|text| !text.value.is_empty()) {
            // Opa! Suite takes a list or an object in the same member: one of the two would not arrive.
            Some(text) if payment.is_some() => Err(self.report.refuse(&text, Fault::Conflict { with: "payment".into() })),
            text => Ok(Fields { variables: text.map_or_else(String::new, |text| text.value), payment, media: media? }),
        }
    }

    /// The variables as they are written, once they are understood; absent for a template without placeholders. What they say of the
    /// provider must be said by it: `provider` is `None` where it couldn't be read.
    fn variables(&self, section: &mut Section<'_, '_>, provider: Option<&Provider>) -> Field<String> {
        let Some(text) = section.text_or_blank("variables")? else { return Ok(None) };
        let entries = variables::parse(&text.value).map_err(|error| self.report.refuse(&text, Fault::Variables(error)))?;
        let unsaid =
            |variable: &Variable| variable.identity_field().zip(provider).is_some_and(|(field, provider)| !provider.names(field));
        match entries.iter().flat_map(Entry::variables).find(unsaid) {
            Some(variable) => Err(self.report.refuse(&text, Fault::ProviderUnknown(variable))),
            None => Ok(Some(text)),
        }
    }

    /// How a payment template is paid, and the unit of its amount, which has no default. Pix needs to know whose account it is.
    fn payment(&self, section: &mut Section<'_, '_>, provider: Option<&Provider>) -> Result<Option<PaymentTerms>, Reported> {
        let means: Vec<_> = PaymentMeans::ALL.iter().map(|means| (means.as_str(), *means)).collect();
        let units: Vec<_> = AmountUnit::ALL.iter().map(|unit| (unit.as_str(), *unit)).collect();
        let (means, amount) = (section.choice("payment", &means), section.choice("payment_amount", &units));
        let (means, amount) = (means?, amount?);
        let Some(means) = means else {
            return match amount {
                Some(_) => Err(section.missing("payment", "payment = \"pix\" or payment = \"boleto\"")),
                None => Ok(None),
            };
        };
        let keyless = means.value == PaymentMeans::Pix && provider.is_some_and(|provider| !provider.has_pix_key());
        if keyless {
            self.report.refuse(&means, Fault::NoPixKey);
        }
        match amount {
            None => Err(self.report.refuse(&section.implied("payment_amount", ()), Fault::NoPaymentAmount)),
            Some(_) if keyless => Err(Reported),
            Some(amount) => Ok(Some(PaymentTerms { means: means.value, amount: amount.value })),
        }
    }

    fn media(&self, section: &mut Section<'_, '_>) -> Result<Option<Media>, Reported> {
        let Some(text) = section.text("media")? else { return Ok(None) };
        let text = if text.value.contains('@') { text.hidden() } else { text };
        Media::parse(&text.value).map(Some).map_err(|fault| self.report.refuse(&text, Fault::Media(fault)))
    }
}
