//! The two programs: what they print, how they are stopped.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::ask;

const PROGRAMS: [&str; 2] = [env!("CARGO_BIN_EXE_opa-simulator"), env!("CARGO_BIN_EXE_ixc-simulator")];

#[tokio::test(flavor = "multi_thread")]
async fn a_program_says_where_it_listens_and_ends_0_on_sigterm() -> anyhow::Result<()> {
    for program in PROGRAMS {
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--seed", "9"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("standard output is piped")?).lines();
        let line = timeout(Duration::from_secs(20), lines.next_line()).await??.context("a line")?;
        let url = line.strip_prefix("listening on ").context("the address")?;
        assert_eq!(ask(url, "GET", "/_admin/stats", &[], "").await?.status, 200);
        let id = child.id().context("it is running")?.to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await?.success());
        assert_eq!(timeout(Duration::from_secs(20), child.wait()).await??.code(), Some(0), "{program}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn help_names_every_flag_and_a_wrong_one_is_a_usage_error() -> anyhow::Result<()> {
    let common = ["--listen", "--seed", "--token", "--idle-close-ms", "/_admin/faults", "/_admin/log", "/_admin/stats"];
    let own: [&[&str]; 2] = [
        &[
            "--per-second",
            "--pair-interval-ms",
            "--in-service",
            "--double-spaces",
            "--daily-limit",
            "/atendimento/mensagem",
            "/_admin/in-service",
            "/_admin/customer-message",
        ],
        &["--customers", "--today", "--due-offsets", "--iso-dates-only", "/_admin/day", "/_admin/pay"],
    ];
    for (program, own) in PROGRAMS.into_iter().zip(own) {
        let help = Command::new(program).arg("--help").output().await?;
        let text = String::from_utf8(help.stdout)?;
        for flag in common.iter().chain(own) {
            assert!(text.contains(flag), "{program}: {flag}");
        }
        assert_eq!(Command::new(program).arg("--nonsense").output().await?.status.code(), Some(2));
    }
    Ok(())
}
