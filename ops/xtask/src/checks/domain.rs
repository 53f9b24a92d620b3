//! Invariant 7: the decision core does no I/O, reads no clock, draws no randomness.

use super::{Finding, packages_named, sources};
use crate::cargo::{Error, Workspace};

const PACKAGE: &str = "regua-domain";
const SOURCES: &str = "shared/domain/src";

/// What may not be below the core, at any depth.
const PACKAGES: &[&str] = &["tokio", "sqlx", "lapin", "reqwest", "hyper", "mio", "socket2", "futures", "async-trait"];

/// What its code may not name. Its tests may: they read samples.
const WORDS: &[&str] = &[
    "Utc::now",
    "Local::now",
    "SystemTime",
    "Instant::now",
    "Uuid::now_v7",
    "Uuid::new_v4",
    "rand",
    "getrandom",
    "RandomState",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
];

/// Checks the core's dependencies and its code.
pub fn check(workspace: &Workspace) -> Result<Vec<Finding>, Error> {
    let tree = workspace.tree(&format!("--package {PACKAGE} --edges normal"))?;
    let mut findings: Vec<Finding> = packages_named(&tree, PACKAGES)
        .into_iter()
        .map(|name| Finding {
            what: format!("the decision core depends on {name} (invariant 7: no I/O, no clock, no randomness)"),
            place: format!("{PACKAGE}; the way there: cargo tree -p {PACKAGE} -e normal -i {name}"),
            mend: "let a service do that, and hand its result to the core as an argument".to_owned(),
        })
        .collect();
    for file in sources::rust_files(&workspace.root().join(SOURCES))? {
        let shown = file.strip_prefix(workspace.root()).unwrap_or(&file).display().to_string();
        findings.extend(impure_lines(&sources::read(&file)?).map(|(line, word)| Finding {
            what: format!("the decision core names {word} (invariant 7: no I/O, no clock, no randomness)"),
            place: format!("{shown}:{line}"),
            mend: "take it as an argument".to_owned(),
        }));
    }
    Ok(findings)
}

/// The lines before the file's tests that name what is forbidden.
fn impure_lines(text: &str) -> impl Iterator<Item = (usize, &'static str)> + '_ {
    sources::code_lines(text).take_while(|(_, line)| !line.contains("#[cfg(test)]")).flat_map(|(number, line)| {
        WORDS.iter().filter(move |word| sources::has_word(line, word)).map(move |word| (number, *word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_the_code_is_found_and_one_in_a_comment_or_a_test_is_not() {
        let text = "// Utc::now()\nfn f() { Utc::now() }\nuse std::fs;\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(impure_lines(text).collect::<Vec<_>>(), [(2, "Utc::now"), (3, "std::fs")]);
    }
}
