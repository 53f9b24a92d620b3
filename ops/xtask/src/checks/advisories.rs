//! Known vulnerabilities, where their database can be had.

use std::process::Stdio;

use super::Finding;
use crate::cargo::{Error, Workspace};

/// Asks cargo-deny (with `.cargo/deny.toml`); `None` without it or its database: then nothing was checked.
pub fn check(workspace: &Workspace) -> Result<Option<Vec<Finding>>, Error> {
    let quietly = |args: &[&str]| {
        let mut command = workspace.cargo(args);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !quietly(&["deny", "fetch", "db"]) {
        return Ok(None);
    }
    let mut deny = workspace.cargo(&["deny", "check", "--config", ".cargo/deny.toml", "--disable-fetch", "advisories"]);
    let status = deny.status().map_err(|source| Error::Run { command: "cargo deny check advisories".to_owned(), source })?;
    let finding = Finding {
        what: "a package has a known vulnerability or is unmaintained".to_owned(),
        place: "as cargo-deny printed above".to_owned(),
        mend: "update or replace it; or add an exception with its reason to .cargo/deny.toml".to_owned(),
    };
    Ok(Some(if status.success() { Vec::new() } else { vec![finding] }))
}
