//! Files of opt-outs: a phone on each line, or `phone;date;why`. One bad line spoils only itself, and no message repeats a number.

use chrono::{Datelike as _, NaiveDate};
use regua_domain::phone::{self, PhoneKey};
use std::fmt;

/// The largest file that is read, in bytes: a million numbers with their dates.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// What the first column is called where the first line is a header.
const HEADERS: [&str; 6] = ["phone", "telefone", "numero", "número", "celular", "whatsapp"];
/// No opt-out is older; a year of two digits is none.
const YEAR_MIN: i32 = 2000;
/// Characters of a reason that are kept.
const WHY_MAX: usize = 500;

/// One line that was understood: whom it names.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The phones; more than one where a line holds several numbers.
    pub phones: Vec<PhoneKey>,
    /// Since when, in the provider's calendar.
    pub since_on: Option<NaiveDate>,
    /// Why, if the line says so.
    pub why: Option<String>,
}

/// One line that was not.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// What is wrong and how to mend it.
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Reads a file: UTF-8 or Windows-1252, columns apart by `;` or tabs, or by `,` where neither stands in it. Blank lines, lines that begin
/// with `#` and a header are passed over.
pub fn parse(bytes: &[u8], today: NaiveDate) -> (Vec<Line>, Vec<BadLine>) {
    let text = decode(bytes);
    let separator = [';', '\t'].into_iter().find(|sign| text.contains(*sign)).unwrap_or(',');
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (place, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.splitn(3, separator).map(|cell| cell.trim().trim_matches('"').trim()).collect();
        let is_header = good.is_empty() && bad.is_empty() && HEADERS.contains(&cells[0].to_lowercase().as_str());
        if is_header || line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match read(&cells, today) {
            Ok(line) => good.push(line),
            Err(reason) => bad.push(BadLine { line: place + 1, reason }),
        }
    }
    (good, bad)
}

fn read(cells: &[&str], today: NaiveDate) -> Result<Line, String> {
    let cell = |place: usize| cells.get(place).copied().filter(|cell| !cell.is_empty());
    let since_on = cell(1).map(|text| date(text, today)).transpose()?;
    let why = cell(2).map(|why| why.chars().filter(|sign| !sign.is_control()).take(WHY_MAX).collect());
    Ok(Line { phones: phone_keys(cells[0])?, since_on, why })
}

/// Every person whom a typed field names: who opts two numbers out in one field means both. A number without its ninth digit is who it is,
/// too: opting out errs on the side of silence.
///
/// # Errors
/// Why a number can't be read, without the number.
pub fn phone_keys(typed: &str) -> Result<Vec<PhoneKey>, String> {
    typed.replace(" ou ", "/").split(['/', ';', ',']).map(phone_key).collect()
}

/// The one person whom a typed number names; also as `regua opt-out list` shows it.
///
/// # Errors
/// Why it can't be read, without the number.
pub fn listed_phone_key(typed: &str) -> Result<PhoneKey, String> {
    phone_key(typed).or_else(|reason| typed.trim().parse().map_err(|_| reason))
}

fn phone_key(typed: &str) -> Result<PhoneKey, String> {
    phone::parse(typed).map(|phone| phone.key()).or_else(|refusal| match refusal.suggestion() {
        Some(meant) => Ok(meant.key()),
        None => Err(refusal.to_string()),
    })
}

fn date(text: &str, today: NaiveDate) -> Result<NaiveDate, String> {
    let day = text.split(['T', ' ']).next().unwrap_or(text);
    let read = NaiveDate::parse_from_str(day, "%Y-%m-%d").or_else(|_| NaiveDate::parse_from_str(day, "%d/%m/%Y"));
    match read {
        Ok(date) if date > today => Err(format!("{date} is in the future: write the day on which it was asked for")),
        Ok(date) if date.year() >= YEAR_MIN => Ok(date),
        Ok(_) | Err(_) => Err("the date can't be read: write it as 2026-11-25 or 25/11/2026".into()),
    }
}

/// The text of a file without its byte order mark. What is no UTF-8 is Windows-1252, whose letters are those of Latin-1.
fn decode(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn today() -> NaiveDate {
        "2026-11-25".parse().expect("a date")
    }

    /// A line as it was understood: phones, date, reason.
    type Understood = (String, Option<String>, Option<String>);

    fn read_all(bytes: &[u8]) -> (Vec<Understood>, Vec<(usize, String)>) {
        let (good, bad) = parse(bytes, today());
        let shown = |line: Line| {
            let phones: Vec<_> = line.phones.iter().map(PhoneKey::as_str).collect();
            (phones.join(" "), line.since_on.map(|date| date.to_string()), line.why)
        };
        (good.into_iter().map(shown).collect(), bad.into_iter().map(|line| (line.line, line.reason)).collect())
    }

    fn line(phones: &str, since: Option<&str>, why: Option<&str>) -> Understood {
        (phones.to_owned(), since.map(str::to_owned), why.map(str::to_owned))
    }

    #[test]
    fn a_line_is_a_number_or_a_number_a_date_and_a_reason() {
        let plain = read_all(b"(11) 98765-4321\r\n\r\n# from the shop\n+55 21 99999-0000\n");
        assert_eq!(plain, (vec![line("1187654321", None, None), line("2199990000", None, None)], vec![]));
        let columns = "\u{FEFF}Telefone;Data;Motivo\n11987654321;25/11/2026;pediu; por e-mail\n\"21999990000\";\"2026-01-02\";\n31988887777\n";
        let expected = vec![
            line("1187654321", Some("2026-11-25"), Some("pediu; por e-mail")),
            line("2199990000", Some("2026-01-02"), None),
            line("3188887777", None, None),
        ];
        assert_eq!(read_all(columns.as_bytes()), (expected, vec![]));
        assert_eq!(
            read_all(b"11987654321,2026-01-02,\"n\xE3o quer\"").0,
            [line("1187654321", Some("2026-01-02"), Some("não quer"))]
        );
    }

    #[test]
    fn a_number_without_its_ninth_digit_and_a_second_number_are_opted_out_too() {
        assert_eq!(
            read_all(b"11 8765-4321\n11987654321 / 21999990000\n1187654321\n").0,
            [line("1187654321", None, None), line("1187654321 2199990000", None, None), line("1187654321", None, None),]
        );
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_reason_and_loses_no_other() {
        let (good, bad) = read_all(
            b"phone;date\n119;\n11987654321;31/02/2026\n21999990000;2026-11-25\n11987654321;2027-01-01\n1133334444\n;;\n",
        );
        assert_eq!(good, [line("2199990000", Some("2026-11-25"), None)]);
        let lines: Vec<_> = bad.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 5, 6, 7]);
        for (reason, says) in bad.iter().map(|(_, reason)| reason).zip([
            "digits are missing",
            "2026-11-25",
            "in the future",
            "landline",
            "no number",
        ]) {
            assert!(reason.contains(says), "{reason} does not say {says}");
            assert!(!reason.contains("98765") && !reason.contains("33334444"), "{reason}");
        }
    }
}
