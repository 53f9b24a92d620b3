//! Reading Rust sources, as far as a word search needs it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::Error;

/// Every `.rs` file below a folder, sorted; none if the folder doesn't exist.
pub fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        let fail = |source| Error::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a source file.
pub fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// The lines that are no comment (those that begin with `//`), with their numbers from 1.
pub fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a line contains this word or path, not as a part of a longer name.
pub fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_no_part_of_a_longer_name() {
        assert!(has_word("use url::Url;", "url"));
        assert!(has_word("let now = Utc::now();", "Utc::now"));
        assert!(!has_word("let amqp_url = curl(urls);", "url"));
        assert!(!has_word("Utc::nowhere", "Utc::now"));
    }

    #[test]
    fn comments_are_no_code() {
        let lines: Vec<_> = code_lines("//! url\n    // url\nuse x; // tail\n").collect();
        assert_eq!(lines, [(3, "use x; // tail")]);
    }

    #[test]
    fn files_are_found_at_every_depth_and_a_missing_folder_has_none() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        for file in ["a/b/deep.rs", "top.rs", "a/notes.md"] {
            fs::write(root.path().join(file), "").unwrap();
        }
        assert_eq!(rust_files(root.path()).unwrap(), [root.path().join("a/b/deep.rs"), root.path().join("top.rs")]);
        assert!(rust_files(&root.path().join("nowhere")).unwrap().is_empty());
    }
}
