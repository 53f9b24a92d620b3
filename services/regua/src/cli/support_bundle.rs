//! `regua support-bundle` on the command line.

use clap::Args;
use std::path::PathBuf;

/// Reads and writes nothing but the file. Names, addresses, phones, texts, secrets and what people wrote stay here: the file has what is on
/// an explicit list, and names become `channel 1`, `policy 2` and so on.
#[derive(Debug, Args)]
pub struct SupportBundleArgs {
    /// The file, which must not exist yet; `-` is the standard output, for a container that can write nowhere
    #[arg(long, default_value = "regua-support.json")]
    pub out: PathBuf,
    /// A running process, as http://127.0.0.1:9103, whose /metrics and /readyz shall be in it; may be given several times
    #[arg(long, value_name = "URL")]
    pub from: Vec<String>,
}
