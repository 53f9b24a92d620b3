//! What one look found.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use std::fmt;

/// How it is with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// In order, as far as could be seen.
    Ok,
    /// Nothing that keeps the day from its course, but a person should look.
    Warning,
    /// Something won't work, or doesn't.
    Problem,
}

impl Grade {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// A thing looked at: a word of ours, and the name by which the configuration knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct What {
    /// What it is.
    pub kind: &'static str,
    /// Which.
    pub name: Option<String>,
}

impl What {
    /// One of several of a kind.
    pub fn named(kind: &'static str, name: &str) -> Self {
        Self { kind, name: Some(name.to_owned()) }
    }
}

impl From<&'static str> for What {
    fn from(kind: &'static str) -> Self {
        Self { kind, name: None }
    }
}

impl From<&Self> for What {
    fn from(what: &Self) -> Self {
        what.clone()
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {name:?}", self.kind),
            None => f.write_str(self.kind),
        }
    }
}

/// A sentence for a person. One that holds only words of ours, numbers, instants and ids may also stand in a support bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    text: String,
    is_ours: bool,
}

impl Told {
    /// A sentence of our own words with numbers, instants and ids in it: no name, no address, nobody's answer.
    pub fn ours(text: String) -> Self {
        Self { text, is_ours: true }
    }

    /// The sentence.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The sentence, if nothing of anybody's is in it.
    pub fn for_support(&self) -> Option<&str> {
        self.is_ours.then_some(self.text.as_str())
    }
}

impl From<&'static str> for Told {
    fn from(text: &'static str) -> Self {
        Self::ours(text.to_owned())
    }
}

impl From<String> for Told {
    fn from(text: String) -> Self {
        Self { text, is_ours: false }
    }
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: What,
    /// How it is with it.
    pub grade: Grade,
    /// What was found.
    pub result: Told,
    /// What to do about it, or where to look oneself.
    pub mend: Option<Told>,
}

impl Finding {
    /// In order.
    pub fn good(what: impl Into<What>, result: impl Into<Told>) -> Self {
        Self { what: what.into(), grade: Grade::Ok, result: result.into(), mend: None }
    }

    /// Nothing that is wrong for certain, but something to look at: where, or what to do.
    pub fn warning(what: impl Into<What>, result: impl Into<Told>, look: impl Into<Told>) -> Self {
        Self { what: what.into(), grade: Grade::Warning, result: result.into(), mend: Some(look.into()) }
    }

    /// A problem, with its mend.
    pub fn bad(what: impl Into<What>, result: impl Into<Told>, mend: impl Into<Told>) -> Self {
        Self { what: what.into(), grade: Grade::Problem, result: result.into(), mend: Some(mend.into()) }
    }

    /// As a row of the table: its state in capitals where a person should look.
    pub fn cells(&self) -> Vec<String> {
        let grade = match self.grade {
            Grade::Ok => "ok",
            Grade::Warning => "WARNING",
            Grade::Problem => "PROBLEM",
        };
        let mend = self.mend.as_ref().map_or("", Told::text);
        vec![grade.into(), self.what.to_string(), self.result.text().into(), mend.into()]
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut finding = serializer.serialize_struct("Finding", 5)?;
        finding.serialize_field("what", &self.what.to_string())?;
        finding.serialize_field("grade", self.grade.as_str())?;
        finding.serialize_field("ok", &(self.grade != Grade::Problem))?;
        finding.serialize_field("result", self.result.text())?;
        finding.serialize_field("mend", &self.mend.as_ref().map(Told::text))?;
        finding.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_told_to_people_whole_and_to_support_only_in_our_own_words() {
        let finding = Finding::bad(What::named("channel", "Maria"), "Maria's phone".to_owned(), "mend it");
        assert_eq!(finding.cells(), ["PROBLEM", "channel \"Maria\"", "Maria's phone", "mend it"]);
        assert_eq!((finding.result.for_support(), finding.mend.as_ref().and_then(Told::for_support)), (None, Some("mend it")));
        let json = serde_json::to_value(&finding).expect("JSON");
        let expected = serde_json::json!({
            "what": "channel \"Maria\"", "grade": "problem", "ok": false, "result": "Maria's phone", "mend": "mend it"
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::to_value(Finding::warning("broker", "x", "y")).expect("JSON")["ok"], true);
    }
}
