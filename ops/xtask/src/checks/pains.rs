//! The page of other systems' pains names the tests that show they don't happen here: a test that is gone leaves a promise without proof.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::{Finding, sources};
use crate::cargo::{Error, Workspace};

const PAGE: &str = "ops/docs/pains.md";
/// The pains that it lists, a row each.
const PAINS: RangeInclusive<usize> = 1..=34;
/// What a row says in place of a test for a part that isn't told there yet.
const LATER: &str = "| later: ";

/// Checks that every pain has its row, that each row names a test or says that it comes later, and that the tests exist.
pub fn check(workspace: &Workspace) -> Result<Vec<Finding>, Error> {
    let page = sources::read(&workspace.root().join(PAGE))?;
    let mut findings: Vec<Finding> = without_proof(&page)
        .into_iter()
        .map(|pain| {
            finding(
                format!("pain {pain} has no row, or one that names no test"),
                PAGE.to_owned(),
                "name the test that shows it doesn't happen here as `path.rs::name`; where none does, write it",
            )
        })
        .collect();
    for (line, path, name) in tests_named(&page) {
        let file = workspace.root().join(path);
        let exists = file.is_file() && has_test(&sources::read(&file)?, name);
        if !exists {
            let what = format!("no test {name} in {path}");
            findings.push(finding(
                what,
                format!("{PAGE}:{line}"),
                "name the test that shows it now; if none does any more, bring it back",
            ));
        }
    }
    Ok(findings)
}

fn finding(what: String, place: String, mend: &str) -> Finding {
    Finding { what, place, mend: mend.to_owned() }
}

/// The pains without a row that names a test or says that it comes later.
fn without_proof(page: &str) -> BTreeSet<usize> {
    let told = page.lines().filter(|line| line.contains(LATER) || tests_named(line).next().is_some());
    let numbers: BTreeSet<usize> = told.filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    PAINS.filter(|pain| !numbers.contains(pain)).collect()
}

/// Every `path.rs::name` of the page: its line from 1, the path and the name.
fn tests_named(page: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    (1..).zip(page.lines()).flat_map(|(number, line)| {
        let code = line.split('`').skip(1).step_by(2);
        code.filter_map(move |code| {
            let end = code.find(".rs::")? + ".rs".len();
            Some((number, &code[..end], &code[end + "::".len()..]))
        })
    })
}

/// Whether a source has a test of this name: its function under a test's attribute, or its line in a list of rules that a macro makes tests of.
fn has_test(text: &str, name: &str) -> bool {
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == name {
            return true;
        }
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((before, after)) = line.split_once("fn ") {
            let named = after.strip_prefix(name).is_some_and(|rest| rest.starts_with('('));
            if is_test && named && matches!(before, "" | "async ") {
                return true;
            }
            is_test = false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "#[tokio::test(flavor = \"multi_thread\")]\n#[cfg(unix)]\nasync fn it_waits() {}\n\nfn help() {}\n
        #[test]\n// why\nfn it_holds(x in any()) {}\nasync fn on_both(f: Fixture) {}\nconformance! {\n    on_both\n}\n";

    #[test]
    fn a_test_is_a_function_under_its_attribute_or_a_rule_in_a_list() {
        for (name, expected) in [("it_waits", true), ("it_holds", true), ("on_both", true), ("help", false), ("it_hold", false)] {
            assert_eq!(has_test(SOURCE, name), expected, "{name}");
        }
    }

    #[test]
    fn a_row_without_a_test_and_a_pain_without_a_row_are_found() {
        let page = "| 1 | a | b | `a/b.rs::it_waits`<br>`c.rs::it_holds` |\n| 2 | a | later | |\n| 3 | a | b | later: c |\n";
        assert_eq!(without_proof(page), PAINS.filter(|pain| ![1, 3].contains(pain)).collect());
        assert_eq!(tests_named(page).collect::<Vec<_>>(), [(1, "a/b.rs", "it_waits"), (1, "c.rs", "it_holds")]);
    }

    #[test]
    fn a_test_that_is_gone_is_found_with_its_line() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("ops/docs")).unwrap();
        std::fs::write(root.path().join("a.rs"), SOURCE).unwrap();
        let rows: Vec<String> = PAINS.map(|pain| format!("| {pain} | later: x |")).collect();
        std::fs::write(root.path().join(PAGE), format!("`a.rs::it_waits` `a.rs::gone`\n`b.rs::it_waits`\n{}", rows.join("\n")))
            .unwrap();
        let found = check(&Workspace::at(root.path())).unwrap();
        let places: Vec<_> = found.iter().map(|finding| (finding.what.as_str(), finding.place.as_str())).collect();
        assert_eq!(
            places,
            [("no test gone in a.rs", "ops/docs/pains.md:1"), ("no test it_waits in b.rs", "ops/docs/pains.md:2")]
        );
    }
}
