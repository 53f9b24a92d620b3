//! Configuration from the environment: typed values, secrets by value or by file, and every problem found told at once.

use crate::parse::Parsed;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A secret's file may hold at most this much.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// A value is shown in a problem up to this many characters.
const SHOWN_CHARS_MAX: usize = 100;

/// The variables that a service reads: its process's, or its own over them, so that one process can run several services with different values.
///
/// An empty value counts as none, as compose files write `${NAME:-}`. Its `Debug` shows no value.
#[derive(Clone, Default)]
pub struct Environment {
    overlay: BTreeMap<String, String>,
    process: bool,
}

impl Environment {
    /// The process's variables.
    pub fn process() -> Self {
        Self { overlay: BTreeMap::new(), process: true }
    }

    /// These variables over the process's; an empty value hides the process's.
    pub fn with<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self { process: true, ..Self::only(pairs) }
    }

    /// These variables and no others.
    pub fn only<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self { overlay: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(), process: false }
    }

    /// The value of a variable, `None` if it is unset or empty. Bytes that are not UTF-8 become U+FFFD, which no typed value contains.
    pub fn get(&self, name: &str) -> Option<String> {
        let inherited =
            || self.process.then(|| std::env::var_os(name)).flatten().map(|value| value.to_string_lossy().into_owned());
        self.overlay.get(name).cloned().or_else(inherited).filter(|value| !value.is_empty())
    }

    /// The names of the set variables that begin so, in order.
    pub fn names(&self, prefix: &str) -> BTreeSet<String> {
        let process = self.process.then(std::env::vars_os).into_iter().flatten();
        let inherited = process.map(|(name, _)| name.to_string_lossy().into_owned());
        let names = self.overlay.keys().cloned().chain(inherited);
        names.filter(|name| name.starts_with(prefix) && self.get(name).is_some()).collect()
    }

    /// The secret in the variable `name`, or in the file that `name_FILE` names; `None` if neither is set.
    ///
    /// # Errors
    /// Both are set, or the file can't be read, is empty or larger than 64 KiB.
    pub fn secret(&self, name: &str) -> Result<Option<SecretString>, Problem> {
        let file_name = format!("{name}_FILE");
        match (self.get(name), self.get(&file_name)) {
            (Some(_), Some(_)) => Err(Problem::BothSet { name: name.to_owned() }),
            (Some(value), None) => Ok(Some(value.into())),
            (None, Some(path)) => secret_file(Path::new(&path), &file_name).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Starts to read a set of values.
    pub fn reader(&self) -> Reader<'_> {
        Reader { environment: self, problems: Vec::new() }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("overlay", &self.overlay.keys()).field("process", &self.process).finish()
    }
}

/// The secret in a file, without its trailing newline. `name` is what a problem calls it.
///
/// # Errors
/// The file can't be read, is empty, larger than 64 KiB or not UTF-8.
pub fn secret_file(path: &Path, name: &str) -> Result<SecretString, Problem> {
    let unreadable = |source| Problem::Unreadable { name: name.to_owned(), path: path.to_owned(), source };
    std::fs::File::open(path).and_then(secret_text).map_err(unreadable)
}

/// The secret in a text, without its trailing newline.
///
/// # Errors
/// It can't be read, is empty, larger than 64 KiB or not UTF-8.
pub fn secret_text(from: impl Read) -> io::Result<SecretString> {
    let mut text = String::new();
    from.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(io::Error::other("it is larger than 64 KiB"));
    }
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() {
        return Err(io::Error::other("it is empty"));
    }
    Ok(secret.into())
}

/// Reads values and collects what is wrong with them, so that a person mends everything in one go.
#[derive(Debug)]
pub struct Reader<'a> {
    environment: &'a Environment,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// The value of `name`, or `default` if it is unset (or wrong, which [`Reader::finish`] tells).
    pub fn var<T>(&mut self, name: &str, default: T, parse: impl FnOnce(&str) -> Parsed<T>) -> T {
        self.optional(name, parse).unwrap_or(default)
    }

    /// The value of `name`, `None` if it is unset (or wrong, which [`Reader::finish`] tells).
    pub fn optional<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        let value = self.environment.get(name)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(expected) => {
                self.report(Problem::Invalid { name: name.to_owned(), value: shown(&value), expected });
                None
            }
        }
    }

    /// The secret `name` or `name_FILE`, `None` if neither is set (or it is wrong, which [`Reader::finish`] tells).
    pub fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.environment.secret(name).unwrap_or_else(|problem| {
            self.report(problem);
            None
        })
    }

    /// What the secret `name` or `name_FILE` says, `None` if neither is set (or it is wrong, which [`Reader::finish`] tells without its value).
    pub fn optional_secret<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        let secret = self.secret(name)?;
        match parse(secret.expose_secret()) {
            Ok(parsed) => Some(parsed),
            Err(expected) => {
                self.report(Problem::InvalidSecret { name: name.to_owned(), expected });
                None
            }
        }
    }

    /// Adds a problem that the caller found.
    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// What was read, if all of it is right.
    ///
    /// # Errors
    /// Every problem found since the reader began.
    pub fn finish<T>(self, value: T) -> Result<T, Problems> {
        if self.problems.is_empty() { Ok(value) } else { Err(Problems(self.problems)) }
    }
}

/// What is wrong with one variable.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Its value can't be read as what it has to be.
    #[error("{name}: {value} is not {expected}")]
    Invalid {
        /// The variable.
        name: String,
        /// The value as it may be shown.
        value: String,
        /// What it has to be.
        expected: String,
    },
    /// A secret, whose value is not shown, can't be read as what it has to be.
    #[error("{name}: the value (not shown, for it is a secret) is not {expected}")]
    InvalidSecret {
        /// The variable.
        name: String,
        /// What it has to be.
        expected: String,
    },
    /// The value is understood, but can't be used here.
    #[error("{name}: {value} can't be used here, {why}; {mend}")]
    Refused {
        /// The variable.
        name: String,
        /// The value as it may be shown, and whether it is the default.
        value: String,
        /// Why not.
        why: String,
        /// What to do instead.
        mend: String,
    },
    /// A secret is given twice.
    #[error("{name} and {name}_FILE are both set; keep one of them")]
    BothSet {
        /// The variable without `_FILE`.
        name: String,
    },
    /// A secret's file can't be used.
    #[error("{name}: can't read the file {}", path.display())]
    Unreadable {
        /// The variable.
        name: String,
        /// Its value.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Everything that is wrong with the environment; one line each.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0.len() == 1 { "variable is" } else { "variables are" };
        write!(f, "{} {noun} not usable", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {}", crate::logging::Chain(problem)))
    }
}

impl std::error::Error for Problems {}

/// A value as a problem may show it: quoted and bounded, and not at all if it looks like an address with a password.
pub(crate) fn shown(value: &str) -> String {
    if value.contains('@') {
        return "the value (not shown, for it may hold a password)".to_owned();
    }
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use std::io::Write;

    #[test]
    fn the_overlay_comes_before_the_process() {
        // Cargo sets this one for every test.
        let name = "CARGO_PKG_NAME";
        assert_eq!(Environment::process().get(name).as_deref(), Some("regua-telemetry"));
        assert_eq!(Environment::with([(name, "mine")]).get(name).as_deref(), Some("mine"));
        assert_eq!(Environment::with([("OTHER", "mine")]).get(name).as_deref(), Some("regua-telemetry"));
        assert_eq!(Environment::with([(name, "")]).get(name), None, "an empty value hides the process's");
        assert_eq!(Environment::only([("OTHER", "mine")]).get(name), None);
    }

    #[test]
    fn an_unset_or_empty_variable_has_its_default() {
        let environment = Environment::only([("EMPTY", ""), ("SET", "7")]);
        let mut reader = environment.reader();
        let values = [
            reader.var("UNSET", 1, parse::whole(0..=9)),
            reader.var("EMPTY", 2, parse::whole(0..=9)),
            reader.var("SET", 3, parse::whole(0..=9)),
        ];
        assert_eq!(reader.finish(values).unwrap(), [1, 2, 7]);
    }

    #[test]
    fn all_problems_are_told_together_with_name_value_and_expectation() {
        let environment = Environment::only([
            ("A", "ten"),
            ("B", "maybe"),
            ("C", "5"),
            ("D", "x"),
            ("D_FILE", "y"),
            ("E_FILE", "/nonexistent"),
        ]);
        let mut reader = environment.reader();
        reader.var("A", 1, parse::whole(0..=9));
        reader.var("B", false, parse::boolean);
        reader.var("C", 1, parse::whole(0..=9));
        assert!(reader.secret("D").is_none() && reader.secret("E").is_none());
        let told = reader.finish(()).unwrap_err().to_string();
        assert_eq!(
            told,
            "4 variables are not usable\n  A: \"ten\" is not a whole number from 0 to 9\n  B: \"maybe\" is not true or false\n  \
             D and D_FILE are both set; keep one of them\n  E_FILE: can't read the file /nonexistent: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_secret_comes_from_its_variable_or_its_file_without_the_trailing_newline() {
        for (content, secret) in [
            ("s3cret", "s3cret"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            ("two\nlines\n\n", "two\nlines\n"),
            (" spaced ", " spaced "),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content.as_bytes()).unwrap();
            let environment = Environment::only([("TOKEN_FILE", file.path().to_str().unwrap())]);
            assert_eq!(environment.secret("TOKEN").unwrap().unwrap().expose_secret(), secret, "{content:?}");
        }
        assert_eq!(Environment::only([("TOKEN", "by value")]).secret("TOKEN").unwrap().unwrap().expose_secret(), "by value");
        assert!(Environment::only([("OTHER", "x")]).secret("TOKEN").unwrap().is_none());
    }

    #[test]
    fn an_empty_an_oversized_or_a_binary_secret_file_is_refused() {
        let oversized = vec![b'x'; 64 * 1024 + 1];
        for (content, why) in
            [(&b""[..], "it is empty"), (b"\n", "it is empty"), (&oversized, "larger than 64 KiB"), (b"\xff\xfe", "UTF-8")]
        {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content).unwrap();
            let problem = secret_file(file.path(), "TOKEN_FILE").unwrap_err();
            let told = crate::logging::Chain(&problem).to_string();
            assert!(told.starts_with("TOKEN_FILE: can't read the file") && told.contains(why), "{told}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let environment = Environment::only([("TOKEN", "s3cret"), ("URL", "http://user:s3cret@host")]);
        assert!(!format!("{environment:?}").contains("s3cret"));
        assert!(!format!("{:?}", environment.secret("TOKEN").unwrap()).contains("s3cret"));
        let mut reader = environment.reader();
        reader.var("URL", 1, parse::whole(0..=9));
        let told = reader.finish(()).unwrap_err();
        assert!(!told.to_string().contains("s3cret") && !format!("{told:?}").contains("s3cret"), "{told}");
    }

    #[test]
    fn a_long_value_is_shown_in_part() {
        let environment = Environment::only([("A", "ç".repeat(1000))]);
        let mut reader = environment.reader();
        reader.var("A", 1, parse::whole(0..=9));
        let told = reader.finish(()).unwrap_err().to_string();
        assert!(told.contains(&format!("{:?}… is not", "ç".repeat(100))), "{told}");
    }
}
