//! Values as the ERP's database compares them and as its webservice writes them.

use std::borrow::Cow;
use std::cmp::Ordering;

use chrono::NaiveDate;

/// What a column of a row holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(u64),
    /// Money in centavos.
    Cents(i64),
    /// A date whose absence is written `0000-00-00`.
    Date(Option<NaiveDate>),
    /// A date whose absence is written as empty text, as the vendor's sample has it in `pagamento_data`.
    DateOrEmpty(Option<NaiveDate>),
    Text(Cow<'static, str>),
}

impl Value {
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }

    /// Contracts §2.1: every scalar is text, money is dot-decimal, absent dates are `0000-00-00`.
    pub fn written(&self) -> Cow<'static, str> {
        match self {
            Self::Number(number) => number.to_string().into(),
            Self::Cents(cents) => written_cents(*cents).into(),
            Self::Date(None) => "0000-00-00".into(),
            Self::DateOrEmpty(None) => "".into(),
            Self::Date(Some(date)) | Self::DateOrEmpty(Some(date)) => date.format("%Y-%m-%d").to_string().into(),
            Self::Text(text) => text.clone(),
        }
    }

    /// Compares as the database would: by the type of the column, not of what is sent.
    pub fn compare(&self, operand: &Operand) -> Ordering {
        match self {
            Self::Number(number) => (i128::from(*number) * 100).cmp(&i128::from(operand.cents)),
            Self::Cents(cents) => cents.cmp(&operand.cents),
            Self::Date(date) | Self::DateOrEmpty(date) => date.cmp(&operand.date),
            Self::Text(text) => match (cents_of(text), operand.numeric) {
                (Some(cents), true) => cents.cmp(&operand.cents),
                _ => text.to_lowercase().cmp(&operand.lower),
            },
        }
    }

    /// Orders rows.
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Cents(a), Self::Cents(b)) => a.cmp(b),
            (Self::Date(a) | Self::DateOrEmpty(a), Self::Date(b) | Self::DateOrEmpty(b)) => a.cmp(b),
            _ => self.written().cmp(&other.written()),
        }
    }

    pub fn contains(&self, operand: &Operand) -> bool {
        self.written().to_lowercase().contains(&operand.lower)
    }

    pub fn is_date(&self) -> bool {
        matches!(self, Self::Date(_) | Self::DateOrEmpty(_))
    }

    pub fn is_absent_date(&self) -> bool {
        matches!(self, Self::Date(None) | Self::DateOrEmpty(None))
    }
}

/// What a filter compares with: always sent as text, read once in every way that a column may need.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    lower: String,
    numeric: bool,
    cents: i64,
    /// `None` also for what is no date: the database takes it for 0000-00-00.
    date: Option<NaiveDate>,
}

impl Operand {
    /// Contracts §2.1: filters are documented with `DD/MM/YYYY`, but some installations understand only `YYYY-MM-DD`.
    pub fn new(text: &str, iso_dates_only: bool) -> Self {
        let text = text.trim();
        let day = text.get(..10).unwrap_or(text);
        let iso = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok();
        let date = iso.or_else(|| if iso_dates_only { None } else { NaiveDate::parse_from_str(day, "%d/%m/%Y").ok() });
        let cents = cents_of(text);
        Self { lower: text.to_lowercase(), numeric: cents.is_some(), cents: cents.unwrap_or(0), date }
    }

    /// The whole number that it is, if it is one; not a number counts as 0, as in the database.
    pub fn id(&self) -> u64 {
        u64::try_from(self.cents / 100).unwrap_or(0)
    }
}

pub(crate) fn written_cents(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Decimal text in hundredths; `None` if it isn't a number.
fn cents_of(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > 15 || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hundredths: i64 = format!("{fraction:0<2}").get(..2)?.parse().ok()?;
    Some(whole.parse::<i64>().ok()? * 100 + hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &Value, operand: &str, expected: Ordering) {
        assert_eq!(value.compare(&Operand::new(operand, false)), expected);
    }

    #[test]
    fn values_compare_by_the_type_of_the_column() {
        let date = NaiveDate::from_ymd_opt(2026, 3, 10);
        check(&Value::Number(9), "10", Ordering::Less);
        check(&Value::Cents(1000), "9.5", Ordering::Greater);
        check(&Value::Cents(1000), "10", Ordering::Equal);
        check(&Value::Date(date), "2026-03-10", Ordering::Equal);
        check(&Value::Date(date), "10/03/2026", Ordering::Equal);
        check(&Value::Date(None), "0000-00-00", Ordering::Equal);
        check(&Value::Date(None), "2026-03-10", Ordering::Less);
        check(&Value::text("A"), "a", Ordering::Equal);
        check(&Value::text("9"), "10", Ordering::Less);
    }

    #[test]
    fn an_installation_that_knows_only_iso_dates_takes_others_for_no_date() {
        let date = Value::Date(NaiveDate::from_ymd_opt(2026, 3, 10));
        assert_eq!(date.compare(&Operand::new("11/03/2026", true)), Ordering::Greater);
    }

    #[test]
    fn money_and_dates_are_written_as_the_samples_have_them() {
        assert_eq!(Value::Cents(2600).written(), "26.00");
        assert_eq!(Value::Date(None).written(), "0000-00-00");
        assert_eq!(Value::DateOrEmpty(None).written(), "");
    }
}
