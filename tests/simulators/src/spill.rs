//! The log of what was accepted: JSON Lines in a temporary file, a bounded buffer in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Lines, Read, Take, Write};
use std::marker::PhantomData;
use std::sync::Mutex;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use crate::mix::locked;

/// What the log keeps in memory at most, apart from one entry: entries wait here until this many bytes are worth a write.
pub const SPILL_BUFFER_BYTES: usize = 64 * 1024;

/// An append-only log of `T`. The file is removed with the log.
#[derive(Debug)]
pub(crate) struct SpillLog<T> {
    file: NamedTempFile,
    writer: Mutex<Writer>,
    entry: PhantomData<fn(T)>,
}

#[derive(Debug)]
struct Writer {
    buffer: Vec<u8>,
    spilled_bytes: u64,
}

impl<T: Serialize + DeserializeOwned> SpillLog<T> {
    pub fn create() -> io::Result<Self> {
        let file = NamedTempFile::with_prefix("regua-simulator-")?;
        let writer = Mutex::new(Writer { buffer: Vec::with_capacity(SPILL_BUFFER_BYTES), spilled_bytes: 0 });
        Ok(Self { file, writer, entry: PhantomData })
    }

    /// Appends one entry; readers opened later see it.
    pub fn append(&self, entry: &T) -> io::Result<()> {
        let mut writer = locked(&self.writer);
        serde_json::to_writer(&mut writer.buffer, entry)?;
        writer.buffer.push(b'\n');
        if writer.buffer.len() >= SPILL_BUFFER_BYTES { self.spill(&mut writer) } else { Ok(()) }
    }

    /// The bytes this log holds in memory: never more than twice [`SPILL_BUFFER_BYTES`] after an append.
    #[cfg(test)]
    pub fn resident_bytes(&self) -> usize {
        locked(&self.writer).buffer.capacity()
    }

    /// Every entry appended so far, oldest first, as lines to stream.
    pub fn bytes(&self) -> io::Result<LogBytes> {
        let mut writer = locked(&self.writer);
        self.spill(&mut writer)?;
        Ok(LogBytes { file: self.file.reopen()?.take(writer.spilled_bytes) })
    }

    /// Every entry appended so far, oldest first.
    pub fn read(&self) -> io::Result<LogReader<T>> {
        Ok(LogReader { lines: BufReader::new(self.bytes()?.file).lines(), entry: PhantomData })
    }

    fn spill(&self, writer: &mut Writer) -> io::Result<()> {
        self.file.as_file().write_all(&writer.buffer)?;
        writer.spilled_bytes += u64::try_from(writer.buffer.len()).expect("lengths fit 64 bits");
        writer.buffer.clear();
        writer.buffer.shrink_to(SPILL_BUFFER_BYTES);
        Ok(())
    }
}

/// The log's bytes from its beginning to where it ended when this was opened.
#[derive(Debug)]
pub(crate) struct LogBytes {
    file: Take<File>,
}

impl LogBytes {
    /// The next piece, at most [`SPILL_BUFFER_BYTES`] long; `None` at the end.
    pub fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = vec![0; SPILL_BUFFER_BYTES];
        let length = self.file.read(&mut piece)?;
        piece.truncate(length);
        Ok((length > 0).then(|| Bytes::from(piece)))
    }
}

/// Reads a simulator's log, oldest entry first, one line in memory at a time.
#[derive(Debug)]
pub struct LogReader<T> {
    lines: Lines<BufReader<Take<File>>>,
    entry: PhantomData<fn() -> T>,
}

impl<T> LogReader<T> {
    /// The raw lines, for readers that can tell from the text which of them matter.
    pub(crate) fn into_lines(self) -> Lines<BufReader<Take<File>>> {
        self.lines
    }
}

impl<T: DeserializeOwned> Iterator for LogReader<T> {
    type Item = io::Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        Some(line.and_then(|line| serde_json::from_str(&line).map_err(io::Error::from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_stays_on_disk_and_reads_back_whole() -> io::Result<()> {
        let log = SpillLog::<u64>::create()?;
        for entry in 0..200_000 {
            log.append(&entry)?;
            assert!(log.resident_bytes() <= 2 * SPILL_BUFFER_BYTES, "at entry {entry}");
        }
        let mut expected = 0;
        for entry in log.read()? {
            assert_eq!(entry?, expected);
            expected += 1;
        }
        assert_eq!(expected, 200_000);
        Ok(())
    }

    #[test]
    fn one_huge_entry_does_not_leave_a_huge_buffer() -> io::Result<()> {
        let log = SpillLog::<String>::create()?;
        log.append(&"x".repeat(20 * SPILL_BUFFER_BYTES))?;
        assert!(log.resident_bytes() <= 2 * SPILL_BUFFER_BYTES);
        Ok(())
    }

    #[test]
    fn a_reader_ends_where_the_log_ended_when_it_was_opened() -> io::Result<()> {
        let log = SpillLog::<u64>::create()?;
        log.append(&1)?;
        let reader = log.read()?;
        log.append(&2)?;
        assert_eq!(log.read()?.count(), 2);
        assert_eq!(reader.count(), 1);
        Ok(())
    }
}
