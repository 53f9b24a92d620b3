//! Reads TOML with the place of every key and value, and records what is wrong instead of stopping at it.

use super::nearest::nearest;
use super::problem::{ConfigurationErrors, Fault, Note, PROBLEMS_MAX, Problem};
use chrono::NaiveDate;
use std::{cell::RefCell, ops::Range};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A problem was recorded; there is no value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// A value that was read, or `None` where the key is absent.
pub(super) type Field<T> = Result<Option<Located<T>>, Reported>;

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub value: T,
    pub line: usize,
    pub field: String,
    pub shown: String,
}

impl<T> Located<T> {
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), line: self.line, field: self.field, shown: self.shown }
    }

    /// The same without its value in messages: it may be a secret.
    pub fn hidden(mut self) -> Self {
        self.shown = format!("({} characters)", self.shown.chars().count());
        self
    }
}

/// What is found wrong or worth telling while one file is read.
pub(super) struct Report<'t> {
    text: &'t str,
    line_ends: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
    notes: RefCell<Vec<Note>>,
}

impl<'t> Report<'t> {
    pub fn new(text: &'t str) -> Self {
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { text, line_ends, problems: RefCell::default(), notes: RefCell::default() }
    }

    /// The document's root, or `None` after its syntax errors were recorded: a broken file is not read further, for what
    /// recovery makes of it would be reported as problems that the operator never wrote.
    pub fn parse(&self) -> Option<DeTable<'t>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let line = self.line_of(error.span().map_or(0, |span| span.start));
            self.push(line, String::new(), String::new(), Fault::Syntax(error.message().to_owned()));
        }
        errors.is_empty().then(|| root.into_inner())
    }

    pub fn refuse<T>(&self, at: &Located<T>, fault: Fault) -> Reported {
        self.push(at.line, at.field.clone(), at.shown.clone(), fault)
    }

    pub fn push(&self, line: usize, field: String, value: String, fault: Fault) -> Reported {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push(Problem { line, field, value, fault });
        }
        Reported
    }

    pub fn note<T>(&self, at: &Located<T>, text: String) {
        self.notes.borrow_mut().push(Note { line: at.line, field: at.field.clone(), text });
    }

    /// The notes, or every problem in the order of the lines.
    pub fn close(self, file: &str) -> Result<Vec<Note>, ConfigurationErrors> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            let mut notes = self.notes.into_inner();
            notes.sort_by_key(|note| note.line);
            return Ok(notes);
        }
        problems.sort_by_key(|problem| problem.line);
        Err(ConfigurationErrors { file: file.to_owned(), problems })
    }

    fn line_of(&self, offset: usize) -> usize {
        self.line_ends.partition_point(|end| *end < offset) + 1
    }

    /// What stands there, on one line and not too long.
    fn excerpt(&self, span: Range<usize>) -> String {
        let text = self.text.get(span).unwrap_or_default();
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT_MAX).collect();
        if text.chars().nth(EXCERPT_MAX).is_some() { format!("{line}…") } else { line }
    }
}

/// Characters of a value that a message repeats at most.
const EXCERPT_MAX: usize = 79;
/// Characters of any text in the file at most; the longest real one is a notice's variables.
const TEXT_MAX: usize = 500;
/// Keys under which people paste secrets; none is ever a key of ours.
const SECRET_KEYS: [&str; 6] = ["token", "senha", "password", "secret", "api_key", "authorization"];

/// One table of the file. Every getter notes the key it asks for; [`Section::finish`] refuses the others.
pub(super) struct Section<'r, 't> {
    pub report: &'r Report<'t>,
    pub path: String,
    pub line: usize,
    table: &'r DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'r, 't> Section<'r, 't> {
    pub fn root(report: &'r Report<'t>, table: &'r DeTable<'t>) -> Self {
        Self { report, path: String::new(), line: 1, table, asked: Vec::new() }
    }

    /// Refuses every key that no getter asked for.
    pub fn finish(self) {
        self.unknown_keys();
    }

    /// As [`Section::finish`], for a section that would mean something else without such a key; the last one refused.
    pub fn unknown_keys(self) -> Option<Reported> {
        let mut last = None;
        for (key, value) in self.table {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let line = self.report.line_of(key.span().start);
            let field = self.path_of(name);
            last = Some(if SECRET_KEYS.contains(&name.to_ascii_lowercase().as_str()) {
                let length = self.report.text.get(value.span()).map_or(0, |text| text.chars().count());
                self.report.push(line, field, format!("({length} characters)"), Fault::SecretInFile)
            } else {
                let nearest = nearest(name, self.asked.iter().copied());
                self.report.push(line, field, String::new(), Fault::UnknownKey { nearest, known: self.asked.clone() })
            });
        }
        last
    }

    /// The tables of `[[key]]`, in the order of the file.
    pub fn tables(&mut self, key: &'static str, expected: &'static str) -> Vec<Self> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(key, value, expected);
            return Vec::new();
        };
        let path = self.path_of(key);
        let section = |(index, value): (usize, &'r Spanned<DeValue<'t>>)| {
            let DeValue::Table(table) = value.get_ref() else {
                self.wrong_type(key, value, expected);
                return None;
            };
            let line = self.report.line_of(value.span().start);
            Some(Self { report: self.report, path: format!("{path}[{}]", index + 1), line, table, asked: Vec::new() })
        };
        array.iter().enumerate().filter_map(section).collect()
    }

    /// The table of `[key]`.
    pub fn table(&mut self, key: &'static str, expected: &'static str) -> Option<Self> {
        let value = self.get(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        let line = self.report.line_of(value.span().start);
        Some(Self { report: self.report, path: self.path_of(key), line, table, asked: Vec::new() })
    }

    /// Text without surrounding blanks: 1 to 500 characters, none a control character.
    pub fn text(&mut self, key: &'static str) -> Field<String> {
        match self.text_or_blank(key)? {
            Some(text) if text.value.is_empty() => Err(self.report.refuse(&text, Fault::UnusableText("is empty"))),
            read => Ok(read),
        }
    }

    /// As [`Section::text`], or nothing but blanks.
    pub fn text_or_blank(&mut self, key: &'static str) -> Field<String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let DeValue::String(text) = value.get_ref() else {
            return Err(self.wrong_type(key, value, "text in double quotes"));
        };
        self.usable(self.located(key, value, text.trim().to_owned())).map(Some)
    }

    /// As [`Section::text`]; absent is a problem.
    pub fn required_text(&mut self, key: &'static str, example: &'static str) -> Result<Located<String>, Reported> {
        self.text(key)?.ok_or_else(|| self.missing(key, example))
    }

    /// Text, or a whole number as its text: what a field of a schedule is.
    pub fn text_or_number(&mut self, key: &'static str) -> Field<String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        self.text_or_number_at(key, value).map(Some)
    }

    fn text_or_number_at(&self, place: &str, value: &Spanned<DeValue<'t>>) -> Result<Located<String>, Reported> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.trim().to_owned(),
            DeValue::Integer(number) => number.to_string(),
            _ => return Err(self.wrong_type(place, value, "text in double quotes, or a number")),
        };
        self.usable(self.located(place, value, text))
    }

    /// A list of texts (or numbers, as their text), or one of them alone; nothing where the key is absent.
    pub fn texts(&mut self, key: &'static str, max: usize) -> Result<Vec<Located<String>>, Reported> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let texts = match value.get_ref() {
            DeValue::Array(array) => {
                let at = |(index, value)| self.text_or_number_at(&format!("{key}[{}]", index + 1), value);
                array.iter().enumerate().map(at).collect::<Result<Vec<_>, _>>()?
            }
            _ => vec![self.text_or_number_at(key, value)?],
        };
        if let Some(empty) = texts.iter().find(|text| text.value.is_empty()) {
            return Err(self.report.refuse(empty, Fault::UnusableText("is empty")));
        }
        match texts.get(max) {
            Some(one_too_many) => Err(self.report.refuse(one_too_many, Fault::TooManyValues { limit: max })),
            None => Ok(texts),
        }
    }

    /// A date: `2026-11-30`, with or without quotes.
    pub fn date(&mut self, key: &'static str) -> Field<NaiveDate> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = match value.get_ref() {
            DeValue::String(text) => text.trim().to_owned(),
            DeValue::Datetime(date) => date.to_string(),
            _ => return Err(self.wrong_type(key, value, "a date like 2026-11-30")),
        };
        let located = self.located(key, value, ());
        match text.parse() {
            Ok(date) => Ok(Some(located.map(|()| date))),
            Err(_) => Err(self.report.refuse(&located, Fault::NotADate)),
        }
    }

    pub fn flag(&mut self, key: &'static str) -> Field<bool> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(Some(self.located(key, value, *flag))),
            _ => Err(self.wrong_type(key, value, "true or false")),
        }
    }

    /// A whole number from `min` to `max`; `or` names what else the caller accepts under the key.
    pub fn number(&mut self, key: &'static str, min: i64, max: i64, or: Option<&'static str>) -> Field<i64> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.wrong_type(key, value, "a whole number, without quotes"));
        };
        let number = i64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| (min..=max).contains(number));
        let located = self.located(key, value, number);
        match number {
            Some(number) => Ok(Some(located.map(|_| number))),
            None => Err(self.report.refuse(&located, Fault::OutOfBounds { min, max, or })),
        }
    }

    /// As [`Section::number`], as the small type that the field has.
    pub fn whole<T: Copy + Into<i64> + TryFrom<i64>>(&mut self, key: &'static str, min: T, max: T) -> Field<T> {
        let number = self.number(key, min.into(), max.into(), None)?;
        Ok(number.map(|number| number.map(|value| T::try_from(value).unwrap_or(max))))
    }

    /// A limit: a number from 1 to `max`, or `None` for `"unlimited"` and, where `zero` says so, for 0.
    pub fn limit(&mut self, key: &'static str, max: i64, zero: bool) -> Field<Option<i64>> {
        let unlimited = self.table.get(key).filter(|value| value.get_ref().as_str() == Some("unlimited"));
        if let Some(value) = unlimited {
            self.asked.push(key);
            return Ok(Some(self.located(key, value, None)));
        }
        let number = self.number(key, i64::from(!zero), max, Some("\"unlimited\""))?;
        Ok(number.map(|number| number.map(|number| (number > 0).then_some(number))))
    }

    /// One word of a closed list.
    pub fn choice<T: Copy>(&mut self, key: &'static str, allowed: &[(&'static str, T)]) -> Field<T> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some((_, choice)) = allowed.iter().find(|(word, _)| *word == text.value) {
            return Ok(Some(text.map(|_| *choice)));
        }
        let words = || allowed.iter().map(|(word, _)| *word);
        let fault = Fault::NotInList { nearest: nearest(&text.value, words()), allowed: words().map(str::to_owned).collect() };
        Err(self.report.refuse(&text, fault))
    }

    /// Those of the keys that are given, without their values.
    pub fn given(&mut self, keys: &[&'static str]) -> Vec<Located<()>> {
        let present = |key: &&'static str| self.get(key).map(|value| self.located(key, value, ()).hidden());
        keys.iter().filter_map(present).collect()
    }

    /// Records that a key is missing.
    pub fn missing(&self, key: &str, example: &'static str) -> Reported {
        self.report.push(self.line, self.path_of(key), String::new(), Fault::Missing { example })
    }

    /// A value of ours at the section's header, for what the file leaves out.
    pub fn implied<T>(&self, key: &str, value: T) -> Located<T> {
        Located { value, line: self.line, field: self.path_of(key), shown: String::new() }
    }

    fn get(&mut self, key: &'static str) -> Option<&'r Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn usable(&self, text: Located<String>) -> Result<Located<String>, Reported> {
        let why = if text.value.chars().any(char::is_control) {
            "has control characters or line breaks"
        } else if text.value.chars().nth(TEXT_MAX).is_some() {
            "is too long"
        } else {
            return Ok(text);
        };
        Err(self.report.refuse(&text, Fault::UnusableText(why)))
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'t>>, expected: &'static str) -> Reported {
        let found = match value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        self.report.refuse(&self.located(key, value, ()), Fault::WrongType { found, expected })
    }

    fn located<T>(&self, key: &str, at: &Spanned<DeValue<'t>>, value: T) -> Located<T> {
        let line = self.report.line_of(at.span().start);
        let located = Located { value, line, field: self.path_of(key), shown: self.report.excerpt(at.span()) };
        if key == "token_env" || key == "token_secret" { located.hidden() } else { located }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
