//! Dates on the command line.

use chrono::NaiveDate;

/// A date as `2026-11-30`.
///
/// # Errors
/// How it is written; of a date as Brazil writes it, that very date.
pub fn date(text: &str) -> Result<NaiveDate, String> {
    text.parse().map_err(|_| match NaiveDate::parse_from_str(text, "%d/%m/%Y") {
        Ok(date) => format!("write it as {date}"),
        Err(_) => "expected a date as 2026-11-30: year, month, day".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_is_not_understood_says_how_to_write_it() {
        assert_eq!(date("2026-11-30").map(|date| date.to_string()).as_deref(), Ok("2026-11-30"));
        assert_eq!(date("30/11/2026"), Err("write it as 2026-11-30".into()));
        for wrong in ["31/11/2026", "2026-02-30", "amanhã"] {
            assert!(date(wrong).is_err_and(|why| why.contains("expected a date as 2026-11-30")), "{wrong}");
        }
    }
}
