//! Records of delimited files.

use super::*;
use proptest::prelude::*;

fn records(text: &[u8], bytes_max: usize) -> Vec<(u64, Result<Vec<String>, Broken>)> {
    let mut reader = DelimitedRecords::new(LineReader::new(text, bytes_max), Encoding::Utf8, b';', bytes_max);
    let mut all = Vec::new();
    while let Some(record) = reader.next_record().expect("memory is readable") {
        all.push((record.line, record.fields.map(|fields| fields.iter().map(str::to_owned).collect())));
    }
    all
}

fn fields(line: u64, texts: &[&str]) -> (u64, Result<Vec<String>, Broken>) {
    (line, Ok(texts.iter().map(|text| (*text).to_owned()).collect()))
}

#[test]
fn fields_may_be_quoted_and_span_lines() {
    let text = "\u{feff}a;b\r\n1;\"x;\"\"y\"\"\nz\"\n\n2;José\n;\n";
    let wanted = [fields(1, &["a", "b"]), fields(2, &["1", "x;\"y\"\nz"]), fields(5, &["2", "José"]), fields(6, &["", ""])];
    assert_eq!(records(text.as_bytes(), 100), wanted);
}

#[test]
fn a_quote_inside_an_unquoted_field_is_text() {
    assert_eq!(records(b"Bar 12\" Ltda;1\nb;2", 100), [fields(1, &["Bar 12\" Ltda", "1"]), fields(2, &["b", "2"])]);
}

#[test]
fn a_quote_that_is_never_closed_spoils_only_its_own_line() {
    let lines: Vec<String> = (0..200).map(|number| format!("{number};ok")).collect();
    let text = format!("\"open;1\n{}", lines.join("\n"));
    let all = records(text.as_bytes(), 10_000);
    assert_eq!(all.len(), 201);
    assert_eq!(all[0], (1, Err(Broken::OpenQuote)));
    assert!(all[1..].iter().zip(2..).all(|((line, record), number)| *line == number && record.is_ok()));
    assert_eq!(records(b"a;1\n\"b;2", 100), [fields(1, &["a", "1"]), (2, Err(Broken::OpenQuote))]);
}

#[test]
fn a_record_that_is_too_long_spoils_only_itself() {
    let text = format!("{};1\nb;2\n\"{}\n{}\";3\nc;4", "x".repeat(60), "y".repeat(30), "z".repeat(30));
    let all = records(text.as_bytes(), 40);
    assert_eq!(all[0], (1, Err(Broken::TooLong)));
    assert_eq!(all[1], fields(2, &["b", "2"]));
    assert_eq!(all[2], (3, Err(Broken::OpenQuote)));
    assert_eq!(all.last(), Some(&fields(5, &["c", "4"])));
}

#[test]
fn bytes_that_are_not_utf8_spoil_only_their_line() {
    assert_eq!(records(b"a;1\nJos\xe9;2\nb;3", 100), [fields(1, &["a", "1"]), (2, Err(Broken::NotUtf8)), fields(3, &["b", "3"])]);
}

#[test]
fn the_number_of_fields_is_bounded() {
    assert_eq!(records(";".repeat(FIELDS_MAX).as_bytes(), 10_000), [(1, Err(Broken::TooManyFields))]);
    assert_eq!(records(";".repeat(FIELDS_MAX - 1).as_bytes(), 10_000)[0].1.as_ref().map(Vec::len), Ok(FIELDS_MAX));
}

#[test]
fn the_delimiter_is_what_the_header_has_more_often_outside_quotes() {
    assert_eq!(delimiter_of("id;razao;uf"), b';');
    assert_eq!(delimiter_of("id,razao,uf"), b',');
    assert_eq!(delimiter_of("\"a,b,c\";uf"), b';');
    assert_eq!(delimiter_of("id"), b';');
}

proptest! {
    #[test]
    fn arbitrary_bytes_end_and_never_panic(text in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\n'), Just(b';'), any::<u8>()], 0..300)) {
        let lines = text.split(|byte| *byte == b'\n').count();
        prop_assert!(records(&text, 50).len() <= lines);
    }

    #[test]
    fn quoted_fields_round_trip(rows in proptest::collection::vec(proptest::collection::vec("[a-z\";, é]{1,9}", 2..5), 1..9)) {
        let quoted = |row: &Vec<String>| row.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect::<Vec<_>>().join(";");
        let text = rows.iter().map(quoted).collect::<Vec<_>>().join("\r\n");
        let read: Vec<Vec<String>> = records(text.as_bytes(), 1000).into_iter().map(|(_, record)| record.expect("a record")).collect();
        prop_assert_eq!(read, rows);
    }
}
