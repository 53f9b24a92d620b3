//! The records of one file, in its order.

use super::FileOptions;
use super::encoding::{Encoding, EncodingVote};
use super::error::{FileError, LineProblem, Note, Unreadable};
use super::header::{FileRecord, Header};
use super::json_lines::JsonObjects;
use super::lines::LineReader;
use super::records::{Broken, DelimitedRecord, DelimitedRecords, delimiter_of};
use crate::columns::Columns;
use crate::value::Origin;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Seek};
use std::sync::Arc;

/// One thing that a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<T> {
    /// A record and its first line.
    Row {
        /// 1-based.
        line: u64,
        /// The record.
        row: T,
    },
    /// A line that can't be read; the others are not touched by it.
    Bad(LineProblem),
    /// Something worth knowing.
    Note(Note),
}

/// A bounded number of entries, sorted by kind.
#[derive(Clone, Debug, Default)]
pub struct Batch<T> {
    /// Records, each id once: a later line replaced an earlier one.
    pub rows: Vec<T>,
    /// Lines that can't be read.
    pub problems: Vec<LineProblem>,
    /// Things worth knowing.
    pub notes: Vec<Note>,
}

/// Reads a file record by record, in the order of its lines. Whoever applies them in that order lets the later line of an id win.
///
/// Iteration ends after a [`FileError`]: what came before it is then not the whole file.
pub struct Parsed<T: FileRecord, R> {
    file: Arc<str>,
    options: FileOptions,
    source: Source<R>,
    ready: VecDeque<Entry<T>>,
    /// Hashes of ids. Two ids that share one cost a needless note, never a record.
    seen: HashSet<u64>,
    rows: u64,
    is_over: bool,
}

enum Source<R> {
    Delimited { records: Box<DelimitedRecords<R>>, header: Header },
    JsonLines(JsonObjects<R>),
}

impl<T: FileRecord, R: Read + Seek> Parsed<T, R> {
    /// Learns the encoding and reads the header.
    pub(super) fn open(mut bytes: R, options: &FileOptions) -> Result<Self, FileError> {
        let file: Arc<str> = options.name.as_str().into();
        let io = |source| FileError::Io { file: file.clone(), source };
        let mut survey = LineReader::new(bytes, options.line_bytes_max);
        let encoding = encoding_of(&mut survey, &file)?;
        bytes = survey.into_source();
        bytes.rewind().map_err(io)?;

        let mut lines = LineReader::new(bytes, options.line_bytes_max);
        let first = lines.next_filled().map_err(io)?.ok_or_else(|| FileError::Empty { file: file.clone() })?;
        let text = encoding.decode(&first.bytes).unwrap_or_default().trim_start_matches('\u{feff}').trim_start().to_owned();
        lines.put_back(std::iter::once(first));
        let (source, notes) = match text.as_bytes().first() {
            Some(b'{') => (Source::JsonLines(JsonObjects::new(lines, encoding)), Vec::new()),
            Some(b'[') => return Err(FileError::JsonArray { file }),
            _ => {
                let mut records = DelimitedRecords::new(lines, encoding, delimiter_of(&text), options.line_bytes_max);
                let (header, notes) = read_header::<T, R>(&file, &mut records, options)?;
                (Source::Delimited { records: Box::new(records), header }, notes)
            }
        };
        let ready = notes.into_iter().map(Entry::Note).collect();
        Ok(Self { file, options: options.clone(), source, ready, seen: HashSet::new(), rows: 0, is_over: false })
    }

    /// The next entries, at most `entries_max` (at least one); `None` at the end of the file.
    ///
    /// # Errors
    /// [`FileError`] when the file can't be read to its end; the entries of this batch before it are lost.
    pub fn next_batch(&mut self, entries_max: usize) -> Result<Option<Batch<T>>, FileError> {
        let mut batch = Batch { rows: Vec::new(), problems: Vec::new(), notes: Vec::new() };
        let mut places: HashMap<String, usize> = HashMap::new();
        for _ in 0..entries_max.max(1) {
            match self.next().transpose()? {
                None => break,
                Some(Entry::Bad(problem)) => batch.problems.push(problem),
                Some(Entry::Note(note)) => batch.notes.push(note),
                Some(Entry::Row { row, .. }) => {
                    if let Some(place) = places.get(row.key()) {
                        batch.rows[*place] = row;
                    } else {
                        places.insert(row.key().to_owned(), batch.rows.len());
                        batch.rows.push(row);
                    }
                }
            }
        }
        let is_empty = batch.rows.is_empty() && batch.problems.is_empty() && batch.notes.is_empty();
        Ok(if is_empty { None } else { Some(batch) })
    }

    /// Reads one record into `ready`; false at the end.
    fn read_record(&mut self) -> Result<bool, FileError> {
        let io = |source| FileError::Io { file: self.file.clone(), source };
        let read = match &mut self.source {
            Source::Delimited { records, header } => {
                records.next_record().map_err(io)?.map(|record| (record.line, delimited_columns(record, header, &self.options)))
            }
            Source::JsonLines(objects) => objects.next_object(&self.options, &mut self.ready).map_err(io)?,
        };
        let Some((line, columns)) = read else { return Ok(false) };
        self.rows += 1;
        if self.rows > self.options.rows_max {
            return Err(FileError::TooManyRows { file: self.file.clone(), rows_max: self.options.rows_max });
        }
        let file = self.file.clone();
        let row = match columns {
            Ok(columns) => T::from_columns(&columns, Origin::File).map_err(|problem| LineProblem::of_field(file, line, problem)),
            Err(Unreadable { found, expected }) => Err(LineProblem { file, line, field: None, found, expected }),
        };
        match row {
            Ok(row) => {
                if !self.seen.insert(hash(row.key())) {
                    self.ready.push_back(Entry::Note(Note::DuplicateId { line, id: row.key().to_owned() }));
                }
                self.ready.push_back(Entry::Row { line, row });
            }
            Err(problem) => self.ready.push_back(Entry::Bad(problem)),
        }
        Ok(true)
    }
}

impl<T: FileRecord, R: Read + Seek> Iterator for Parsed<T, R> {
    type Item = Result<Entry<T>, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            if self.is_over {
                return None;
            }
            match self.read_record() {
                Ok(true) => {}
                Ok(false) => self.is_over = true,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Reads the file once for its encoding.
fn encoding_of<R: Read>(lines: &mut LineReader<R>, file: &Arc<str>) -> Result<Encoding, FileError> {
    let mut vote = EncodingVote::default();
    while let Some(line) = lines.next_line().map_err(|source| FileError::Io { file: file.clone(), source })? {
        if line.number == 1 {
            let is_utf16 = line.bytes.starts_with(b"\xff\xfe") || line.bytes.starts_with(b"\xfe\xff");
            if is_utf16 || line.bytes.contains(&0) {
                return Err(FileError::NotText { file: file.clone() });
            }
            if line.bytes.starts_with(b"\xef\xbb\xbf") {
                vote.mark();
            }
        }
        vote.look_at(&line.bytes);
    }
    Ok(vote.decide())
}

fn read_header<T: FileRecord, R: Read>(
    file: &Arc<str>,
    records: &mut DelimitedRecords<R>,
    options: &FileOptions,
) -> Result<(Header, Vec<Note>), FileError> {
    let first = records.next_record().map_err(|source| FileError::Io { file: file.clone(), source })?;
    let DelimitedRecord { line, fields } = first.ok_or_else(|| FileError::Empty { file: file.clone() })?;
    match fields {
        Ok(fields) => Header::read::<T>(file, line, &fields),
        Err(broken) => {
            let Unreadable { found, expected } = unreadable(broken, options);
            Err(FileError::BrokenHeader { file: file.clone(), line, found, expected: expected.into_owned() })
        }
    }
}

fn delimited_columns<C: Columns>(record: DelimitedRecord, header: &Header, options: &FileOptions) -> Result<C, Unreadable> {
    let fields = record.fields.map_err(|broken| unreadable(broken, options))?;
    let surplus_is_empty = fields.iter().skip(header.len()).all(|field| field.trim().is_empty());
    if fields.len() < header.len() || !surplus_is_empty {
        let (found, expected) = (format!("{} fields", fields.len()), format!("{}, as in the header", header.len()));
        return Err(Unreadable { found, expected: expected.into() });
    }
    Ok(header.columns(&fields))
}

fn unreadable(broken: Broken, options: &FileOptions) -> Unreadable {
    let (found, expected) = broken.in_words(options.line_bytes_max);
    Unreadable { found, expected }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
