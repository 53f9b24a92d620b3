//! The root folder holds what the project's layout names, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use super::Finding;
use crate::cargo::{Error, Workspace};

/// Dot-files may join them.
const ALLOWED: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "README.pt-BR.md",
    "docker-compose.yml",
    "ops",
    "services",
    "shared",
    "tests",
];

/// Checks what git tracks or would track, or, outside a git checkout, what is in the folder (but for cargo's `target`).
pub fn check(workspace: &Workspace) -> Result<Vec<Finding>, Error> {
    let entries = match entries_of_git(workspace) {
        Some(entries) => entries,
        None => entries_of_folder(workspace)?,
    };
    Ok(unknown(&entries)
        .map(|entry| Finding {
            what: "it has no place in the root folder".to_owned(),
            place: entry.to_owned(),
            mend: "move it into services, shared, tests or ops; a tool's configuration may be a dot-file".to_owned(),
        })
        .collect())
}

fn unknown(entries: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    entries.iter().map(String::as_str).filter(|entry| !entry.starts_with('.') && !ALLOWED.contains(entry))
}

fn entries_of_git(workspace: &Workspace) -> Option<BTreeSet<String>> {
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(workspace.root());
    let output = git.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    // What is tracked but deleted in the folder is not there any more.
    let there = |entry: &&str| workspace.root().join(entry).exists();
    Some(
        listed
            .split('\0')
            .filter_map(|path| path.split('/').next())
            .filter(|entry| !entry.is_empty())
            .filter(there)
            .map(ToOwned::to_owned)
            .collect(),
    )
}

fn entries_of_folder(workspace: &Workspace) -> Result<BTreeSet<String>, Error> {
    let fail = |source| Error::Read { path: workspace.root().to_owned(), source };
    let mut entries = BTreeSet::new();
    for entry in fs::read_dir(workspace.root()).map_err(fail)? {
        entries.insert(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    entries.remove("target");
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_layout_does_not_name_is_found() {
        let root = tempfile::tempdir().unwrap();
        for file in ["Cargo.toml", "README.md", ".gitignore", "notes.txt"] {
            fs::write(root.path().join(file), "").unwrap();
        }
        for folder in ["services", "target", "utils"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let entries = entries_of_folder(&Workspace::at(root.path())).unwrap();
        assert_eq!(unknown(&entries).collect::<Vec<_>>(), ["notes.txt", "utils"]);
    }
}
