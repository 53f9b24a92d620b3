//! A template's text: its placeholders, and the values in their places.

use std::collections::HashMap;

/// Fills a template's placeholders, `{{1}}` or `{{name}}`, with the values in order of appearance: the platform ignores
/// the names (contracts §1.4). A number that appears again stands for the same value. A placeholder without a value stays as it is.
pub fn fill(template_text: &str, values: &[String]) -> String {
    let mut filled = String::with_capacity(template_text.len());
    for piece in pieces(template_text) {
        filled.push_str(match piece {
            Piece::Text(text) => text,
            Piece::Placeholder { text, place } => values.get(place).map_or(text, String::as_str),
        });
    }
    filled
}

/// How many values a template expects: each `{{name}}`, and each different `{{1}}`.
///
/// WhatsApp's numbers are positions, so that one which appears twice takes one value; names are filled one by one. Whether Opa! Suite
/// really counts a repeated name twice is unknown (contracts §1.4).
pub fn placeholders(template_text: &str) -> usize {
    let place = |piece| match piece {
        Piece::Placeholder { place, .. } => Some(place + 1),
        Piece::Text(_) => None,
    };
    pieces(template_text).filter_map(place).max().unwrap_or(0)
}

/// What stands between the braces of each placeholder, in order of appearance.
pub fn placeholder_names(template_text: &str) -> impl Iterator<Item = &str> {
    pieces(template_text).filter_map(|piece| match piece {
        Piece::Placeholder { text, .. } => Some(name_of(text)),
        Piece::Text(_) => None,
    })
}

/// Whether a name or a number stands in more than one placeholder: how many values the platform then wants is not certain.
pub fn repeats_a_placeholder(template_text: &str) -> bool {
    let mut seen = std::collections::HashSet::new();
    placeholder_names(template_text).any(|name| !seen.insert(name))
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder {
        /// With its braces.
        text: &'a str,
        /// Which value fills it, from 0.
        place: usize,
    },
}

/// Cuts a template into text and placeholders; braces without a name between them are text.
fn pieces(template_text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template_text;
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut places = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (start, end) = next_placeholder(rest).unwrap_or((rest.len(), rest.len()));
        if start > 0 {
            let (text, after) = rest.split_at(start);
            rest = after;
            return Some(Piece::Text(text));
        }
        let (text, after) = rest.split_at(end);
        rest = after;
        let name = name_of(text);
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        let place = numbers.get(name).copied().filter(|_| is_number).unwrap_or(places);
        if place == places {
            numbers.insert(name, places);
            places += 1;
        }
        Some(Piece::Placeholder { text, place })
    })
}

/// What stands between the braces of a placeholder.
fn name_of(placeholder: &str) -> &str {
    placeholder.trim_start_matches('{').trim_end_matches('}').trim()
}

/// Where the first placeholder begins and ends.
fn next_placeholder(text: &str) -> Option<(usize, usize)> {
    text.match_indices("}}").find_map(|(close, braces)| {
        let open = text[..close].rfind("{{")?;
        let has_name = !text[open + 2..close].trim().is_empty();
        has_name.then_some((open, close + braces.len()))
    })
}
