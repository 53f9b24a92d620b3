//! A template that is wrong fails every message in the same way, one by one: so many rejections in a row stop it (contracts §5, rule 8).
//!
//! Each dispatcher counts its own answers: that writes nothing on the hot path, and with several of them at most so many more fail before the
//! first has counted to the bound.

use regua_domain::message::FailReason;
use regua_opa_suite::{Answer, Outcome, ProviderCode};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Rejections of one template with the same code, one after the other, that stop it.
pub const IN_A_ROW_MAX: u32 = 5;

/// What a rejection says: its reason, and the code if the answer held one.
type Kind = (FailReason, Option<u32>);

/// The rejections in a row of each template in use.
#[derive(Default)]
pub struct Rejections(Mutex<HashMap<String, (Kind, u32)>>);

impl Rejections {
    /// Notes how an attempt with a template ended; why the template must stop, if it must.
    pub fn note(&self, template: &str, answer: &Answer) -> Option<String> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match verdict(answer)? {
            Verdict::IsGood => {
                rows.remove(template);
                None
            }
            Verdict::MayBeWrong(kind) => {
                let row = rows.entry(template.to_owned()).or_insert((kind, 0));
                *row = (kind, if row.0 == kind { row.1 + 1 } else { 1 });
                if row.1 < IN_A_ROW_MAX {
                    return None;
                }
                rows.remove(template);
                let (reason, code) = kind;
                let code = code.map_or_else(String::new, |code| format!(" ({code})"));
                Some(format!("{IN_A_ROW_MAX} rejections in a row: {reason}{code}"))
            }
        }
    }
}

/// What an answer says of the template.
enum Verdict {
    /// It was sent, or refused for something of its recipient's.
    IsGood,
    /// It was refused for what a template's fault explains.
    MayBeWrong(Kind),
}

/// `None`: nothing is said of the template.
fn verdict(answer: &Answer) -> Option<Verdict> {
    let Outcome::Rejected { reason } = answer.outcome else {
        return matches!(answer.outcome, Outcome::Accepted { .. }).then_some(Verdict::IsGood);
    };
    let is_known = answer.provider_code.and_then(ProviderCode::from_number).is_some();
    Some(match reason {
        FailReason::ParameterCount | FailReason::ParameterFormat => Verdict::MayBeWrong((reason, answer.provider_code)),
        FailReason::Rejected if !is_known => Verdict::MayBeWrong((reason, answer.provider_code)),
        // The known codes among these are about the recipient: 131047, 131049, 131050.
        FailReason::Rejected | FailReason::Undeliverable | FailReason::TooLarge => Verdict::IsGood,
        // No answer says these.
        FailReason::AttemptsUsedUp | FailReason::Dropped | FailReason::DoubtExpired => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use regua_domain::message::DoubtReason;
    use std::time::Duration;

    fn answer(outcome: Outcome, provider_code: Option<u32>) -> Answer {
        Answer { outcome, status: Some(400), provider_code, latency: Duration::ZERO }
    }

    fn rejected(reason: FailReason, code: Option<u32>) -> Answer {
        answer(Outcome::Rejected { reason }, code)
    }

    /// Which of the answers, counted from 1, stops the template.
    #[track_caller]
    fn check(answers: &[Answer], expected: Option<usize>) {
        let rejections = Rejections::default();
        let stops = answers.iter().position(|answer| rejections.note("t", answer).is_some()).map(|at| at + 1);
        assert_eq!(stops, expected, "{answers:?}");
    }

    #[test]
    fn five_rejections_in_a_row_with_the_same_code_stop_the_template() {
        for (reason, code) in [
            (FailReason::ParameterCount, Some(132_000)),
            (FailReason::ParameterFormat, Some(132_012)),
            (FailReason::Rejected, None),
            (FailReason::Rejected, Some(999_999)),
        ] {
            check(&vec![rejected(reason, code); 9], Some(5));
        }
    }

    #[test]
    fn a_message_that_goes_through_or_another_code_begins_the_count_again() {
        let count = || rejected(FailReason::ParameterCount, Some(132_000));
        let accepted = answer(Outcome::Accepted { provider_id: "1".into() }, None);
        let mut answers = vec![count(), count(), count(), count(), accepted];
        answers.extend([count(), count(), count(), count(), rejected(FailReason::Rejected, None)]);
        answers.extend(vec![count(); 5]);
        check(&answers, Some(15));
    }

    #[test]
    fn what_says_nothing_of_the_template_neither_counts_nor_begins_again() {
        let mut answers = vec![rejected(FailReason::Rejected, None); 4];
        answers.push(answer(Outcome::Doubt { why: DoubtReason::TimedOut }, None));
        answers.push(answer(Outcome::ContactInService, None));
        answers.push(rejected(FailReason::Rejected, None));
        check(&answers, Some(7));
    }

    /// Many customers without WhatsApp, or who want no notices, one after the other.
    #[test]
    fn what_concerns_the_recipient_stops_no_template() {
        check(&vec![rejected(FailReason::Undeliverable, Some(131_026)); 50], None);
        for code in [131_047, 131_049, 131_050] {
            check(&vec![rejected(FailReason::Rejected, Some(code)); 50], None);
        }
    }

    #[test]
    fn templates_are_counted_apart_and_a_stopped_one_from_the_beginning() {
        let rejections = Rejections::default();
        let stops = (0..10)
            .filter(|n| rejections.note(if n % 2 == 0 { "a" } else { "b" }, &rejected(FailReason::Rejected, None)).is_some());
        assert_eq!(stops.collect::<Vec<_>>(), [8, 9]);
        assert_eq!(rejections.note("a", &rejected(FailReason::Rejected, None)), None, "a person has resumed it");
    }
}
