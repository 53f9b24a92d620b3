//! What both programs do around their simulator.

use std::io::{self, Write};

use tokio::signal::unix::{SignalKind, signal};

/// Says where the simulator listens, on one line of standard output, and waits for SIGTERM or SIGINT.
///
/// # Errors
/// Signal handlers can't be installed, or standard output is closed.
pub async fn run_until_terminated(url: &str) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    {
        let mut out = io::stdout().lock();
        writeln!(out, "listening on {url}")?;
        out.flush()?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
