//! Every package we build on may be used under a licence that goes with ours.

use super::Finding;
use crate::cargo::{Metadata, Package};

/// The licences we accept, each with what it is needed for. All ask for no more than keeping their notice.
const ALLOWED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",        // chrono-tz's table parser, zerocopy
    "BSD-3-Clause",        // subtle, matchit's part from httprouter
    "CDLA-Permissive-2.0", // webpki-roots: Mozilla's certificate list, as data
    "ISC",                 // ring, rustls-webpki, untrusted
    "Unicode-3.0",         // the Unicode tables of url's icu crates
    "Zlib",                // foldhash
];

/// Checks the packages of every platform, those for tests too.
pub fn check(metadata: &Metadata) -> Vec<Finding> {
    let others = metadata.packages.iter().filter(|package| package.source.is_some());
    others.filter(|package| !package.license.as_deref().is_some_and(allowed)).map(finding).collect()
}

fn finding(package: &Package) -> Finding {
    Finding {
        what: format!("its licence is {}", package.license.as_deref().unwrap_or("not stated")),
        place: format!("{} {}; the way there: cargo tree --workspace -i {}", package.name, package.version, package.name),
        mend: "do without the package; or, if the licence goes with MIT OR Apache-2.0, add it to ALLOWED in ops/xtask, with its reason".to_owned(),
    }
}

/// Whether an SPDX expression can be met with the licences we accept. Understands `AND`, `OR`, `WITH`, parentheses and the registry's old `/` for `OR`;
/// what it doesn't understand is not allowed.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any(&mut words) == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words) -> Option<bool> {
    let mut met = every(words)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= every(words)?;
    }
    Some(met)
}

fn every(words: &mut Words) -> Option<bool> {
    let mut met = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words)?;
    }
    Some(met)
}

fn one(words: &mut Words) -> Option<bool> {
    match words.next()? {
        "(" => {
            let met = any(words)?;
            words.next_if_eq(&")").map(|_| met)
        }
        "AND" | "OR" | "WITH" | ")" => None,
        licence => {
            // An exception only ever permits more.
            if words.next_if_eq(&"WITH").is_some() {
                words.next()?;
            }
            Some(ALLOWED.contains(&licence))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, expected: bool) {
        assert_eq!(allowed(expression), expected, "{expression}");
    }

    #[test]
    fn an_expression_holds_when_accepted_licences_meet_it() {
        check("MIT", true);
        check("MIT/Apache-2.0", true);
        check("GPL-3.0-only", false);
        check("GPL-3.0-only OR MIT", true);
        check("GPL-3.0-only AND MIT", false);
        check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
        check("(MIT OR Apache-2.0) AND GPL-2.0-only", false);
        check("MIT OR GPL-2.0-only AND GPL-3.0-only", true);
        check("Apache-2.0 WITH LLVM-exception", true);
        check("GPL-2.0-only WITH Classpath-exception-2.0", false);
    }

    #[test]
    fn what_is_no_expression_is_not_allowed() {
        for expression in ["", "MIT OR", "MIT MIT", "(MIT", "MIT)", "AND", "MIT WITH", "WITH MIT"] {
            check(expression, false);
        }
    }

    #[test]
    fn a_foreign_package_without_a_licence_is_found_and_ours_is_not_looked_at() {
        let package = |name: &str, source: Option<&str>| Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: None,
            source: source.map(ToOwned::to_owned),
            manifest_path: "Cargo.toml".into(),
        };
        let found = super::check(&Metadata {
            packages: vec![package("theirs", Some("registry")), package("ours", None)],
            target_directory: "target".into(),
        });
        assert_eq!(found.len(), 1);
        assert!(found[0].place.starts_with("theirs 1.0.0"));
    }
}
