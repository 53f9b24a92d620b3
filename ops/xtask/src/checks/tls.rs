//! One TLS provider (ring, under rustls), and no OpenSSL, on the platform we build for.

use super::{Finding, packages_named};
use crate::cargo::{Error, Workspace};

const FORBIDDEN: &[&str] = &[
    "openssl",
    "openssl-sys",
    "native-tls",
    "boring",
    "boring-sys",
    "aws-lc-rs",
    "aws-lc-sys",
    "aws-lc-fips-sys",
    "rustls-openssl",
    "rustls-mbedtls-provider",
];

/// Checks the whole tree, build scripts' and tests' dependencies included.
pub fn check(workspace: &Workspace) -> Result<Vec<Finding>, Error> {
    let tree = workspace.tree("--workspace")?;
    Ok(packages_named(&tree, FORBIDDEN)
        .into_iter()
        .map(|name| Finding {
            what: format!("{name} is in the dependency tree: TLS is rustls with ring, and nothing else"),
            place: format!("the way there: cargo tree --workspace -i {name}"),
            mend: "switch the dependency's default features off and choose its rustls feature with ring".to_owned(),
        })
        .collect())
}
