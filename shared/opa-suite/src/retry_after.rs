//! How long an answer asks to wait.

use chrono::{DateTime, NaiveDateTime, Utc};
use http::{HeaderMap, header};
use std::time::Duration;

/// The longest wait that is taken from an answer: what asks for more is asked again after it.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// The wait that `Retry-After` asks for, as seconds or as an HTTP date (RFC 9110 §10.2.3), at most [`RETRY_AFTER_MAX`].
///
/// A date counts from the answer's own `Date`, which whoever names one must send (RFC 9110 §6.6.1): so no host's wrong clock matters, and
/// without that a date says nothing. A date that has passed is no wait. `None` if the header is absent or can't be understood.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = text(headers, header::RETRY_AFTER)?;
    let wait = if let Some(seconds) = seconds(asked) {
        Duration::from_secs(seconds)
    } else {
        let from = text(headers, header::DATE).and_then(http_date)?;
        http_date(asked)?.signed_duration_since(from).to_std().unwrap_or(Duration::ZERO)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Digits only; more than fit are as many as fit.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The three forms of an HTTP date (RFC 9110 §5.6.7). The weekday is redundant and not believed.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let without_weekday = match text.split_once(',') {
        Some((_, rest)) => rest.trim(),
        None => text.split_once(' ')?.1.trim(),
    };
    ["%d %b %Y %H:%M:%S GMT", "%d-%b-%y %H:%M:%S GMT", "%b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(without_weekday, form).ok())
        .map(|instant| instant.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const DATE: &str = "Mon, 23 Nov 2026 12:00:00 GMT";

    #[track_caller]
    fn check(value: &str, date: Option<&str>, expected: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_str(value).expect("a header value"));
        if let Some(date) = date {
            headers.insert(header::DATE, HeaderValue::from_str(date).expect("a header value"));
        }
        assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{value} with date {date:?}");
    }

    #[test]
    fn seconds_are_exact_and_bounded() {
        check("7", None, Some(7));
        check(" 7 ", None, Some(7));
        check("0", None, Some(0));
        check("3600", None, Some(3600));
        check("3601", None, Some(3600));
        check("999999999999999999999999999999", None, Some(3600));
    }

    #[test]
    fn the_three_date_forms_count_from_the_answers_own_date() {
        check("Mon, 23 Nov 2026 12:00:09 GMT", Some(DATE), Some(9));
        check("Monday, 23-Nov-26 12:00:09 GMT", Some(DATE), Some(9));
        check("Mon Nov 23 12:00:09 2026", Some(DATE), Some(9));
        check("Mon, 23 Nov 2026 12:00:09 GMT", Some("Mon, 23 Nov 2026 12:00:04 GMT"), Some(5));
        check("Sun, 22 Nov 2026 12:00:00 GMT", Some(DATE), Some(0));
        check("Fri, 31 Dec 9999 23:59:59 GMT", Some(DATE), Some(3600));
    }

    /// This host's clock may be wrong by hours, and the channel would wait for as long, or not at all.
    #[test]
    fn a_date_without_a_date_to_count_from_says_nothing() {
        check("Mon, 23 Nov 2026 12:00:09 GMT", None, None);
        check("Mon, 23 Nov 2026 12:00:09 GMT", Some("yesterday"), None);
    }

    #[test]
    fn what_can_not_be_understood_is_no_wait_of_its_own() {
        for value in ["", "soon", "-5", "1.5", "7 s", "Mon, 99 Nov 2026 12:00:00 GMT", "Mon, 23 Nov 262144 12:00:00 GMT", ","] {
            check(value, Some(DATE), None);
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn no_header_panics_or_passes_the_bound(value: Vec<u8>, date: Vec<u8>) {
            let mut headers = HeaderMap::new();
            for (name, bytes) in [(header::RETRY_AFTER, value), (header::DATE, date)] {
                if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                    headers.insert(name, value);
                }
            }
            prop_assert!(retry_after(&headers).unwrap_or_default() <= RETRY_AFTER_MAX);
        }

        #[test]
        fn no_date_panics_or_passes_the_bound(year in 0..20_000u32, month in "Jan|Feb|Dec", day in 0..40u32, hour in 0..30u32) {
            let mut headers = HeaderMap::new();
            let value = format!("Mon, {day:02} {month} {year:04} {hour:02}:00:00 GMT");
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(&value).expect("a header value"));
            headers.insert(header::DATE, HeaderValue::from_static(DATE));
            prop_assert!(retry_after(&headers).unwrap_or_default() <= RETRY_AFTER_MAX);
        }
    }
}
