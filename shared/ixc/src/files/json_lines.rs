//! JSON Lines: one object per line, with the ERP's column names.

use super::encoding::Encoding;
use super::error::Unreadable;
use super::header::{FileRecord, absent_notes, as_name, ignored_note};
use super::lines::{Line, LineReader};
use super::records::Broken;
use super::{Entry, FileOptions};
use crate::columns::{Columns, ColumnsSeed};
use serde::de::DeserializeSeed;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read};

/// The most names that are told as ignored: an object may invent any number of them.
const IGNORED_NAMES_MAX: usize = 200;

/// An object's line and its columns, or why there are none.
pub type ReadObject<C> = (u64, Result<C, Unreadable>);

/// Reads objects.
pub struct JsonObjects<R> {
    lines: LineReader<R>,
    encoding: Encoding,
    /// Names told so far.
    ignored: BTreeSet<String>,
    is_first: bool,
}

impl<R: Read> JsonObjects<R> {
    /// The objects of these lines.
    pub const fn new(lines: LineReader<R>, encoding: Encoding) -> Self {
        Self { lines, encoding, ignored: BTreeSet::new(), is_first: true }
    }

    /// The next object's line and columns; what is worth knowing of it goes into `entries`.
    pub fn next_object<T: FileRecord>(
        &mut self,
        options: &FileOptions,
        entries: &mut VecDeque<Entry<T>>,
    ) -> io::Result<Option<ReadObject<T::Columns>>> {
        let Some(line) = self.lines.next_filled()? else { return Ok(None) };
        let mut new_names = Vec::new();
        let columns = self.columns::<T::Columns>(&line, options, &mut new_names);
        entries.extend(ignored_note(line.number, new_names).map(Entry::Note));
        if let Ok(columns) = &columns
            && std::mem::take(&mut self.is_first)
        {
            entries.extend(absent_notes::<T>(|name| columns.has(name)).into_iter().map(Entry::Note));
        }
        Ok(Some((line.number, columns)))
    }

    fn columns<C: Columns>(&mut self, line: &Line, options: &FileOptions, new_names: &mut Vec<String>) -> Result<C, Unreadable> {
        let broken = |broken: Broken| {
            let (found, expected) = broken.in_words(options.line_bytes_max);
            Unreadable { found, expected }
        };
        if line.is_too_long {
            return Err(broken(Broken::TooLong));
        }
        let text = self.encoding.decode(&line.bytes).ok_or_else(|| broken(Broken::NotUtf8))?;
        let mut hear = |name: &str| {
            let name = as_name(name).unwrap_or("(not a column's name)").to_owned();
            if self.ignored.len() < IGNORED_NAMES_MAX && self.ignored.insert(name.clone()) {
                new_names.push(name);
            }
        };
        let mut parser = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}'));
        ColumnsSeed::new(&mut hear).deserialize(&mut parser).and_then(|columns| parser.end().map(|()| columns)).map_err(|error| {
            // The parser's own text would repeat values.
            Unreadable {
                found: format!("no JSON object (unreadable at column {})", error.column()),
                expected: "one JSON object per line".into(),
            }
        })
    }
}
