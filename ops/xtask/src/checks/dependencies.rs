//! One table of versions, and nothing in it or in a member's manifest that isn't used.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Finding, sources};
use crate::cargo::{self, Error, Metadata, Workspace};

/// Checks the root's table and every member.
pub fn check(workspace: &Workspace, metadata: &Metadata) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for manifest in metadata.members() {
        let place = manifest.strip_prefix(workspace.root()).unwrap_or(manifest).display().to_string();
        let code = Code::of(manifest.parent().unwrap_or(workspace.root()))?;
        for dependency in dependencies(&cargo::read_manifest(manifest)?) {
            findings.extend(dependency.finding(&code, &place));
            used.insert(dependency.name);
        }
    }
    let root = cargo::read_manifest(&workspace.root().join("Cargo.toml"))?;
    findings.extend(unused_in_table(&root, &used));
    Ok(findings)
}

fn unused_in_table(root: &toml::Table, used: &BTreeSet<String>) -> Vec<Finding> {
    let table = root.get("workspace").and_then(|workspace| workspace.get("dependencies")).and_then(toml::Value::as_table);
    let names = table.into_iter().flat_map(toml::Table::keys).filter(|name| !used.contains(*name));
    names
        .map(|name| Finding {
            what: format!("no member uses {name}"),
            place: "Cargo.toml, [workspace.dependencies]".to_owned(),
            mend: "remove the line".to_owned(),
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Dev,
    Build,
}

#[derive(Debug, PartialEq, Eq)]
struct Dependency {
    name: String,
    kind: Kind,
    from_table: bool,
}

impl Dependency {
    fn finding(&self, code: &Code, place: &str) -> Option<Finding> {
        let name = &self.name;
        if !self.from_table {
            return Some(Finding {
                what: format!("{name} has a version of its own"),
                place: place.to_owned(),
                mend: format!("put the version into the root's [workspace.dependencies] and write `{name}.workspace = true`"),
            });
        }
        let (text, searched) = match self.kind {
            Kind::Normal => (&code.src, "src"),
            Kind::Dev => (&code.all, "its sources and tests"),
            Kind::Build => (&code.build, "build.rs"),
        };
        let word = name.replace('-', "_");
        let is_used = sources::code_lines(text).any(|(_, line)| sources::has_word(line, &word));
        (!is_used).then(|| Finding {
            what: format!("{name} is a dependency, and `{word}` is named nowhere in {searched}"),
            place: place.to_owned(),
            mend: "remove the line, or move it to [dev-dependencies] if only tests use it".to_owned(),
        })
    }
}

/// All dependencies of a manifest, those for single platforms too.
fn dependencies(manifest: &toml::Table) -> Vec<Dependency> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table);
    let mut found = Vec::new();
    for owner in std::iter::once(manifest).chain(targets) {
        for (section, kind) in
            [("dependencies", Kind::Normal), ("dev-dependencies", Kind::Dev), ("build-dependencies", Kind::Build)]
        {
            for (name, value) in owner.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
                let from_table = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                found.push(Dependency { name: name.clone(), kind, from_table });
            }
        }
    }
    found
}

/// A member's Rust text, by what its parts may use.
struct Code {
    src: String,
    all: String,
    build: String,
}

impl Code {
    fn of(member: &Path) -> Result<Self, Error> {
        let joined = |folder: &str| -> Result<String, Error> {
            let mut texts = Vec::new();
            for file in sources::rust_files(&member.join(folder))? {
                let text = sources::read(&file)?;
                // A module that another member's tests share with these.
                let shared = text.lines().filter_map(|line| line.strip_prefix("#[path = \"../")?.strip_suffix("\"]"));
                for path in shared.map(|path| file.with_file_name("..").join(path)) {
                    texts.push(sources::read(&path)?);
                }
                texts.push(text);
            }
            Ok(texts.join("\n"))
        };
        let src = joined("src")?;
        let all = [src.clone(), joined("tests")?, joined("benches")?, joined("examples")?].join("\n");
        let script = member.join("build.rs");
        let build = if script.is_file() { sources::read(&script)? } else { String::new() };
        Ok(Self { src, all, build })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> Code {
        Code {
            src: "use serde_json::Value;\n// url\n".to_owned(),
            all: "use serde_json::Value;\nuse tempfile::tempdir;\n".to_owned(),
            build: String::new(),
        }
    }

    #[track_caller]
    fn check(name: &str, kind: Kind, from_table: bool, expected: Option<&str>) {
        let found = Dependency { name: name.to_owned(), kind, from_table }.finding(&code(), "a/Cargo.toml");
        assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
        if let (Some(found), Some(expected)) = (found, expected) {
            assert!(found.what.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_dependency_is_used_where_its_kind_allows() {
        check("serde_json", Kind::Normal, true, None);
        check("serde-json", Kind::Normal, true, None);
        check("serde_json", Kind::Build, true, Some("`serde_json` is named nowhere in build.rs"));
        check("tempfile", Kind::Dev, true, None);
        check("tempfile", Kind::Normal, true, Some("`tempfile` is named nowhere in src"));
        check("url", Kind::Normal, true, Some("`url` is named nowhere in src"));
        check("serde_json", Kind::Normal, false, Some("a version of its own"));
    }

    #[test]
    fn every_section_of_a_manifest_is_read() {
        let manifest = "[dependencies]\na.workspace = true\nb = \"1\"\n[dev-dependencies]\nc = { workspace = true, features = [\"x\"] }\n\
                        [target.'cfg(unix)'.build-dependencies]\nd = { version = \"1\" }\n";
        let found = dependencies(&manifest.parse().unwrap());
        let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.kind, one.from_table)).collect();
        assert_eq!(
            found,
            [("a", Kind::Normal, true), ("b", Kind::Normal, false), ("c", Kind::Dev, true), ("d", Kind::Build, false)]
        );
    }

    #[test]
    fn a_line_of_the_table_that_no_member_uses_is_found() {
        let root = "[workspace.dependencies]\nkept = \"1\"\nleft = { version = \"1\" }\n".parse().unwrap();
        let found = unused_in_table(&root, &BTreeSet::from(["kept".to_owned()]));
        assert_eq!(found.iter().map(|one| one.what.as_str()).collect::<Vec<_>>(), ["no member uses left"]);
    }
}
