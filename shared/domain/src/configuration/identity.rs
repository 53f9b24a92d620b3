//! `[provider]` and `[[branch]]`: who sends.

use super::names::Names;
use super::parse::Reading;
use super::problem::Fault;
use super::reader::{Reported, Section};
use crate::payment_codes::{PixKey, PixKeyKind};
use crate::provider::{Branch, DaysLateFrom, Identity, Provider};
use crate::tax_id::TaxId;

impl Reading<'_, '_> {
    pub fn provider(&self, section: Option<Section<'_, '_>>, branches: Vec<Section<'_, '_>>) -> Result<Provider, Reported> {
        let (head, days_late_from) = match section {
            None => (Ok(Identity::default()), Ok(None)),
            Some(mut section) => {
                let head = self.identity(&mut section);
                let days_late_from = section.choice("days_late_from", &DaysLateFrom::ALL);
                section.finish();
                (head, days_late_from)
            }
        };
        let mut ids = Names::new("branch");
        let branches: Vec<_> = branches.into_iter().map(|section| self.branch(section, &mut ids)).collect();
        let branches = branches.into_iter().collect::<Result<Vec<_>, _>>();
        Ok(Provider {
            head: head?,
            branches: branches?,
            days_late_from: days_late_from?.map_or_else(DaysLateFrom::default, |from| from.value),
        })
    }

    fn branch(&self, mut section: Section<'_, '_>, ids: &mut Names) -> Result<Branch, Reported> {
        let id = section.text_or_number("id");
        let id = match id {
            Ok(Some(id)) if id.value.is_empty() => Err(self.report.refuse(&id, Fault::UnusableText("is empty"))),
            Ok(Some(id)) => ids.define(self.report, &id, ()).map(|()| id.value),
            Ok(None) => Err(section.missing("id", "id = 2, the branch's id (filial_id) in the ERP")),
            Err(reported) => Err(reported),
        };
        let identity = self.identity(&mut section);
        section.finish();
        Ok(Branch { id: id?, identity: identity? })
    }

    fn identity(&self, section: &mut Section<'_, '_>) -> Result<Identity, Reported> {
        let mut text = |key| section.text(key).map(|text| text.map_or_else(String::new, |text| text.value));
        let (name, trade_name, address, phone) = (text("name"), text("trade_name"), text("address"), text("phone"));
        let (tax_id, pix_key) = (self.tax_id(section), self.pix_key(section));
        let (name, trade_name, address, phone) = (name?, trade_name?, address?, phone?);
        Ok(Identity { name, trade_name, tax_id: tax_id?, address, phone, pix_key: pix_key? })
    }

    /// A key and its type, both or neither: eleven digits may be a CPF or a phone.
    fn pix_key(&self, section: &mut Section<'_, '_>) -> Result<Option<PixKey>, Reported> {
        let kinds: Vec<_> = PixKeyKind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
        let (key, kind) = (section.text_or_number("pix_key"), section.choice("pix_key_type", &kinds));
        match (key?, kind?) {
            (None, None) => Ok(None),
            (Some(key), Some(kind)) => {
                PixKey::parse(kind.value, &key.value).map(Some).map_err(|error| self.report.refuse(&key, Fault::PixKey(error)))
            }
            (Some(_), None) => Err(section.missing("pix_key_type", "pix_key_type = \"cnpj\", or cpf, phone, email or evp")),
            (None, Some(_)) => Err(section.missing("pix_key", "pix_key = \"…\", the key of the account that Pix payments go to")),
        }
    }

    /// A CNPJ or CPF with right check digits, punctuated.
    fn tax_id(&self, section: &mut Section<'_, '_>) -> Result<String, Reported> {
        let Some(text) = section.text_or_number("tax_id")? else { return Ok(String::new()) };
        match TaxId::parse(&text.value).filter(TaxId::is_valid) {
            Some(id) => Ok(id.formatted()),
            None => Err(self.report.refuse(&text, Fault::NotATaxId)),
        }
    }
}
