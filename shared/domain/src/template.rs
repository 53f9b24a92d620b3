//! Templates as they were accepted and as Opa! Suite has them now.

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
    /// Its text is another than the one that was accepted.
    #[error("the text of its template {name:?} changed in Opa! Suite")]
    Changed {
        /// The template's name.
        name: String,
    },
}

/// Whether a notice that gives so many variables can be sent with a template as Opa! Suite has it now; `None` is gone.
///
/// # Errors
/// [`TemplateFault::Gone`] or [`TemplateFault::Misfit`].
pub fn fits(template_id: &str, now: Option<&TemplateText>, variables: usize) -> Result<(), TemplateFault> {
    let Some(now) = now else { return Err(TemplateFault::Gone { template_id: template_id.to_owned() }) };
    match crate::variables::placeholders(&now.text) {
        placeholders if placeholders == variables => Ok(()),
        placeholders => Err(TemplateFault::Misfit { name: now.name.clone(), placeholders, variables }),
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
        assert_eq!(fits("id", Some(&template), 2), Ok(()));
        let told = fits("id", Some(&template), 3).expect_err("one too many").to_string();
        assert!(told.contains("\"aviso\" has 2 placeholders") && told.contains("3 variables"), "{told}");
        assert_eq!(fits("id", None, 2), Err(TemplateFault::Gone { template_id: "id".into() }));
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
