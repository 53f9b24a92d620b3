//! Templates as they were accepted and as Opa! Suite has them now.

use crate::filling::Parameters;
use crate::payment::MEMBERS;
use crate::variables::{placeholder_names, placeholders};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Lines that two texts are compared by; the rest of a longer one counts as changed.
const LINES_MAX: usize = 200;

/// What a template says at Opa! Suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateText {
    /// `atalho`, the name that people see.
    pub name: String,
    /// `texto`, with its placeholders.
    pub text: String,
}

/// Why a notice may not be sent with its template as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateFault {
    /// Opa! Suite doesn't have it on the notice's channel any more.
    #[error("its template {template_id} isn't on its channel in Opa! Suite")]
    Gone {
        /// The template's id.
        template_id: String,
    },
    /// It has another number of placeholders than the notice has variables.
    #[error("its template {name:?} has {placeholders} placeholders, the notice has {variables} variables")]
    Misfit {
        /// The template's name.
        name: String,
        /// What the template expects.
        placeholders: usize,
        /// What the notice gives.
        variables: usize,
    },
    /// It has a placeholder that the notice's payment doesn't fill.
    #[error("its template {name:?} has the placeholder {placeholder:?}, which no payment fills: it is no payment template")]
    NoPayment {
        /// The template's name.
        name: String,
        /// What stands between its braces.
        placeholder: String,
    },
    /// Its text is another than the one that was accepted.
    #[error("the text of its template {name:?} changed in Opa! Suite")]
    Changed {
        /// The template's name.
        name: String,
    },
}

impl TemplateFault {
    /// What to do about it in the notice.
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Misfit { .. } | Self::Changed { .. } => "give one variable for each placeholder, in the template's order",
            Self::NoPayment { .. } => "name a payment template, or write variables in place of payment",
            Self::Gone { .. } => "see `regua check` for the templates of the channel",
        }
    }
}

/// Whether a notice that gives these can be sent with a template as Opa! Suite has it now; `None` is gone.
///
/// Of values by position their number is compared with that of the placeholders. A payment has none to give: what is looked at is that
/// the template has no placeholder, but for those that are named like a member of the payment, which Opa! Suite may fill from it. Whether it is
/// a payment template its record doesn't say (contracts §1.4): only a test shows that.
///
/// # Errors
/// [`TemplateFault::Gone`], [`TemplateFault::Misfit`] or [`TemplateFault::NoPayment`].
pub fn fits(template_id: &str, now: Option<&TemplateText>, parameters: &Parameters) -> Result<(), TemplateFault> {
    let Some(now) = now else { return Err(TemplateFault::Gone { template_id: template_id.to_owned() }) };
    match parameters {
        Parameters::ByPosition(entries) => match (placeholders(&now.text), entries.len()) {
            (placeholders, variables) if placeholders == variables => Ok(()),
            (placeholders, variables) => Err(TemplateFault::Misfit { name: now.name.clone(), placeholders, variables }),
        },
        Parameters::Payment(_) => {
            let is_member = |name: &&str| MEMBERS.iter().any(|member| member.eq_ignore_ascii_case(name));
            match placeholder_names(&now.text).find(|name| !is_member(name)) {
                Some(other) => Err(TemplateFault::NoPayment { name: now.name.clone(), placeholder: other.to_owned() }),
                None => Ok(()),
            }
        }
    }
}

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// In both.
    Same(&'a str),
    /// Only in the old text.
    Old(&'a str),
    /// Only in the new one.
    New(&'a str),
}

/// The two texts line by line, as `diff` tells them: what is old before what is new.
pub fn differences<'a>(old: &'a str, new: &'a str) -> Vec<Line<'a>> {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let (old_kept, old_rest) = old.split_at(old.len().min(LINES_MAX));
    let (new_kept, new_rest) = new.split_at(new.len().min(LINES_MAX));
    let mut lines = compared(old_kept, new_kept);
    lines.extend(old_rest.iter().copied().map(Line::Old));
    lines.extend(new_rest.iter().copied().map(Line::New));
    lines
}

/// By the longest common subsequence.
fn compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    // longest[i][j]: lines that the rest of old from i and of new from j have in common.
    let mut longest = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i][j] = if old[i] == new[j] { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::with_capacity(old.len() + new.len());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            lines.push(Line::Old(old[i]));
            i += 1;
        } else {
            lines.push(Line::New(new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{AmountUnit, PaymentMeans, PaymentTerms};
    use proptest::prelude::*;

    #[track_caller]
    fn check(old: &str, new: &str, lines: &[Line<'_>]) {
        assert_eq!(differences(old, new), lines, "{old:?} → {new:?}");
    }

    #[test]
    fn only_lines_that_differ_are_told_apart() {
        check("a\nb\nc", "a\nx\nc", &[Line::Same("a"), Line::Old("b"), Line::New("x"), Line::Same("c")]);
        check("a", "a", &[Line::Same("a")]);
        check("", "a", &[Line::New("a")]);
        check("a\nb", "b", &[Line::Old("a"), Line::Same("b")]);
        check("", "", &[]);
    }

    #[test]
    fn a_notice_fits_a_template_with_as_many_placeholders_as_it_has_variables() {
        let template = TemplateText { name: "aviso".into(), text: "Olá {{1}}, {{2}}".into() };
        let entries = |text| Parameters::ByPosition(crate::variables::parse(text).expect("variables"));
        let two = entries("#cliente_razao#,#areceber_valor#");
        assert_eq!(fits("id", Some(&template), &two), Ok(()));
        let told = fits("id", Some(&template), &entries("a,b,c")).expect_err("one too many").to_string();
        assert!(told.contains("\"aviso\" has 2 placeholders") && told.contains("3 variables"), "{told}");
        assert_eq!(fits("id", None, &two), Err(TemplateFault::Gone { template_id: "id".into() }));
    }

    #[test]
    fn a_payment_fits_a_template_whose_placeholders_are_its_own_members_alone() {
        let payment = Parameters::Payment(PaymentTerms { means: PaymentMeans::Pix, amount: AmountUnit::Centavos });
        let fits = |text: &str| fits("id", Some(&TemplateText { name: "pix".into(), text: text.into() }), &payment);
        assert_eq!(fits("Sua fatura chegou."), Ok(()));
        assert_eq!(fits("Sua fatura de {{ Valor }}: {{codigo}}"), Ok(()));
        let told = fits("Olá {{nome}}, {{valor}}").expect_err("nobody gives a name").to_string();
        assert!(told.contains("\"nome\"") && told.contains("no payment template"), "{told}");
    }

    proptest! {
        #[test]
        fn a_comparison_has_every_line_of_both_texts_in_order(old in "[ab\\n]{0,30}", new in "[ab\\n]{0,30}") {
            let lines = differences(&old, &new);
            let of_old: Vec<_> = lines.iter().filter_map(|line| match line { Line::Same(l) | Line::Old(l) => Some(*l), Line::New(_) => None }).collect();
            let of_new: Vec<_> = lines.iter().filter_map(|line| match line { Line::Same(l) | Line::New(l) => Some(*l), Line::Old(_) => None }).collect();
            prop_assert_eq!(of_old, old.lines().collect::<Vec<_>>());
            prop_assert_eq!(of_new, new.lines().collect::<Vec<_>>());
        }
    }
}
