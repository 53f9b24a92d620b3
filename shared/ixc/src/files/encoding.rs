//! UTF-8 or Windows-1252: decided for the whole file, so that one damaged line can't turn every name after it into gibberish.

use std::borrow::Cow;

/// How the bytes of a file become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    Utf8,
    /// The encoding of Brazilian spreadsheets.
    Windows1252,
}

/// 0x80 to 0x9F of Windows-1252; the five bytes that it leaves undefined become the replacement character. All others equal Latin-1.
const HIGH_CONTROLS: [char; 32] = [
    '€', '\u{FFFD}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{FFFD}', 'Ž', '\u{FFFD}', '\u{FFFD}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{FFFD}', 'ž', 'Ÿ',
];

impl Encoding {
    /// The text of one line; `None` where it is not UTF-8 although the file is.
    pub fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Windows1252 => Some(Cow::Owned(bytes.iter().map(|byte| latin(*byte)).collect())),
        }
    }
}

fn latin(byte: u8) -> char {
    match byte {
        0x80..=0x9F => HIGH_CONTROLS[usize::from(byte - 0x80)],
        byte => char::from(byte),
    }
}

/// Counts what the lines look like.
#[derive(Clone, Copy, Debug, Default)]
pub struct EncodingVote {
    utf8_lines: u64,
    other_lines: u64,
    has_mark: bool,
}

impl EncodingVote {
    /// Looks at one line; ASCII says nothing.
    pub fn look_at(&mut self, bytes: &[u8]) {
        if bytes.is_ascii() {
            return;
        }
        if std::str::from_utf8(bytes).is_ok() {
            self.utf8_lines += 1;
        } else {
            self.other_lines += 1;
        }
    }

    /// The file began with the byte order mark of UTF-8.
    pub const fn mark(&mut self) {
        self.has_mark = true;
    }

    /// UTF-8 unless most lines with accents are not. Text of Windows-1252 is hardly ever valid UTF-8 by chance.
    pub const fn decide(self) -> Encoding {
        if self.has_mark || self.other_lines == 0 || self.utf8_lines > self.other_lines {
            Encoding::Utf8
        } else {
            Encoding::Windows1252
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&[u8]], has_mark: bool, encoding: Encoding) {
        let mut vote = EncodingVote { has_mark, ..EncodingVote::default() };
        for line in lines {
            vote.look_at(line);
        }
        assert_eq!(vote.decide(), encoding);
    }

    #[test]
    fn the_whole_file_decides_its_encoding() {
        check(&[b"ascii"], false, Encoding::Utf8);
        check(&["José".as_bytes()], false, Encoding::Utf8);
        check(&[b"Jos\xe9", b"ascii"], false, Encoding::Windows1252);
        check(&[b"Jos\xe9 cut", "José".as_bytes(), "Chapecó".as_bytes()], false, Encoding::Utf8);
        check(&["Ã©".as_bytes(), b"Jos\xe9", b"Chapec\xf3"], false, Encoding::Windows1252);
        check(&[b"Jos\xe9"], true, Encoding::Utf8);
    }

    #[test]
    fn every_byte_of_windows_1252_has_a_character() {
        let all: Vec<u8> = (0..=255).collect();
        let text = Encoding::Windows1252.decode(&all).expect("any byte is text");
        assert_eq!(text.chars().count(), 256);
        assert_eq!(Encoding::Windows1252.decode(b"\x80 Jo\xe3o \x93x\x94 \x81").expect("text"), "€ João “x” \u{FFFD}");
        assert_eq!(Encoding::Utf8.decode(b"Jos\xe9"), None);
    }
}
