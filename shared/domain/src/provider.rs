//! Who sends: the provider and its branches, as notices name them. A collection document names the supplier, its address and its
//! CPF or CNPJ (contracts §4, CDC art. 42-A).

use crate::calendar;
use crate::payment_codes::PixKey;
use chrono::{Datelike as _, NaiveDate, Weekday};
use serde::{Deserialize, Serialize};

/// The provider, from `[provider]` and `[[branch]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// Its identity, where a branch has none of its own.
    pub head: Identity,
    /// The branches that have something of their own.
    pub branches: Vec<Branch>,
    /// Since when an invoice counts as late.
    pub days_late_from: DaysLateFrom,
}

/// Who somebody is. Empty fields are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// The legal name.
    pub name: String,
    /// The trade name.
    pub trade_name: String,
    /// CNPJ or CPF, punctuated, its check digits right.
    pub tax_id: String,
    /// Street, number, city.
    pub address: String,
    /// A phone for customers, as they shall read it.
    pub phone: String,
    /// The key of the account that Pix payments go to, where the code doesn't name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pix_key: Option<PixKey>,
}

/// What a branch (filial) says of itself in place of the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// `filial_id` in the ERP.
    pub id: String,
    /// What is empty is the provider's.
    pub identity: Identity,
}

/// A part of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityField {
    /// The legal name.
    Name,
    /// The trade name.
    TradeName,
    /// CNPJ or CPF.
    TaxId,
    /// The address.
    Address,
    /// The phone.
    Phone,
}

impl IdentityField {
    /// The key in `[provider]` and `[[branch]]`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::TradeName => "trade_name",
            Self::TaxId => "tax_id",
            Self::Address => "address",
            Self::Phone => "phone",
        }
    }
}

impl Identity {
    /// One part; empty where it is unknown.
    pub fn field(&self, field: IdentityField) -> &str {
        match field {
            IdentityField::Name => &self.name,
            IdentityField::TradeName => &self.trade_name,
            IdentityField::TaxId => &self.tax_id,
            IdentityField::Address => &self.address,
            IdentityField::Phone => &self.phone,
        }
    }
}

impl Provider {
    /// What a branch says of itself, else the provider; empty where neither does.
    pub fn field(&self, branch_id: &str, field: IdentityField) -> &str {
        let own = self.own(branch_id).map_or("", |own| own.field(field));
        if own.is_empty() { self.head.field(field) } else { own }
    }

    /// The key of a branch's account, else the provider's. A branch with a tax id of its own is another company: nobody pays for it to the
    /// provider's key.
    pub fn pix_key(&self, branch_id: &str) -> Option<&PixKey> {
        match self.own(branch_id) {
            Some(own) if own.pix_key.is_some() || !own.tax_id.is_empty() => own.pix_key.as_ref(),
            _ => self.head.pix_key.as_ref(),
        }
    }

    /// Whether the provider or any branch has a key.
    pub fn has_pix_key(&self) -> bool {
        self.head.pix_key.is_some() || self.branches.iter().any(|branch| branch.identity.pix_key.is_some())
    }

    fn own(&self, branch_id: &str) -> Option<&Identity> {
        self.branches.iter().find(|branch| branch.id == branch_id).map(|branch| &branch.identity)
    }

    /// Whether the provider or any branch says it.
    pub fn names(&self, field: IdentityField) -> bool {
        !self.head.field(field).is_empty() || self.branches.iter().any(|branch| !branch.identity.field(field).is_empty())
    }
}

/// Since when an invoice counts as late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaysLateFrom {
    /// From the first business day at or after the due date: until then it can still be paid in time.
    #[default]
    BusinessDay,
    /// From the due date itself.
    DueDate,
}

impl DaysLateFrom {
    /// Every value by its name in the file.
    pub const ALL: [(&'static str, Self); 2] = [("business-day", Self::BusinessDay), ("due-date", Self::DueDate)];

    /// The name in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BusinessDay => "business-day",
            Self::DueDate => "due-date",
        }
    }

    /// The last day on which it is paid in time: neither a Saturday or Sunday nor a national holiday.
    pub fn in_time_until(self, due_on: NaiveDate) -> NaiveDate {
        let is_business_day =
            |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun) && !calendar::is_national_holiday(*day);
        match self {
            Self::DueDate => due_on,
            Self::BusinessDay => due_on.iter_days().take(MORE_THAN_ANY_HOLIDAYS).find(is_business_day).unwrap_or(due_on),
        }
    }

    /// Days late on `today`; 0 while it can be paid in time.
    pub fn days_late(self, due_on: NaiveDate, today: NaiveDate) -> u32 {
        u32::try_from((today - self.in_time_until(due_on)).num_days()).unwrap_or(0)
    }
}

/// No weekend and holidays in a row are as long as this, in days.
const MORE_THAN_ANY_HOLIDAYS: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: DaysLateFrom, due_on: &str, today: &str, days: u32) {
        let date = |text: &str| text.parse::<NaiveDate>().expect("a date");
        assert_eq!(from.days_late(date(due_on), date(today)), days, "due on {due_on}, read on {today}");
    }

    #[test]
    fn days_late_count_from_the_first_business_day_at_or_after_the_due_date() {
        // A Wednesday.
        check(DaysLateFrom::BusinessDay, "2026-03-04", "2026-03-04", 0);
        check(DaysLateFrom::BusinessDay, "2026-03-04", "2026-03-05", 1);
        // A Saturday: Monday is in time.
        check(DaysLateFrom::BusinessDay, "2026-03-07", "2026-03-09", 0);
        check(DaysLateFrom::BusinessDay, "2026-03-07", "2026-03-10", 1);
        // Good Friday, 3 April 2026: Monday the 6th is in time.
        check(DaysLateFrom::BusinessDay, "2026-04-03", "2026-04-06", 0);
        check(DaysLateFrom::BusinessDay, "2026-04-03", "2026-04-08", 2);
    }

    #[test]
    fn days_late_may_count_from_the_due_date_itself() {
        check(DaysLateFrom::DueDate, "2026-03-07", "2026-03-09", 2);
        check(DaysLateFrom::DueDate, "2026-03-07", "2026-03-07", 0);
    }

    #[test]
    fn what_is_not_due_yet_is_no_day_late() {
        check(DaysLateFrom::BusinessDay, "2026-03-04", "2026-02-01", 0);
        check(DaysLateFrom::DueDate, "2026-03-04", "2026-02-01", 0);
    }

    #[test]
    fn a_branch_speaks_for_itself_and_the_provider_for_the_rest() {
        let branch = Branch { id: "2".into(), identity: Identity { phone: "(49) 3322-0000".into(), ..Identity::default() } };
        let head = Identity { name: "Provedor Ltda".into(), phone: "0800 000 0000".into(), ..Identity::default() };
        let provider = Provider { head, branches: vec![branch], days_late_from: DaysLateFrom::default() };
        assert_eq!(provider.field("2", IdentityField::Phone), "(49) 3322-0000");
        assert_eq!(provider.field("2", IdentityField::Name), "Provedor Ltda");
        assert_eq!(provider.field("1", IdentityField::Phone), "0800 000 0000");
        assert!(!provider.names(IdentityField::Address));
    }
}
