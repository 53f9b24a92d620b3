//! What the audit log says of a configuration: the fields that changed, by section and name, before and after.

use crate::audit::{By, Entry, masked};
use regua_domain::audit::Action;
use regua_domain::configuration::{Change, Configuration, FieldChange, diff};
use serde_json::{Map, Value, json};

/// Digits in a row that may be a phone's.
const PHONE_DIGITS: usize = 8;

/// The entry of one application. Of the first one it has the sections' names only: everything is new.
pub(super) fn entry<'a>(old: Option<&Configuration>, new: &Configuration, by: &'a By) -> Entry<'a> {
    let changes = diff(old, new);
    let (was, became) = if old.is_none() {
        (None, Some(json!({ "sections": changes.iter().map(section).collect::<Vec<_>>() })))
    } else {
        (side(&changes, |field| field.old.as_deref()), side(&changes, |field| field.new.as_deref()))
    };
    Entry { by: &by.who, action: Action::ConfigurationApplied, target: "", why: by.why.as_deref(), was, became }
}

fn section(change: &Change) -> String {
    format!("{} {}", change.section, change.name).trim_end().to_owned()
}

/// One side of the changes: `{"[[channel]] Cobrança": {"per_second": "80"}}`; nothing where it has nothing.
fn side(changes: &[Change], value: impl Fn(&FieldChange) -> Option<&str>) -> Option<Value> {
    let mut sections = Map::new();
    for change in changes {
        let fields = change.fields.iter().filter_map(|field| {
            let value = value(field)?;
            // A pilot's phones are people's; every other number is the provider's own.
            let value = if change.section == "[pilot]" { without_phones(value) } else { value.to_owned() };
            Some((field.field.to_owned(), Value::String(value)))
        });
        let fields: Map<String, Value> = fields.collect();
        if !fields.is_empty() {
            sections.insert(section(change), Value::Object(fields));
        }
    }
    (!sections.is_empty()).then_some(Value::Object(sections))
}

/// The text with the last four digits of each phone.
fn without_phones(text: &str) -> String {
    let mut shown = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        if digits.len() >= PHONE_DIGITS {
            shown.push_str(&masked(digits));
            shown.push_str(&part[digits.len()..]);
        } else {
            shown.push_str(part);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pilots_phones_are_shown_by_their_last_four_digits() {
        let shown = without_phones("[\"+5511987654321\", \"+5549999990000\"]");
        assert_eq!(shown, "[\"+…4321\", \"+…0000\"]");
        assert_eq!(without_phones("\"unlimited\""), "\"unlimited\"");
    }
}
