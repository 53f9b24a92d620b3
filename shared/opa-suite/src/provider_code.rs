//! The WhatsApp codes that Opa! Suite relays (contracts §3.1).

use crate::outcome::{Outcome, StopReason, ThrottleReason};
use regua_domain::message::FailReason;
use std::time::Duration;

/// A WhatsApp error code with a meaning of its own here, the widest stop first: of several in one answer the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProviderCode {
    /// 368: the account is blocked for a breach of policy.
    PolicyBlocked,
    /// 131031: the account is locked.
    AccountLocked,
    /// 131048: the number is restricted, because earlier messages were blocked or reported.
    SpamLimited,
    /// 132001: no such template or language, or not approved.
    TemplateNotFound,
    /// 132015: the template is paused for its quality.
    TemplatePaused,
    /// 132016: the template is disabled.
    TemplateDisabled,
    /// 131056: too many messages to one phone.
    PairRate,
    /// 130429: the throughput of the number.
    NumberThroughput,
    /// 80007: the call rate of the account.
    AccountCallRate,
    /// 132000: another number of parameters is expected.
    ParameterCount,
    /// 132012: a parameter has the wrong format.
    ParameterFormat,
    /// 132018: a parameter holds a line break, a tab or more than four blanks.
    ParameterText,
    /// 131026: no WhatsApp at that number, or it can't get messages.
    Undeliverable,
    /// 131047: free text outside of the 24-hour window.
    WindowClosed,
    /// 131049: WhatsApp chose not to deliver.
    NotDelivered,
    /// 131050: the recipient stopped marketing messages.
    OptedOut,
}

impl ProviderCode {
    /// Every known code.
    pub const ALL: &[Self] = &[
        Self::PolicyBlocked,
        Self::AccountLocked,
        Self::SpamLimited,
        Self::TemplateNotFound,
        Self::TemplatePaused,
        Self::TemplateDisabled,
        Self::PairRate,
        Self::NumberThroughput,
        Self::AccountCallRate,
        Self::ParameterCount,
        Self::ParameterFormat,
        Self::ParameterText,
        Self::Undeliverable,
        Self::WindowClosed,
        Self::NotDelivered,
        Self::OptedOut,
    ];

    /// WhatsApp's number.
    pub const fn number(self) -> u32 {
        match self {
            Self::PolicyBlocked => 368,
            Self::AccountLocked => 131_031,
            Self::SpamLimited => 131_048,
            Self::TemplateNotFound => 132_001,
            Self::TemplatePaused => 132_015,
            Self::TemplateDisabled => 132_016,
            Self::PairRate => 131_056,
            Self::NumberThroughput => 130_429,
            Self::AccountCallRate => 80_007,
            Self::ParameterCount => 132_000,
            Self::ParameterFormat => 132_012,
            Self::ParameterText => 132_018,
            Self::Undeliverable => 131_026,
            Self::WindowClosed => 131_047,
            Self::NotDelivered => 131_049,
            Self::OptedOut => 131_050,
        }
    }

    /// The known code with that number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// What a refusal with this code means.
    pub fn outcome(self, retry_after: Option<Duration>) -> Outcome {
        match self {
            Self::PolicyBlocked => Outcome::Stop { why: StopReason::PolicyBlocked },
            Self::AccountLocked => Outcome::Stop { why: StopReason::AccountLocked },
            Self::SpamLimited => Outcome::Stop { why: StopReason::SpamLimited },
            Self::TemplateNotFound => Outcome::Stop { why: StopReason::TemplateNotFound },
            Self::TemplatePaused => Outcome::Stop { why: StopReason::TemplatePaused },
            Self::TemplateDisabled => Outcome::Stop { why: StopReason::TemplateDisabled },
            Self::PairRate => Outcome::Throttled { why: ThrottleReason::PairRate, retry_after },
            Self::NumberThroughput => Outcome::Throttled { why: ThrottleReason::NumberThroughput, retry_after },
            Self::AccountCallRate => Outcome::Throttled { why: ThrottleReason::AccountCallRate, retry_after },
            Self::ParameterCount => Outcome::Rejected { reason: FailReason::ParameterCount },
            Self::ParameterFormat | Self::ParameterText => Outcome::Rejected { reason: FailReason::ParameterFormat },
            Self::Undeliverable => Outcome::Rejected { reason: FailReason::Undeliverable },
            Self::WindowClosed | Self::NotDelivered | Self::OptedOut => Outcome::Rejected { reason: FailReason::Rejected },
        }
    }

    /// The first known code, in the order of declaration, that `text` names.
    ///
    /// A number counts only where it stands alone. A short one (368) must also follow `#` or the word code, for three digits are
    /// just as well an amount or a house. `text` is lower case and without accents.
    pub(crate) fn in_text(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut found: Option<Self> = None;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
            let (digits, after) = from.split_at(end);
            if let Some(code) = digits.parse().ok().and_then(Self::from_number)
                && stands_alone(before, after)
                && (digits.len() > SHORT_CODE_DIGITS || is_called_a_code(before))
            {
                found = Some(found.map_or(code, |first| first.min(code)));
            }
            rest = after;
        }
        found
    }
}

/// Codes of so few digits need a word that calls them a code.
const SHORT_CODE_DIGITS: usize = 3;

fn stands_alone(before: &str, after: &str) -> bool {
    let part_of_a_word_or_amount = |c: char| c.is_alphanumeric() || matches!(c, '+' | '.' | ',' | '$' | '-');
    let mut following = after.chars();
    let joined_after = match following.next() {
        Some('.' | ',' | '-') => following.next().is_some_and(char::is_alphanumeric),
        Some(next) => next.is_alphanumeric(),
        None => false,
    };
    !before.ends_with(part_of_a_word_or_amount) && !joined_after
}

fn is_called_a_code(before: &str) -> bool {
    let before = before.trim_end_matches([' ', ':', '=', '"', '\'', '(']);
    ["#", "code", "codigo"].iter().any(|word| before.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<ProviderCode>) {
        assert_eq!(ProviderCode::in_text(text), expected, "{text}");
    }

    #[test]
    fn every_number_names_one_code() {
        for code in ProviderCode::ALL {
            assert_eq!(ProviderCode::from_number(code.number()), Some(*code));
        }
    }

    #[test]
    fn a_code_in_a_text_is_found_however_it_is_dressed() {
        for text in [
            "(#132018) there was a problem",
            "erro 132018.",
            "132018",
            "code:132018, retry",
            "falha (132018)",
            "\"code\":132018}",
        ] {
            check(text, Some(ProviderCode::ParameterText));
        }
        check("(#368) temporarily blocked", Some(ProviderCode::PolicyBlocked));
        check("error code: 368", Some(ProviderCode::PolicyBlocked));
    }

    #[test]
    fn a_number_that_is_something_else_is_not_a_code() {
        for text in [
            "",
            "rua das flores 368",
            "+131026",
            "r$131026,00",
            "1310260",
            "fatura a131026",
            "131026,50",
            "131026-7",
            "5511131026",
            "99999999999999999999",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn of_several_codes_the_widest_stop_wins() {
        check("(#132000) after (#131048)", Some(ProviderCode::SpamLimited));
        check("(#131048) after (#132000)", Some(ProviderCode::SpamLimited));
    }
}
