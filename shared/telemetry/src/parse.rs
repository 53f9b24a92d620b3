//! Parsers of single values, for variables and for whatever else a person types. Each error says what was expected, in words that
//! complete the sentence "… is not ___".

use crate::config::KeyBytes;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use secrecy::SecretBox;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::Url;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// A value, or what was expected instead.
pub type Parsed<T> = Result<T, String>;

/// `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`, in any case.
pub fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// A whole number within `bounds`.
pub fn whole(bounds: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<u64> {
    move |text| {
        let expected = || format!("a whole number from {} to {}", bounds.start(), bounds.end());
        text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(expected)
    }
}

/// A whole number of seconds within `bounds`.
pub fn seconds(bounds: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        let expected = || format!("a whole number of seconds from {} to {}", bounds.start(), bounds.end());
        text.parse().ok().filter(|number| bounds.contains(number)).map(Duration::from_secs).ok_or_else(expected)
    }
}

/// The 32 bytes of a key, as 64 hexadecimal digits or in base64.
pub fn key(text: &str) -> Parsed<KeyBytes> {
    let text = text.trim();
    let base64 = || STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?.try_into().ok();
    from_hex(text)
        .or_else(base64)
        .map(|bytes: [u8; KEY_BYTES]| Arc::new(SecretBox::new(Box::new(bytes))))
        .ok_or_else(|| "a key of 32 bytes, as 64 hexadecimal digits or in base64; `regua secrets new-key` prints one".to_owned())
}

fn from_hex(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// An IP address with a port; host names are refused, for a name could mean several addresses.
pub fn socket_addr(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| "an IP address with a port, such as 127.0.0.1:9101 or 0.0.0.0:9101".to_owned())
}

/// An IANA time zone.
pub fn zone(text: &str) -> Parsed<Tz> {
    text.parse().map_err(|_| "a time zone of the IANA list, such as America/Sao_Paulo".to_owned())
}

/// An RFC 3339 instant with its offset.
pub fn instant(text: &str) -> Parsed<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.to_utc())
        .map_err(|_| "an instant with its offset, such as 2026-11-24T10:00:00-03:00".to_owned())
}

/// An `http` or `https` address with a host.
pub fn http_url(text: &str) -> Parsed<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "an http or https address, such as http://127.0.0.1:4318".to_owned())
}

/// Directives of `tracing-subscriber`'s filter: a level, or `target=level` pairs.
///
/// A bare word that is no level is refused although the filter takes it (as a target): a misspelt level would silence everything.
pub fn log_directives(text: &str) -> Parsed<String> {
    let misspelt = |directive: &str| !directive.contains(['=', '[']) && directive.trim().parse::<LevelFilter>().is_err();
    let refused = (!text.contains('[') && text.split(',').any(misspelt)) || EnvFilter::try_new(text).is_err();
    if refused {
        return Err(
            "a log level (error, warn, info, debug, trace, off) or levels by target, such as info,dispatcher=debug".to_owned()
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    #[track_caller]
    fn check<T: Debug + PartialEq>(parse: impl Fn(&str) -> Parsed<T>, good: &[(&str, T)], bad: &[&str], expected: &str) {
        for (text, value) in good {
            assert_eq!(parse(text).as_ref(), Ok(value), "{text}");
        }
        for text in bad {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_boolean_is_one_of_eight_words() {
        let good = [
            ("true", true),
            ("TRUE", true),
            ("yes", true),
            ("on", true),
            ("1", true),
            ("false", false),
            ("No", false),
            ("0", false),
        ];
        check(boolean, &good, &["", "2", "sim", "truee"], "true or false");
    }

    #[test]
    fn numbers_keep_within_their_bounds() {
        check(whole(1..=10), &[("1", 1), ("10", 10)], &["0", "11", "-1", "1.0", "", "99999999999999999999999"], "from 1 to 10");
        let good = [("1", Duration::from_secs(1)), ("600", Duration::from_mins(10))];
        check(seconds(1..=600), &good, &["0", "601", "25s", "-1", ""], "seconds from 1 to 600");
    }

    #[test]
    fn an_address_is_numeric_and_has_a_port() {
        let good = [("127.0.0.1:0", ([127, 0, 0, 1], 0).into()), ("[::]:8080", ([0_u16; 8], 8080).into())];
        check(socket_addr, &good, &["127.0.0.1", "localhost:80", ":80", "127.0.0.1:65536", ""], "127.0.0.1:9101");
    }

    #[test]
    fn a_zone_is_a_name_of_the_iana_list() {
        check(zone, &[("America/Sao_Paulo", Tz::America__Sao_Paulo), ("UTC", Tz::UTC)], &["Brasilia", "-03:00", ""], "IANA");
    }

    #[test]
    fn an_instant_has_an_offset() {
        let expected = DateTime::from_timestamp(1_795_525_200, 0).unwrap();
        let good = [("2026-11-24T10:00:00-03:00", expected), ("2026-11-24T13:00:00Z", expected)];
        check(instant, &good, &["2026-11-24T10:00:00", "2026-11-24", "now", "2026-02-30T00:00:00Z"], "with its offset");
    }

    #[test]
    fn an_http_address_has_a_scheme_and_a_host() {
        let good = [("http://collector:4318", Url::parse("http://collector:4318/").unwrap())];
        check(http_url, &good, &["collector:4318", "grpc://collector:4317", "http://", "/v1/traces"], "http or https");
    }

    #[test]
    fn a_misspelt_log_level_is_refused() {
        let good =
            ["info", "WARN", "off", "info,dispatcher=debug", "warn,[attempt{id=1}]=trace"].map(|text| (text, text.to_owned()));
        check(log_directives, &good, &["inof", "info,debgu", "dispatcher=verbose", "a=b=c"], "a log level");
    }
}
