//! What one look found.

use serde::Serialize;

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// Whether nothing is wrong with it, as far as could be seen.
    pub ok: bool,
    /// What was found.
    pub result: String,
    /// What to do about it, or where to look oneself.
    pub mend: Option<String>,
}

impl Finding {
    /// In order.
    pub fn good(what: impl Into<String>, result: impl Into<String>) -> Self {
        Self { what: what.into(), ok: true, result: result.into(), mend: None }
    }

    /// No problem that was seen, but something that can't be seen from here: where to look.
    pub fn unseen(what: impl Into<String>, result: impl Into<String>, look: impl Into<String>) -> Self {
        Self { what: what.into(), ok: true, result: result.into(), mend: Some(look.into()) }
    }

    /// A problem, with its mend.
    pub fn bad(what: impl Into<String>, result: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), ok: false, result: result.into(), mend: Some(mend.into()) }
    }
}
