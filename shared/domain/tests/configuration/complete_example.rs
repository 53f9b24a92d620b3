//! `ops/examples/regua-completa.toml`: it is right, and it shows everything that the reader knows.

use crate::{defaults, parse as parse_any};
use regua_domain::configuration::{Configuration, Fault, export};
use regua_domain::stage::Stage;
use std::collections::BTreeSet;

const EXAMPLE: &str = include_str!("../../../../ops/examples/regua-completa.toml");
/// No key of any section, and like none.
const PROBE: &str = "zzzzzzzzzzzzzzzz";

/// What its options name as variables has a value.
fn parse(text: &str) -> Result<Configuration, String> {
    let environment = |name: &str| match name {
        "OPA_URL" => Some("https://suporte.example.com/api/v1".to_owned()),
        "IXC_URL" => Some("https://ixc.example.com".to_owned()),
        _ => None,
    };
    Configuration::parse(text, "regua-completa.toml", &defaults(), &environment).map_err(|errors| errors.to_string())
}

fn is_option(line: &str) -> bool {
    line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
}

/// A section's dotted name, if the line begins one, as an option too: `policy.stage`.
fn section_of(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#');
    if rest.starts_with('[') { rest.trim_start_matches('[').split(']').next() } else { None }
}

/// Each section and key that the example shows, as an option or not; a section is a key of the one that it stands in.
fn shown() -> BTreeSet<(String, String)> {
    let mut shown = BTreeSet::new();
    let mut section = "";
    for line in EXAMPLE.lines().filter(|line| is_option(line) || !line.starts_with('#')) {
        if let Some(name) = section_of(line) {
            section = name;
            let (parent, key) = name.rsplit_once('.').unwrap_or(("", name));
            shown.insert((parent.to_owned(), key.to_owned()));
        } else if let Some((key, _)) = line.trim_start_matches('#').split_once(" = ") {
            shown.insert((section.to_owned(), key.trim().to_owned()));
        }
    }
    shown
}

/// Each section and key that the reader knows: it lists them to whoever writes an unknown one.
fn known() -> BTreeSet<(String, String)> {
    let mut known = BTreeSet::new();
    let sections: BTreeSet<&str> =
        EXAMPLE.lines().filter(|line| is_option(line) || line.starts_with('[')).filter_map(section_of).chain([""]).collect();
    for section in sections {
        let mut lines: Vec<&str> = EXAMPLE.lines().collect();
        let probe = format!("{PROBE} = true");
        let place = lines.iter().position(|line| (is_option(line) || line.starts_with('[')) && section_of(line) == Some(section));
        let option = place.into_iter().flat_map(|place| place..lines.len()).take_while(|at| is_option(lines[*at]));
        for at in option.collect::<Vec<_>>() {
            lines[at] = &lines[at][1..];
        }
        lines.insert(place.map_or(0, |place| place + 1), &probe);
        let text = lines.join("\n");
        let errors = parse_any(&text).expect_err("the probe is refused");
        let keys = errors.problems.iter().find_map(|problem| match &problem.fault {
            Fault::UnknownKey { known, .. } if problem.field.ends_with(PROBE) => Some(known),
            _ => None,
        });
        let keys = keys.unwrap_or_else(|| panic!("[{section}] takes any key: {errors}"));
        known.extend(keys.iter().map(|key| (section.to_owned(), (*key).to_owned())));
    }
    known
}

#[test]
fn the_complete_example_has_nothing_wrong_and_every_stage() {
    let example = parse(EXAMPLE).unwrap_or_else(|errors| panic!("{errors}"));
    let residential = example.policies.iter().find(|policy| policy.name == "Residencial").expect("it is there");
    let stages: Vec<_> = residential.stages.iter().map(|stage| stage.stage).collect();
    assert_eq!(stages, Stage::ALL);
    let days: Vec<_> = residential.stages.iter().filter_map(|stage| stage.days).collect();
    assert_eq!(days, [-3, 0, 3, 7, 12, 20, 30]);
    assert!(Stage::ALL.iter().all(|stage| EXAMPLE.contains(&format!("[{}]", stage.erp_label()))), "each with the ERP's label");
    assert_eq!(parse(&export(&example)).as_ref(), Ok(&example));
}

#[test]
fn the_complete_example_shows_every_key_that_the_reader_knows() {
    let (shown, known) = (shown(), known());
    let missing: Vec<_> = known.difference(&shown).collect();
    assert!(missing.is_empty(), "show these in ops/examples/regua-completa.toml: {missing:?}");
    let invented: Vec<_> = shown.difference(&known).collect();
    assert!(invented.is_empty(), "the reader doesn't know these: {invented:?}");
}

#[test]
fn every_option_of_the_complete_example_is_right_beside_or_in_place_of_the_line_above() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let mut options = 0;
    let mut start = 0;
    while start < lines.len() {
        let length = lines[start..].iter().take_while(|line| is_option(line)).count();
        // A section comes whole; keys come one by one, but for the three that say one span of hours.
        let whole = length > 0 && (lines[start].starts_with("#[") || lines[start].starts_with("#days = "));
        let take = if whole { length } else { length.min(1) };
        if take == 0 {
            start += 1;
            continue;
        }
        let option: Vec<&str> = lines[start..start + take].iter().map(|line| &line[1..]).collect();
        let with = |before: usize| parse(&[&lines[..before], &option, &lines[start + take..]].concat().join("\n"));
        // Of several options after one line each takes its place.
        let above = lines[..start].iter().rposition(|line| !is_option(line)).unwrap_or(0);
        let outcome = with(start).or_else(|beside| with(above).map_err(|instead| format!("{beside}\n{instead}")));
        assert!(outcome.is_ok(), "{option:?}: {outcome:?}");
        options += 1;
        start += take;
    }
    assert_eq!(options, 21, "all were tried");
}
