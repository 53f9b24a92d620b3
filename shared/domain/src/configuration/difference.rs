//! What applying a configuration would change.

use super::export::{Entry, entries};
use super::model::Configuration;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// One section that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its header: `[[channel]]`.
    pub section: &'static str,
    /// Its name; for a stage, the policy's name and the stage's, with ` / ` between; empty for `[window]` and its like.
    pub name: String,
    /// What happens to it.
    pub kind: ChangeKind,
    /// The fields that differ; for a section that comes or goes, all that it has. In the order of the file.
    pub fields: Vec<FieldChange>,
}

/// What happens to a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new. (So is one that was renamed, whose old name is removed.)
    Added,
    /// It stays, with other values.
    Changed,
    /// It goes.
    Removed,
}

/// One field that differs; values in TOML's notation, secrets as references.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The key.
    pub field: &'static str,
    /// The value before, `None` where there was none.
    pub old: Option<String>,
    /// The value after, `None` where there is none.
    pub new: Option<String>,
}

/// For a person to read: the section, and a line for each of its fields.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Removed => "removed",
        };
        write!(f, "{kind} {}", self.section)?;
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        for FieldChange { field, old, new } in &self.fields {
            let absent = "(absent)";
            let (old, new) = (old.as_deref().unwrap_or(absent), new.as_deref().unwrap_or(absent));
            match self.kind {
                ChangeKind::Changed => write!(f, "\n  {field}: {old} -> {new}")?,
                ChangeKind::Added => write!(f, "\n  {field} = {new}")?,
                ChangeKind::Removed => write!(f, "\n  {field} = {old}")?,
            }
        }
        Ok(())
    }
}

/// What differs between two configurations, by section and name: first what goes, in the old one's order, then what comes or
/// changes, in the new one's. Sections in another order don't differ. Without an old one everything comes.
pub fn diff(old: Option<&Configuration>, new: &Configuration) -> Vec<Change> {
    let (old, new) = (old.map(entries).unwrap_or_default(), entries(new));
    let key = |entry: &Entry| (entry.header, entry.name.clone());
    let before: BTreeMap<_, _> = old.iter().map(|entry| (key(entry), entry)).collect();
    let after: BTreeMap<_, _> = new.iter().map(|entry| (key(entry), entry)).collect();
    let gone = old.iter().filter(|entry| !after.contains_key(&key(entry)));
    let removed = gone.map(|entry| change(entry, ChangeKind::Removed, field_changes(Some(entry), None)));
    let rest = new.iter().filter_map(|entry| match before.get(&key(entry)) {
        None => Some(change(entry, ChangeKind::Added, field_changes(None, Some(entry)))),
        Some(old) => {
            let fields = field_changes(Some(old), Some(entry));
            (!fields.is_empty()).then(|| change(entry, ChangeKind::Changed, fields))
        }
    });
    removed.chain(rest).collect()
}

fn change(entry: &Entry, kind: ChangeKind, fields: Vec<FieldChange>) -> Change {
    Change { section: entry.header, name: entry.name.clone(), kind, fields }
}

fn field_changes(old: Option<&Entry>, new: Option<&Entry>) -> Vec<FieldChange> {
    let value = |entry: Option<&Entry>, field: &str| {
        entry.and_then(|entry| entry.fields.iter().find(|(key, _)| *key == field)).map(|(_, value)| value.clone())
    };
    let mut keys: Vec<&'static str> = Vec::new();
    for (key, _) in old.into_iter().chain(new).flat_map(|entry| &entry.fields) {
        if !keys.contains(key) {
            keys.push(key);
        }
    }
    let changes = keys.into_iter().map(|field| FieldChange { field, old: value(old, field), new: value(new, field) });
    changes.filter(|change| change.old != change.new).collect()
}
