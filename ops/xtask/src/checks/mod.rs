//! The house checks: what no compiler asks for and every change must keep.

mod advisories;
mod dependencies;
mod domain;
mod duplicates;
mod layout;
mod licences;
mod monitoring;
mod named_tests;
mod sources;
mod tls;

use std::fmt;

use crate::cargo::{Error, Workspace};

/// Something that does not hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// The file, package or line.
    pub place: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrong: {}\n   at: {}\n mend: {}", self.what, self.place, self.mend)
    }
}

/// Runs every check, prints every finding, and fails if there was one.
pub fn run(workspace: &Workspace) -> Result<(), Error> {
    let metadata = workspace.metadata()?;
    let found = [
        ("the domain core is pure", domain::check(workspace)?),
        ("one TLS provider, no OpenSSL", tls::check(workspace)?),
        ("licences", licences::check(&metadata)),
        ("duplicate versions", duplicates::check(workspace)?),
        ("dependencies", dependencies::check(workspace, &metadata)?),
        ("top-level entries", layout::check(workspace)?),
        ("tests that pages name", named_tests::check(workspace)?),
        ("rules, alerts, dashboards", monitoring::check(workspace)?),
    ];
    let mut count: usize = found.into_iter().map(|(name, findings)| tell(name, findings)).sum();
    match advisories::check(workspace)? {
        Some(findings) => count += tell("advisories", findings),
        None => println!("advisories: not checked (no database reachable: cargo-deny is not installed, or has no network)"),
    }
    if count == 0 { Ok(()) } else { Err(Error::Findings(count)) }
}

/// Prints how a check went and returns the number of its findings.
fn tell(name: &str, findings: Vec<Finding>) -> usize {
    println!("{name}: {}", if findings.is_empty() { "ok" } else { "does not hold" });
    let count = findings.len();
    for finding in findings {
        println!("{finding}");
    }
    count
}

/// The packages of a `cargo tree --prefix none --format {p}` listing that bear one of these names.
fn packages_named<'n>(tree: &str, names: &[&'n str]) -> Vec<&'n str> {
    let listed: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names.iter().copied().filter(|name| listed.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_by_its_whole_name_only() {
        let tree = "tokio-util v0.7.1\nopenssl-probe v0.2.2\nsqlx v0.9.0 (*)\n";
        assert_eq!(packages_named(tree, &["tokio", "openssl", "sqlx"]), ["sqlx"]);
    }

    #[test]
    fn a_finding_says_what_where_and_the_mend() {
        let finding = Finding { what: "a".to_owned(), place: "b".to_owned(), mend: "c".to_owned() };
        assert_eq!(finding.to_string(), "wrong: a\n   at: b\n mend: c");
    }
}
