//! Cargo, run on this workspace, and what it tells about it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::{env, fs, io};

use serde::Deserialize;

/// Why a chore could not be done, or what did not hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not there or could not be started.
    #[error("could not run `{command}`")]
    Run {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended without success; it has printed why.
    #[error("`{command}` failed: {status}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A file or folder of the workspace could not be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A manifest is no TOML.
    #[error("could not understand {}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: toml::de::Error,
    },
    /// `cargo metadata` printed something unexpected.
    #[error("could not understand what `cargo metadata` printed")]
    Metadata(#[from] serde_json::Error),
    /// House checks that do not hold; each was printed.
    #[error("findings of the house checks: {0}, listed above")]
    Findings(usize),
    /// A test server could not be had.
    #[error("{0}")]
    NoServer(String),
    /// An installed test server did not start.
    #[error("the private {name} did not start")]
    ServerStart {
        /// The server's name.
        name: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// The checkout that the chores work on.
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace around the current folder. Asked at run time: a target folder may be shared by several checkouts, so the binary can't know.
    pub fn find() -> Result<Self, Error> {
        let mut command = Command::new(cargo_program());
        command.args(["locate-project", "--workspace", "--message-format", "plain"]);
        let manifest = PathBuf::from(output(&mut command)?.trim());
        Ok(Self { root: manifest.parent().unwrap_or(Path::new(".")).to_owned() })
    }

    #[cfg(test)]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder of the root manifest.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A cargo command in the root folder, that never reads from the terminal.
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(cargo_program());
        command.args(args).current_dir(&self.root).stdin(Stdio::null());
        // What `cargo run` tells this program of its own package. Build scripts that watch those (ring's) would run again, and with them half
        // of the dependencies, each time that a chore follows a build by hand.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
                command.env_remove(name);
            }
        }
        command
    }

    /// The packages of `cargo tree`, one per line (name, version), for the platform we build for; `args` are words for it.
    pub fn tree(&self, args: &str) -> Result<String, Error> {
        let mut command = self.cargo(&["tree", "--locked", "--prefix", "none", "--format", "{p}"]);
        output(command.args(args.split_whitespace()))
    }

    /// Every package of the lock file, ours and others', for every platform.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        Ok(serde_json::from_str(&output(&mut self.cargo(&["metadata", "--format-version", "1", "--locked"]))?)?)
    }
}

/// What we read of `cargo metadata`.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Every package.
    pub packages: Vec<Package>,
    /// Where programs are built.
    pub target_directory: PathBuf,
}

/// One package.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name on the registry.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression.
    pub license: Option<String>,
    /// Where it comes from; `None` for our own.
    pub source: Option<String>,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
}

impl Metadata {
    /// The manifests of the workspace's members.
    pub fn members(&self) -> impl Iterator<Item = &Path> {
        self.packages.iter().filter(|package| package.source.is_none()).map(|package| package.manifest_path.as_path())
    }
}

/// Reads a manifest.
pub fn read_manifest(path: &Path) -> Result<toml::Table, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| Error::Manifest { path: path.to_owned(), source })
}

/// Runs a command that prints for people.
pub fn run(command: &mut Command) -> Result<(), Error> {
    let status = command.status().map_err(|source| Error::Run { command: line(command), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: line(command), status }) }
}

/// Runs a command and returns what it printed for us; its standard error goes on to the reader.
pub fn output(command: &mut Command) -> Result<String, Error> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|source| Error::Run { command: line(command), source })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Failed { command: line(command), status: output.status })
    }
}

/// The cargo that runs us, so that every step has the same toolchain.
fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
