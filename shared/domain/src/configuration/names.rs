//! The names that a file defines, and the references to them.

use super::nearest::nearest;
use super::problem::Fault;
use super::reader::{Located, Report, Reported};
use std::collections::BTreeMap;

/// The names of one kind of section. A section that is wrong elsewhere still defines its name, so that one mistake is told once.
pub(super) struct Names<T = ()> {
    section: &'static str,
    known: BTreeMap<String, (usize, T)>,
}

impl<T> Names<T> {
    pub fn new(section: &'static str) -> Self {
        Self { section, known: BTreeMap::new() }
    }

    /// Defines a name; a second time is a problem.
    pub fn define(&mut self, report: &Report<'_>, name: &Located<String>, about: T) -> Result<(), Reported> {
        if let Some((first_line, _)) = self.known.get(&name.value) {
            let mend = "give each section a name of its own: name = \"…\"";
            return Err(report.refuse(name, Fault::Duplicate { first_line: *first_line, mend }));
        }
        self.known.insert(name.value.clone(), (name.line, about));
        Ok(())
    }

    /// What is known about a name that is referred to; an unknown one is a problem.
    pub fn resolve(&self, report: &Report<'_>, reference: &Located<String>) -> Result<&T, Reported> {
        self.known.get(&reference.value).map(|(_, about)| about).ok_or_else(|| {
            let nearest = nearest(&reference.value, self.known.keys().map(String::as_str));
            report.refuse(reference, Fault::UnknownName { section: self.section, nearest })
        })
    }

    /// `None` for a name that is known; else the known one that is spelled most alike, if any is.
    #[allow(clippy::option_option, reason = "one for whether it is known, one for whether there is a guess")]
    pub fn unknown(&self, reference: &Located<String>) -> Option<Option<String>> {
        let known = self.known.contains_key(&reference.value);
        (!known).then(|| nearest(&reference.value, self.known.keys().map(String::as_str)))
    }

    /// The only name and what is known about it.
    pub fn only(&self) -> Option<&String> {
        if self.known.len() == 1 { self.known.keys().next() } else { None }
    }
}
