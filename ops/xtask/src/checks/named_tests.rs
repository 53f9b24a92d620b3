//! Pages of promises name the tests that show them: a test that is gone leaves a promise without proof.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::{Finding, sources};
use crate::cargo::{Error, Workspace};

/// The pages, and what each lists.
const PAGES: [(&str, &[Entries]); 2] = [
    ("ops/docs/pains.md", &[Entries { what: "pain ", before: "| ", after: " |", numbers: 1..=34 }]),
    (
        "ops/docs/guarantees.md",
        &[
            Entries { what: "invariant ", before: "## ", after: ". ", numbers: 1..=10 },
            Entries { what: "schedule F", before: "| F", after: " |", numbers: 1..=26 },
        ],
    ),
];
/// What an entry says in place of a test for a part that isn't told there yet.
const LATER: &str = "| later: ";

/// Numbered entries of a page, each of which names a test.
struct Entries {
    what: &'static str,
    /// What stands before and after the number at the beginning of an entry's first line.
    before: &'static str,
    after: &'static str,
    numbers: RangeInclusive<usize>,
}

/// Checks that every entry of every page is there, that each names a test or says that it comes later, and that the tests exist.
pub fn check(workspace: &Workspace) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for (path, entries) in PAGES {
        let page = sources::read(&workspace.root().join(path))?;
        for entries in entries {
            let missing = entries.without_proof(&page).into_iter().map(|number| {
                finding(
                    format!("{}{number} isn't there, or names no test", entries.what),
                    path.to_owned(),
                    "name the test that shows it as `path.rs::name`; where none does, write it",
                )
            });
            findings.extend(missing);
        }
        for (line, source, name) in tests_named(&page) {
            let file = workspace.root().join(source);
            let exists = file.is_file() && has_test(&sources::read(&file)?, name);
            if !exists {
                let what = format!("no test {name} in {source}");
                let place = format!("{path}:{line}");
                findings.push(finding(what, place, "name the test that shows it now; if none does any more, bring it back"));
            }
        }
    }
    Ok(findings)
}

fn finding(what: String, place: String, mend: &str) -> Finding {
    Finding { what, place, mend: mend.to_owned() }
}

impl Entries {
    /// The entries that aren't there, or that neither name a test nor say that it comes later. An entry goes on to the next row or heading.
    fn without_proof(&self, page: &str) -> BTreeSet<usize> {
        let mut missing: BTreeSet<usize> = self.numbers.clone().collect();
        let mut current = None;
        for line in page.lines() {
            if line.starts_with(['|', '#']) {
                current = line.strip_prefix(self.before).and_then(|rest| rest.split_once(self.after)?.0.parse().ok());
            }
            if let Some(number) = current
                && (line.contains(LATER) || tests_named(line).next().is_some())
            {
                missing.remove(&number);
            }
        }
        missing
    }
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
    fn an_entry_that_is_missing_or_names_no_test_is_found() {
        let page = "| 1 | a | b | `a/b.rs::it_waits`<br>`c.rs::it_holds` |\n| 2 | a | later | |\n| 3 | a | b | later: c |\n
                    ## 4. Not of this list\n\n`a.rs::it_waits`\n| 6 | `a.rs` |\n";
        let rows = Entries { what: "pain ", before: "| ", after: " |", numbers: 1..=5 };
        assert_eq!(rows.without_proof(page), [2, 4, 5].into());
        assert_eq!(
            tests_named(page).collect::<Vec<_>>(),
            [(1, "a/b.rs", "it_waits"), (1, "c.rs", "it_holds"), (7, "a.rs", "it_waits")]
        );
    }

    #[test]
    fn a_section_goes_on_to_the_next_heading_or_row() {
        let page =
            "## 1. One\n\nWords,\nand `a.rs::it_waits`.\n\n## 2. Two\n\nWords.\n\n### Aside\n`a.rs::it_waits`\n## 3. Three\n";
        let sections = Entries { what: "invariant ", before: "## ", after: ". ", numbers: 1..=3 };
        assert_eq!(sections.without_proof(page), [2, 3].into());
    }

    #[test]
    fn a_test_that_is_gone_is_found_with_its_page_and_line() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("ops/docs")).unwrap();
        std::fs::write(root.path().join("a.rs"), SOURCE).unwrap();
        for (path, entries) in PAGES {
            let mut page = "`a.rs::it_waits` `a.rs::gone`\n`b.rs::it_waits`\n".to_owned();
            for Entries { before, after, numbers, .. } in entries {
                page.extend(numbers.clone().map(|number| format!("{before}{number}{after} | later: x |\n")));
            }
            std::fs::write(root.path().join(path), page).unwrap();
        }
        let found = check(&Workspace::at(root.path())).unwrap();
        let places: Vec<_> = found.iter().map(|finding| (finding.what.as_str(), finding.place.as_str())).collect();
        let [pains, guarantees] = PAGES.map(|(path, _)| [format!("{path}:1"), format!("{path}:2")]);
        let expected: Vec<_> = pains
            .iter()
            .zip(["no test gone in a.rs", "no test it_waits in b.rs"])
            .chain(guarantees.iter().zip(["no test gone in a.rs", "no test it_waits in b.rs"]))
            .map(|(place, what)| (what, place.as_str()))
            .collect();
        assert_eq!(places, expected);
    }
}
