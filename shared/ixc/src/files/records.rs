//! Delimited records: quotes as in RFC 4180, a record may span lines inside quotes.

use super::encoding::Encoding;
use super::lines::{Line, LineReader};
use csv_core::ReadRecordResult;
use std::io::{self, Read};

/// The most lines of one record: a quote that is never closed must not swallow the rest of the file.
pub const RECORD_LINES_MAX: usize = 64;

/// The most fields of one record.
pub const FIELDS_MAX: usize = 1024;

/// One record, or what is wrong with it as a whole.
#[derive(Debug, PartialEq, Eq)]
pub struct DelimitedRecord {
    /// Its first line.
    pub line: u64,
    /// Its fields.
    pub fields: Result<Fields, Broken>,
}

/// Why a record can't be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Longer than allowed.
    TooLong,
    /// Bytes that are not UTF-8 in a file that is.
    NotUtf8,
    /// A quote is not closed in time.
    OpenQuote,
    /// More than [`FIELDS_MAX`] fields.
    TooManyFields,
}

/// The fields of one record.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields {
    text: String,
    ends: Vec<usize>,
}

impl Fields {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }
}

/// Reads records; the lines behind a broken one are read again as records of their own.
pub struct DelimitedRecords<R> {
    lines: LineReader<R>,
    encoding: Encoding,
    parser: csv_core::Reader,
    bytes_max: usize,
}

impl<R: Read> DelimitedRecords<R> {
    /// Records of this delimiter.
    pub fn new(lines: LineReader<R>, encoding: Encoding, delimiter: u8, bytes_max: usize) -> Self {
        let parser = csv_core::ReaderBuilder::new().delimiter(delimiter).terminator(csv_core::Terminator::Any(b'\n')).build();
        Self { lines, encoding, parser, bytes_max }
    }

    /// The next record; blank lines are none.
    pub fn next_record(&mut self) -> io::Result<Option<DelimitedRecord>> {
        let Some(first) = self.lines.next_filled()? else { return Ok(None) };
        let number = first.number;
        let mut held = vec![first];
        let fields = self.assemble(&mut held)?;
        if fields.is_err() {
            self.lines.put_back(held.into_iter().skip(1));
        }
        Ok(Some(DelimitedRecord { line: number, fields }))
    }

    /// Feeds lines to the parser until a record is whole; `held` collects them.
    fn assemble(&mut self, held: &mut Vec<Line>) -> io::Result<Result<Fields, Broken>> {
        self.parser.reset();
        let mut partial = Partial::default();
        let mut bytes = 0;
        loop {
            let line = &held[held.len() - 1];
            bytes += line.bytes.len() + 1;
            if line.is_too_long || bytes > self.bytes_max.saturating_add(1) {
                return Ok(Err(if held.len() == 1 { Broken::TooLong } else { Broken::OpenQuote }));
            }
            let Some(text) = self.encoding.decode(&line.bytes) else { return Ok(Err(Broken::NotUtf8)) };
            let text = if line.number == 1 { text.trim_start_matches('\u{feff}') } else { &text };
            match partial.feed(&mut self.parser, &format!("{text}\n")) {
                Fed::Whole => return Ok(Ok(partial.into_fields())),
                Fed::TooManyFields => return Ok(Err(Broken::TooManyFields)),
                Fed::NeedsMore if held.len() == RECORD_LINES_MAX => return Ok(Err(Broken::OpenQuote)),
                Fed::NeedsMore => {}
            }
            match self.lines.next_line()? {
                Some(line) => held.push(line),
                None => return Ok(Err(Broken::OpenQuote)),
            }
        }
    }
}

enum Fed {
    NeedsMore,
    Whole,
    TooManyFields,
}

/// A record while it grows. Its text never exceeds what was fed.
#[derive(Default)]
struct Partial {
    out: Vec<u8>,
    out_len: usize,
    ends: Vec<usize>,
    ends_len: usize,
}

impl Partial {
    fn feed(&mut self, parser: &mut csv_core::Reader, text: &str) -> Fed {
        let mut input = text.as_bytes();
        self.out.resize(self.out_len + input.len(), 0);
        loop {
            self.ends.resize(self.ends_len + 32, 0);
            let (result, read, written, ended) =
                parser.read_record(input, &mut self.out[self.out_len..], &mut self.ends[self.ends_len..]);
            input = &input[read..];
            self.out_len += written;
            self.ends_len += ended;
            if self.ends_len > FIELDS_MAX {
                return Fed::TooManyFields;
            }
            match result {
                ReadRecordResult::InputEmpty => return Fed::NeedsMore,
                ReadRecordResult::Record | ReadRecordResult::End => return Fed::Whole,
                ReadRecordResult::OutputFull => self.out.resize(self.out.len() + input.len() + 1, 0),
                ReadRecordResult::OutputEndsFull => {}
            }
        }
    }

    fn into_fields(mut self) -> Fields {
        self.out.truncate(self.out_len);
        self.ends.truncate(self.ends_len);
        let text = String::from_utf8(self.out).expect("fields of UTF-8 split at ASCII are UTF-8");
        Fields { text, ends: self.ends }
    }
}

/// `;` or `,`: the one that the header has more often outside quotes.
pub fn delimiter_of(header: &str) -> u8 {
    let mut is_quoted = false;
    let (mut semicolons, mut commas) = (0, 0);
    for byte in header.bytes() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b';' if !is_quoted => semicolons += 1,
            b',' if !is_quoted => commas += 1,
            _ => {}
        }
    }
    if commas > semicolons { b',' } else { b';' }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
