//! The writer of Prometheus's text format 0.0.4.

use super::{Labels, MetricFamily, Reading, real};
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
    samples.iter().fold(head, |text, (labels, reading)| text + &sample_text(&name, labels, reading))
}

fn sample_text(name: &str, labels: &Labels, reading: &Reading) -> String {
    let distribution = match reading {
        Reading::Number(value) => return format!("{name}{} {}\n", braces(labels), number(*value)),
        Reading::Distribution(distribution) => distribution,
    };
    let bucket = |(bound, count): &(f64, u64)| {
        let mut labels = labels.clone();
        labels.push(("le", number(*bound)));
        format!("{name}_bucket{} {count}\n", braces(&labels))
    };
    let buckets: String = distribution.buckets.iter().map(bucket).collect();
    let (labels, count) = (braces(labels), number(real(distribution.count())));
    format!("{buckets}{name}_sum{labels} {}\n{name}_count{labels} {count}\n", number(distribution.sum))
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
    use super::super::{Distribution, Kind};
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
    fn a_histogram_is_written_as_cumulative_buckets_sum_and_count() {
        let buckets = vec![(0.5, 2), (1.0, 2), (f64::INFINITY, 3)];
        let distribution = Reading::Distribution(Distribution { buckets, sum: 31.25 });
        let family =
            MetricFamily { kind: Kind::Histogram, samples: vec![(vec![("of", "a".into())], distribution)], ..gauge("h_seconds") };
        let expected = "# HELP h_seconds Help.\n# TYPE h_seconds histogram\n\
            h_seconds_bucket{of=\"a\",le=\"0.5\"} 2\nh_seconds_bucket{of=\"a\",le=\"1\"} 2\nh_seconds_bucket{of=\"a\",le=\"+Inf\"} 3\n\
            h_seconds_sum{of=\"a\"} 31.25\nh_seconds_count{of=\"a\"} 3\n";
        assert_eq!(write(vec![family]), expected);
    }

    fn gauge(name: &'static str) -> MetricFamily {
        MetricFamily::gauge(name, "Help.")
    }

    #[test]
    fn families_of_one_name_are_merged_without_repeating_a_sample() {
        let family = |state, number| MetricFamily::gauge("m", "Help.").count(&[("state", state)], number);
        let merged = write(vec![family("a", 1), family("b", 2), family("a", 3)]);
        assert_eq!(merged, "# HELP m Help.\n# TYPE m gauge\nm{state=\"a\"} 1\nm{state=\"b\"} 2\n");
    }
}
