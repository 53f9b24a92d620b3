//! The installed programs: where they are, which are missing, how they are run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// A program that a server needs and that is not installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The program's file name.
    pub program: &'static str,
    /// The Debian package that holds it.
    pub package: &'static str,
}

/// The folders of `PATH`, in order.
pub(crate) fn path_folders() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// The first of `folders` that holds a file of this name, as the file's path.
pub(crate) fn find(program: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A program that sees nothing of our environment but `PATH` (and what the caller adds), and works in `folder`, where the guard finds it.
pub(crate) fn command(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(folder).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    if let Some(path) = env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// When it can't be run, and when it doesn't end with success: then with what it printed.
pub(crate) fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output().map_err(|error| io::Error::new(error.kind(), format!("{command:?}: {error}")))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        return Ok(out.into_owned());
    }
    let program = Path::new(command.get_program()).display();
    Err(io::Error::other(format!("{program}: {}: {}{}", output.status, out.trim(), err.trim())))
}

/// The last lines of a log file, for an error's text; empty if there is none.
pub(crate) fn tail(file: &Path) -> String {
    const LINES: usize = 20;
    let text = fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_taken_from_the_first_folder_that_holds_it() {
        let root = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| root.path().join(name)).collect();
        for folder in &folders[1..] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("server"), "").unwrap();
        }
        assert_eq!(find("server", &folders), Some(folders[1].join("server")));
        assert_eq!(find("client", &folders), None);
    }

    #[test]
    fn a_failing_program_says_what_it_printed() {
        let error = run(Command::new("/bin/sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
        assert_eq!(run(Command::new("/bin/sh").args(["-c", "echo fine"])).unwrap(), "fine\n");
    }
}
