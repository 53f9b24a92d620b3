//! `[[policy]]`, `[caps]` and `[expiry]`: what is said when, and how often.

use super::model::{Approval, Caps, Expiry, Policy, PolicyStage, Price, StatedCaps};
use super::names::Names;
use super::nearest::nearest;
use super::notices::Said;
use super::parse::Reading;
use super::problem::Fault;
use super::reader::{Field, Located, Reported, Section};
use crate::money::{Centavos, UnitPrice};
use crate::phone;
use crate::pilot::Pilot;
use crate::policy::{ClosedDay, Filter, PolicyFilters};
use crate::stage::{Stage, StageKind};
use std::num::NonZeroU32;

/// A policy's priority when the file gives none, and the largest.
const PRIORITY: u16 = 100;
const PRIORITY_MAX: u16 = 9999;
/// Days before the due date of the earliest reminder.
const REMINDER_DAYS_MAX: i16 = 365;
/// Days after the due date of the latest stage: five years, after which the debt is barred (contracts §4, CC art. 206 §5 I).
const OVERDUE_DAYS_MAX: i16 = 1825;
const PER_DAY_MAX: u16 = 50;
const PER_7_DAYS_MAX: u16 = 7 * PER_DAY_MAX;
pub(super) const DAYS_BETWEEN_MAX: u16 = 30;
/// Values of one filter: every city of a state.
const FILTER_VALUES_MAX: usize = 1000;
const APPROVAL_ABOVE_MAX: i64 = 10_000_000;
/// `tipo_pessoa` (contracts §2.3).
const PERSON_TYPES: [&str; 3] = ["F", "J", "E"];
/// `tipo_recebimento` (contracts §2.2).
const RECEIPT_TYPES: [&str; 11] = [
    "Boleto",
    "Cheque",
    "Cartão",
    "Dinheiro",
    "Depósito",
    "Gateway",
    "Débito",
    "Fatura",
    "ArrecadacaoRecebimento",
    "Transferencia",
    "Pix",
];
/// Phones that take part in a pilot: a provider's own people.
const PILOT_PHONES_MAX: usize = 200;
const OPEN_WINDOWS_MAX: u16 = 30;

/// A stage with the places that relations are told at.
pub(super) struct ReadStage {
    pub stage: PolicyStage,
    pub days: Option<Located<i16>>,
    place: Located<Stage>,
}

impl Reading<'_, '_> {
    pub fn policies(&self, sections: Vec<Section<'_, '_>>, notices: &Names<Said>) -> Vec<(Policy, Vec<ReadStage>)> {
        let mut names = Names::new("policy");
        let policies = sections.into_iter().map(|section| self.policy(section, &mut names, notices)).collect::<Vec<_>>();
        policies.into_iter().flatten().collect()
    }

    fn policy(
        &self,
        mut section: Section<'_, '_>,
        names: &mut Names,
        notices: &Names<Said>,
    ) -> Result<(Policy, Vec<ReadStage>), Reported> {
        let name = section.required_text("name", "name = \"Residencial\"");
        let defined = name.as_ref().map_or(Err(Reported), |name| names.define(self.report, name, ()));
        let priority = section.whole("priority", 0, PRIORITY_MAX);
        let enabled = section.flag("enabled");
        let activated_on = section.date("activated_on");
        let hours = self.hours(&mut section);
        let filters =
            section.table("filters", "[policy.filters]").map_or(Ok(PolicyFilters::default()), |section| self.filters(section));
        let stages = section.tables("stage", "[[policy.stage]], with two brackets");
        section.finish();
        let stages: Vec<_> = stages.into_iter().map(|stage| self.stage(stage, notices)).collect();
        let complete = stages.iter().all(Result::is_ok);
        let stages: Vec<ReadStage> = stages.into_iter().flatten().collect();
        let enabled = enabled?.is_none_or(|flag| flag.value);
        self.stages_advance(&stages)?;
        defined?;
        let policy = Policy {
            name: name?.value,
            priority: priority?.map_or(PRIORITY, |priority| priority.value),
            enabled,
            filters: filters?,
            activated_on: activated_on?.map(|date| date.value),
            hours: hours?.map(|hours| hours.value),
            stages: stages.iter().map(|read| read.stage.clone()).collect(),
        };
        if complete { Ok((policy, stages)) } else { Err(Reported) }
    }

    /// A filter that is not understood must not be taken as "everybody": an unknown key or value refuses the policy.
    fn filters(&self, mut section: Section<'_, '_>) -> Result<PolicyFilters, Reported> {
        let mut filters = PolicyFilters::default();
        let mut outcome = Ok(());
        for filter in Filter::ALL.iter().copied() {
            let Some(values) = filters.values_mut(filter) else { continue };
            match section.texts(filter.as_str(), FILTER_VALUES_MAX) {
                Ok(read) => {
                    for value in &read {
                        outcome = outcome.and(self.is_value_of(filter, value));
                    }
                    *values = read.into_iter().map(|value| value.value).collect();
                }
                Err(reported) => outcome = Err(reported),
            }
        }
        let amount_min = self.amount(&mut section, Filter::AmountMin.as_str());
        let unknown = section.unknown_keys();
        filters.amount_min = amount_min?.map(|amount| amount.value);
        unknown.map_or(outcome, Err).map(|()| filters)
    }

    /// Where the ERP has a closed list, a filter's value is one of it, as the ERP writes it.
    fn is_value_of(&self, filter: Filter, value: &Located<String>) -> Result<(), Reported> {
        let allowed: &[&str] = match filter {
            Filter::PersonType => &PERSON_TYPES,
            Filter::ReceiptType => &RECEIPT_TYPES,
            Filter::Branch
            | Filter::Portfolio
            | Filter::CustomerType
            | Filter::ContractStatus
            | Filter::City
            | Filter::AmountMin => return Ok(()),
        };
        if allowed.contains(&value.value.as_str()) {
            return Ok(());
        }
        let nearest = nearest(&value.value, allowed.iter().copied());
        let allowed = allowed.iter().map(|text| (*text).to_owned()).collect();
        Err(self.report.refuse(value, Fault::NotInList { nearest, allowed }))
    }

    /// An amount of money, in double quotes as money is written, or a whole number of reais.
    fn amount(&self, section: &mut Section<'_, '_>, key: &'static str) -> Field<Centavos> {
        let Some(text) = section.text_or_number(key)? else { return Ok(None) };
        match Centavos::parse(&text.value) {
            Ok(amount) if amount > Centavos(0) => Ok(Some(text.map(|_| amount))),
            Ok(_) | Err(_) => Err(self.report.refuse(&text, Fault::NotAnAmount)),
        }
    }

    fn stage(&self, mut section: Section<'_, '_>, notices: &Names<Said>) -> Result<ReadStage, Reported> {
        let stage = self.stage_name(&mut section);
        let (min, max) = stage.as_ref().map_or((-REMINDER_DAYS_MAX, OVERDUE_DAYS_MAX), |stage| days_of(stage.value));
        let days = match &stage {
            Ok(stage) if stage.value.kind() == StageKind::Event => self.no_days(&mut section, stage.value),
            _ => section.whole("days", min, max),
        };
        let notice = section.required_text("notice", "notice = \"Aviso de cobrança\"");
        let enabled = section.flag("enabled");
        let only_after_notice = self.only_after_notice(&mut section, stage.as_ref().ok());
        let closed_day = match &stage {
            Ok(stage) => self.closed_day(&mut section, stage.value),
            Err(reported) => Err(*reported),
        };
        let hours = self.hours(&mut section);
        let dated = stage.as_ref().is_ok_and(|stage| stage.value.kind() == StageKind::Dated);
        if dated && matches!(days, Ok(None)) {
            section.missing("days", days_example(min));
        }
        section.finish();
        let notice = notice?;
        let said = notices.resolve(self.report, &notice)?;
        let (place, days) = (stage?, days?);
        if let Some(variable) = said.variables.iter().copied().find(|variable| !variable.is_known_at(place.value)) {
            return Err(self.report.refuse(&notice, Fault::UnknownAtStage { variable, stage: place.value }));
        }
        if said.is_payment && place.value.kind() == StageKind::Event {
            return Err(self.report.refuse(&notice, Fault::PaymentAtEvent(place.value)));
        }
        if dated && days.is_none() {
            return Err(Reported);
        }
        let enabled = enabled?.is_none_or(|flag| flag.value);
        let stage = PolicyStage {
            stage: place.value,
            days: days.as_ref().map(|days| days.value),
            notice: notice.value,
            enabled,
            only_after_notice: only_after_notice?,
            closed_day: closed_day?,
            hours: hours?.map(|hours| hours.value),
        };
        Ok(ReadStage { stage, days, place })
    }

    /// A stage by its name; the ERP's label is understood only to say which name is meant.
    fn stage_name(&self, section: &mut Section<'_, '_>) -> Result<Located<Stage>, Reported> {
        let text = section.required_text("stage", "stage = \"overdue\"")?;
        if let Some(stage) = Stage::parse(&text.value) {
            return Ok(text.map(|_| stage));
        }
        let wanted = text.value.to_lowercase();
        let by_label = |stage: &&Stage| stage.erp_label().to_lowercase().split('/').any(|label| label == wanted);
        let labelled = Stage::ALL.iter().find(|stage| by_label(stage) || stage.erp_label().to_lowercase() == wanted);
        let nearest = labelled.map(|stage| stage.as_str().to_owned()).or_else(|| nearest(&wanted, Stage::ALL.map(Stage::as_str)));
        let allowed = Stage::ALL.iter().map(ToString::to_string).collect();
        Err(self.report.refuse(&text, Fault::NotInList { nearest, allowed }))
    }

    /// What a closed day means, for a stage that has a day.
    fn closed_day(&self, section: &mut Section<'_, '_>, stage: Stage) -> Result<Option<ClosedDay>, Reported> {
        let choices: Vec<_> = ClosedDay::ALL.iter().map(|choice| (choice.as_str(), *choice)).collect();
        let given = section.choice("closed_day", &choices)?;
        match (stage.kind(), given) {
            (StageKind::Dated, given) => Ok(Some(given.map_or(ClosedDay::default_of(stage), |given| given.value))),
            (StageKind::Event, None) => Ok(None),
            (StageKind::Event, Some(given)) => Err(self.report.refuse(&given, Fault::DayOfEvent(stage))),
        }
    }

    fn no_days(&self, section: &mut Section<'_, '_>, stage: Stage) -> Field<i16> {
        match section.whole("days", i16::MIN, i16::MAX)? {
            Some(days) => Err(self.report.refuse(&days, Fault::DayOfEvent(stage))),
            None => Ok(None),
        }
    }

    /// Whether a stage that follows an event is only for those who had a notice: it is, unless the file says otherwise.
    fn only_after_notice(&self, section: &mut Section<'_, '_>, stage: Option<&Located<Stage>>) -> Result<Option<bool>, Reported> {
        let only = section.flag("only_after_notice")?;
        match (stage.map(|stage| stage.value), only) {
            (Some(stage), Some(only)) if stage.kind() == StageKind::Dated => {
                Err(self.report.refuse(&only, Fault::NoticeOfDate(stage)))
            }
            (Some(stage), None) if stage.kind() == StageKind::Dated => Ok(None),
            (_, only) => Ok(Some(only.is_none_or(|only| only.value))),
        }
    }

    /// One stage of each kind; and of those by date that are on, each later than the one before it in the order of advance, whatever
    /// the order in the file: else the more advanced one would always hide the other.
    fn stages_advance(&self, stages: &[ReadStage]) -> Result<(), Reported> {
        let mut outcome = Ok(());
        let mut sorted: Vec<&ReadStage> = stages.iter().collect();
        sorted.sort_by_key(|read| read.stage.stage);
        for pair in sorted.windows(2).filter(|pair| pair[0].stage.stage == pair[1].stage.stage) {
            let mend = "keep one [[policy.stage]] for each stage";
            let fault = Fault::Duplicate { first_line: pair[0].place.line, mend };
            outcome = Err(self.report.refuse(&pair[1].place, fault));
        }
        let mut before: Option<(Stage, &Located<i16>)> = None;
        for read in sorted.iter().filter(|read| read.stage.enabled) {
            let Some(days) = &read.days else { continue };
            if let Some((stage, earlier)) =
                before.filter(|(stage, earlier)| *stage != read.stage.stage && earlier.value >= days.value)
            {
                let fault = Fault::StageNotLater { before: stage, days: earlier.value, line: earlier.line };
                outcome = Err(self.report.refuse(days, fault));
            }
            before = Some((read.stage.stage, days));
        }
        outcome
    }
}

impl Reading<'_, '_> {
    pub fn caps(&self, section: Option<Section<'_, '_>>) -> Result<Caps, Reported> {
        let Some(mut section) = section else { return Ok(Caps::default()) };
        let per_day = section.whole("per_day", 1, PER_DAY_MAX);
        let per_7_days = section.whole("per_7_days", 1, PER_7_DAYS_MAX);
        let days_between_stages = section.whole("days_between_stages", 0, DAYS_BETWEEN_MAX);
        section.finish();
        let (per_day, per_7_days) = (per_day?, per_7_days?);
        let caps = Caps::from(StatedCaps {
            per_day: per_day.map(|cap| cap.value),
            per_7_days: per_7_days.as_ref().map(|cap| cap.value),
            days_between_stages: days_between_stages?.map(|days| days.value),
        });
        // A week's cap below the day's would be another day's cap under a name that says something else.
        match per_7_days.filter(|cap| cap.value < caps.per_day) {
            Some(cap) => Err(self.report.refuse(&cap, Fault::BelowPerDay { per_day: caps.per_day })),
            None => Ok(caps),
        }
    }
}

impl Reading<'_, '_> {
    /// The pilot: some phones, or one that gets everything. A section that says neither would let nobody or everybody through.
    pub fn pilot(&self, section: Option<Section<'_, '_>>) -> Result<Pilot, Reported> {
        let Some(mut section) = section else { return Ok(Pilot::Off) };
        let phones = section.texts("phones", PILOT_PHONES_MAX);
        let redirect_to = section.text("redirect_to");
        if matches!((&phones, &redirect_to), (Ok(phones), Ok(None)) if phones.is_empty()) {
            let example = "phones = [\"+5511987654321\"] or redirect_to = \"+5511987654321\", or leave [pilot] out";
            return Err(section.missing("phones", example));
        }
        section.finish();
        let phone = |text: &Located<String>| {
            phone::parse(&text.value).map_err(|refusal| self.report.refuse(text, Fault::NotAPhone(refusal)))
        };
        let read: Vec<_> = phones?.iter().map(phone).collect();
        match redirect_to? {
            Some(text) if !read.is_empty() => Err(self.report.refuse(&text, Fault::Conflict { with: "phones".into() })),
            Some(text) => phone(&text).map(Pilot::RedirectTo),
            None => read.into_iter().collect::<Result<_, _>>().map(Pilot::Only),
        }
    }
}

pub(super) fn expiry(section: Option<Section<'_, '_>>) -> Result<Expiry, Reported> {
    let Some(mut section) = section else { return Ok(Expiry::default()) };
    let open_windows = section.whole("open_windows", 1, OPEN_WINDOWS_MAX);
    section.finish();
    Ok(Expiry { open_windows: open_windows?.map_or(Expiry::default().open_windows, |windows| windows.value) })
}

pub(super) fn approval(section: Option<Section<'_, '_>>) -> Result<Approval, Reported> {
    let Some(mut section) = section else { return Ok(Approval::default()) };
    let above = section.limit("above", APPROVAL_ABOVE_MAX, false);
    section.finish();
    let number = |limit: i64| u32::try_from(limit).ok().and_then(NonZeroU32::new);
    Ok(above?.map_or(Approval::default(), |above| Approval { above: above.value.and_then(number) }))
}

impl Reading<'_, '_> {
    pub fn price(&self, section: Option<Section<'_, '_>>) -> Result<Price, Reported> {
        let Some(mut section) = section else { return Ok(Price::default()) };
        let text = section.text("per_message");
        section.finish();
        let Some(text) = text? else { return Ok(Price::default()) };
        match UnitPrice::parse(&text.value) {
            Some(price) => Ok(Price { per_message: Some(price) }),
            None => Err(self.report.refuse(&text, Fault::NotAPrice)),
        }
    }
}

/// The days that make sense for a stage by date.
const fn days_of(stage: Stage) -> (i16, i16) {
    match stage {
        Stage::PreDue => (-REMINDER_DAYS_MAX, -1),
        Stage::DueDay => (0, 0),
        Stage::Overdue | Stage::PendingQuery | Stage::PaymentScheduling | Stage::InPerson | Stage::CreditBureau => {
            (1, OVERDUE_DAYS_MAX)
        }
        Stage::Settled | Stage::Cancelled | Stage::Renegotiated | Stage::BureauRemoved => (i16::MIN, i16::MAX),
    }
}

const fn days_example(min: i16) -> &'static str {
    match min {
        0 => "days = 0",
        1.. => "days = 3, the days after the due date",
        _ => "days = -3, the days before the due date",
    }
}
