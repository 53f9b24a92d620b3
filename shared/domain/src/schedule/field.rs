//! One cron field: its values as a set, and whether it begins with `*`.

use super::ScheduleError;
use std::fmt;

/// One of a schedule's five fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12.
    Month,
    /// 0 to 7, where 0 and 7 are Sunday.
    DayOfWeek,
}

impl Field {
    /// The smallest value.
    pub const fn min(self) -> u32 {
        match self {
            Self::Minute | Self::Hour | Self::DayOfWeek => 0,
            Self::DayOfMonth | Self::Month => 1,
        }
    }

    /// The largest value.
    pub const fn max(self) -> u32 {
        match self {
            Self::Minute => 59,
            Self::Hour => 23,
            Self::DayOfMonth => 31,
            Self::Month => 12,
            Self::DayOfWeek => 7,
        }
    }

    /// What may be written, for people.
    pub(super) const fn values(self) -> &'static str {
        match self {
            Self::Minute => "0 to 59, or `*`",
            Self::Hour => "0 to 23, or `*`",
            Self::DayOfMonth => "1 to 31, or `*`",
            Self::Month => "1 to 12, jan to dec, or `*`",
            Self::DayOfWeek => "0 to 7 (0 and 7 are Sunday), sun to sat, or `*`",
        }
    }

    /// Three-letter names, from the smallest value on.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Minute | Self::Hour | Self::DayOfMonth => &[],
            Self::Month => &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
            Self::DayOfWeek => &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        })
    }
}

/// The values of one field.
pub(super) struct FieldValues {
    field: Field,
    /// As it was given, "Todos" written as `*`.
    pub(super) text: String,
    /// Bit n is set when n matches; Sunday is bit 0 only.
    bits: u64,
    /// Debian's cron decides by this sign alone whether a day field counts as restricted, so `*/2` does not.
    pub(super) begins_with_star: bool,
}

impl FieldValues {
    pub(super) fn parse(field: Field, text: &str) -> Result<Self, ScheduleError> {
        let text = match text.trim() {
            todos if todos.eq_ignore_ascii_case("todos") => "*",
            text => text,
        };
        let mut bits = 0;
        for entry in text.split(',') {
            bits |= entry_bits(field, entry)?;
        }
        if field == Field::DayOfWeek && bits & (1 << 7) != 0 {
            bits = bits & !(1 << 7) | 1;
        }
        Ok(Self { field, text: text.to_owned(), bits, begins_with_star: text.starts_with('*') })
    }

    /// The values as a list for the `cron` crate, whose weekdays are Quartz's: 1 is Sunday, 7 Saturday.
    pub(super) fn quartz(&self) -> String {
        let shift = u32::from(self.field == Field::DayOfWeek);
        let values = (self.field.min()..=self.field.max()).filter(|value| self.bits & (1 << value) != 0);
        values.map(|value| (value + shift).to_string()).collect::<Vec<_>>().join(",")
    }
}

/// `*`, a value or a range, the first and the last with an optional step.
fn entry_bits(field: Field, entry: &str) -> Result<u64, ScheduleError> {
    if entry.is_empty() {
        return Err(ScheduleError::EmptyEntry { field });
    }
    let (range, step) = entry.split_once('/').map_or((entry, None), |(range, step)| (range, Some(step)));
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (field.min(), field.max()),
        Some((first, last)) => (value(field, first)?, range_end(field, last)?),
        None if step.is_some() => return Err(ScheduleError::StepWithoutRange { field, text: entry.to_owned() }),
        None => {
            let only = value(field, range)?;
            (only, only)
        }
    };
    if first > last {
        return Err(ScheduleError::ReversedRange { field, text: range.to_owned() });
    }
    let step = step.map_or(Ok(1), |step| number(field, step))?;
    if step == 0 || step > field.max() {
        return Err(ScheduleError::StepOutOfRange { field, text: entry.to_owned() });
    }
    Ok((first..=last).step_by(step as usize).fold(0, |bits, value| bits | (1 << value)))
}

/// The end of a range: "sun" there is the Sunday after Saturday.
fn range_end(field: Field, text: &str) -> Result<u32, ScheduleError> {
    if field == Field::DayOfWeek && text.eq_ignore_ascii_case("sun") { Ok(7) } else { value(field, text) }
}

fn value(field: Field, text: &str) -> Result<u32, ScheduleError> {
    if let Some(value) =
        (field.min()..).zip(field.names()).find_map(|(value, name)| name.eq_ignore_ascii_case(text).then_some(value))
    {
        return Ok(value);
    }
    let value = number(field, text)?;
    if (field.min()..=field.max()).contains(&value) { Ok(value) } else { Err(ScheduleError::OutOfRange { field, value }) }
}

/// At most four digits, which is more than any field takes.
fn number(field: Field, text: &str) -> Result<u32, ScheduleError> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| ScheduleError::NotAValue { field, text: text.to_owned() })
}
