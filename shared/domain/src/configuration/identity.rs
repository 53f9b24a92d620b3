//! `[provider]` and `[[branch]]`: who sends.

use super::names::Names;
use super::parse::Reading;
use super::problem::Fault;
use super::reader::{Reported, Section};
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
        let tax_id = self.tax_id(section);
        Ok(Identity { name: name?, trade_name: trade_name?, tax_id: tax_id?, address: address?, phone: phone? })
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
