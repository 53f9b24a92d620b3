//! The writer of Prometheus's text format 0.0.4.

use super::{Labels, MetricFamily};
use std::collections::BTreeMap;

/// The content type of what is written.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Families of one name become one, by name; of samples with equal labels the first stays.
pub(super) fn write(families: Vec<MetricFamily>) -> String {
    let mut by_name: BTreeMap<&str, MetricFamily> = BTreeMap::new();
    for mut family in families {
        match by_name.get_mut(family.name) {
            Some(known) => known.samples.append(&mut family.samples),
            None => drop(by_name.insert(family.name, family)),
        }
    }
    by_name.into_values().map(family_text).collect()
}

fn family_text(family: MetricFamily) -> String {
    let name = plain(family.name);
    let help = family.help.replace('\\', r"\\").replace('\n', r"\n");
    let mut samples = BTreeMap::new();
    for (mut labels, value) in family.samples {
        labels.sort();
        samples.entry(labels).or_insert(value);
    }
    let head = format!("# HELP {name} {help}\n# TYPE {name} {}\n", family.kind.as_str());
    samples.iter().fold(head, |text, (labels, value)| text + &format!("{name}{} {}\n", braces(labels), number(*value)))
}

/// A name as the format has it: whatever it doesn't allow becomes an underscore.
fn plain(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let digit_first = name.starts_with(|c: char| c.is_ascii_digit());
    let name = name.chars().map(|c| if allowed(c) { c } else { '_' });
    digit_first.then_some('_').into_iter().chain(name).collect()
}

fn braces(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{}=\"{}\"", plain(name), escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_help_type_and_samples_in_order() {
        let families = vec![
            MetricFamily::gauge("b", "Back\\slash and\nnew line.").sample(&[], 1.5),
            MetricFamily::counter("a_total", "Messages by state.")
                .count(&[("state", "sent"), ("channel", "x")], 3)
                .count(&[("state", "failed"), ("channel", "x")], 0),
        ];
        let expected = "# HELP a_total Messages by state.\n# TYPE a_total counter\n\
            a_total{channel=\"x\",state=\"failed\"} 0\na_total{channel=\"x\",state=\"sent\"} 3\n\
            # HELP b Back\\\\slash and\\nnew line.\n# TYPE b gauge\nb 1.5\n";
        assert_eq!(write(families), expected);
    }

    #[test]
    fn label_values_are_escaped_and_names_made_plain() {
        for (value, escaped) in [("a\"b", r#"a\"b"#), ("a\\b", r"a\\b"), ("a\nb", r"a\nb"), ("Régua {x}", "Régua {x}"), ("", "")]
        {
            let text = write(vec![MetricFamily::gauge("1st metric", "").sample(&[("a-b", value)], 1.0)]);
            assert!(text.ends_with(&format!("_1st_metric{{a_b=\"{escaped}\"}} 1\n")), "{text}");
        }
    }

    #[test]
    fn numbers_are_written_as_the_format_reads_them() {
        for (value, written) in [
            (0.0, "0"),
            (1e15, "1000000000000000"),
            (0.25, "0.25"),
            (-3.0, "-3"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(number(value), written);
        }
    }

    #[test]
    fn families_of_one_name_are_merged_without_repeating_a_sample() {
        let family = |state, number| MetricFamily::gauge("m", "Help.").count(&[("state", state)], number);
        let merged = write(vec![family("a", 1), family("b", 2), family("a", 3)]);
        assert_eq!(merged, "# HELP m Help.\n# TYPE m gauge\nm{state=\"a\"} 1\nm{state=\"b\"} 2\n");
    }
}
