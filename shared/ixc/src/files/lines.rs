//! Physical lines of bounded length.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};

/// One line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// 1-based.
    pub number: u64,
    /// Its bytes; none if it was too long.
    pub bytes: Vec<u8>,
    /// Longer than allowed: it was skipped.
    pub is_too_long: bool,
}

impl Line {
    /// Whether there is nothing but white space.
    pub fn is_blank(&self) -> bool {
        !self.is_too_long && self.bytes.trim_ascii().is_empty()
    }
}

/// Reads lines that end in LF or CR LF.
#[derive(Debug)]
pub struct LineReader<R> {
    source: BufReader<R>,
    number: u64,
    bytes_max: usize,
    again: VecDeque<Line>,
}

impl<R: Read> LineReader<R> {
    /// Reads from the source's place on.
    pub fn new(source: R, bytes_max: usize) -> Self {
        Self { source: BufReader::new(source), number: 0, bytes_max, again: VecDeque::new() }
    }

    /// The source, wherever it was left.
    pub fn into_source(self) -> R {
        self.source.into_inner()
    }

    /// Puts lines back, to be read again in this order before any other.
    pub fn put_back(&mut self, lines: impl DoubleEndedIterator<Item = Line>) {
        for line in lines.rev() {
            self.again.push_front(line);
        }
    }

    /// The next line that is not blank.
    pub fn next_filled(&mut self) -> io::Result<Option<Line>> {
        loop {
            match self.next_line()? {
                Some(line) if line.is_blank() => {}
                other => return Ok(other),
            }
        }
    }

    /// The next line; `None` at the end.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let mut line = Line { number: self.number + 1, bytes: Vec::new(), is_too_long: false };
        loop {
            let chunk = match self.source.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() && line.bytes.is_empty() && !line.is_too_long {
                return Ok(None);
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            line.is_too_long |= line.bytes.len() + part.len() > self.bytes_max;
            if line.is_too_long {
                line.bytes.clear();
            } else {
                line.bytes.extend_from_slice(part);
            }
            let is_last = chunk.is_empty() || end.is_some();
            let used = part.len() + usize::from(end.is_some());
            self.source.consume(used);
            if is_last {
                self.number += 1;
                if line.bytes.last() == Some(&b'\r') {
                    line.bytes.pop();
                }
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], bytes_max: usize) -> Vec<(u64, String, bool)> {
        let mut reader = LineReader::new(bytes, bytes_max);
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line().expect("memory is readable") {
            lines.push((line.number, String::from_utf8(line.bytes).expect("UTF-8"), line.is_too_long));
        }
        lines
    }

    fn line(number: u64, text: &str) -> (u64, String, bool) {
        (number, text.to_owned(), false)
    }

    #[test]
    fn lines_end_in_lf_or_crlf_and_the_last_may_lack_it() {
        assert_eq!(all(b"a\r\n\nb\rc\nd", 9), [line(1, "a"), line(2, ""), line(3, "b\rc"), line(4, "d")]);
        assert_eq!(all(b"a\n", 9), [line(1, "a")]);
        assert_eq!(all(b"", 9), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_alone() {
        let mut bytes = vec![b'x'; 100_000];
        bytes.extend_from_slice(b"\nok\n");
        bytes.extend(std::iter::repeat_n(b'y', 50_000));
        assert_eq!(all(&bytes, 10), [(1, String::new(), true), line(2, "ok"), (3, String::new(), true)]);
    }

    #[test]
    fn lines_that_were_put_back_come_first() {
        let mut reader = LineReader::new(b"a\nb\nc".as_slice(), 9);
        let a = reader.next_line().expect("readable").expect("a");
        let b = reader.next_line().expect("readable").expect("b");
        reader.put_back([a, b].into_iter());
        let mut texts = Vec::new();
        while let Some(line) = reader.next_line().expect("readable") {
            texts.push(line.bytes);
        }
        assert_eq!(texts, [b"a", b"b", b"c"]);
    }
}
