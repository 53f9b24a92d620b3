//! A package in two versions is built twice and mistaken for itself: only those that we can't help are accepted.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::cargo::{Error, Workspace};

/// Packages that others' manifests bring in two versions. None goes away by another version in our own table.
const KNOWN: &[(&str, &str)] = &[
    ("base64", "sqlx and lapin's key store (0.22), reqwest (0.23)"),
    ("block-buffer", "with sha2"),
    ("cpufeatures", "with sha2"),
    ("crypto-common", "with sha2"),
    ("digest", "with sha2"),
    ("getrandom", "ring (0.2), and with rand"),
    ("hashbrown", "indexmap and hashlink"),
    ("hmac", "with sha2"),
    ("nom", "lapin's AMQP parser and its certificate reader"),
    ("phf", "cron (0.11), chrono-tz (0.12)"),
    ("phf_shared", "with phf"),
    ("rand", "backoff (0.8), opentelemetry (0.9), sqlx (0.10)"),
    ("rand_chacha", "with rand"),
    ("rand_core", "with rand"),
    ("sha2", "sqlx-postgres (0.11), sqlx-core and lapin's key store (0.10)"),
    ("syn", "derive macros old and new"),
    ("synstructure", "with syn"),
    ("winnow", "cron and toml's parser"),
];

/// Compares the tree, for the platform we build for, with what is known.
pub fn check(workspace: &Workspace) -> Result<Vec<Finding>, Error> {
    Ok(compare(&workspace.tree("--workspace --duplicates --depth 0")?, KNOWN))
}

fn compare(tree: &str, known: &[(&str, &str)]) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name).or_default().insert(version);
        }
    }
    // cargo also lists a package that is built twice in one version, for build scripts and for us.
    versions.retain(|_, versions| versions.len() > 1);
    let new =
        versions.iter().filter(|(name, _)| !known.iter().any(|(known, _)| known == *name)).map(|(name, versions)| Finding {
            what: format!("{name} is there in several versions: {}", versions.iter().copied().collect::<Vec<_>>().join(", ")),
            place: format!("who brings them: cargo tree --workspace --duplicates -i {name}@VERSION"),
            mend: "choose versions that agree in the root's table; or add it to KNOWN in ops/xtask, with its reason".to_owned(),
        });
    let gone = known.iter().filter(|(name, _)| !versions.contains_key(name)).map(|(name, _)| Finding {
        what: format!("{name} is no longer there in several versions"),
        place: "KNOWN in ops/xtask/src/checks/duplicates.rs".to_owned(),
        mend: "remove its line".to_owned(),
    });
    new.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_duplicate_and_a_line_too_many_are_found() {
        let tree = "nom v7.1.3\n\nnom v8.0.0\n\nrand v0.8.8\n\nrand v0.9.5\n\neither v1.19.0\n\neither v1.19.0\n";
        let whats: Vec<String> = compare(tree, &[("rand", "a"), ("phf", "b")]).into_iter().map(|finding| finding.what).collect();
        assert_eq!(whats, ["nom is there in several versions: v7.1.3, v8.0.0", "phf is no longer there in several versions"]);
    }
}
