//! What the system tells of the process itself.

use super::MetricFamily;
use std::time::{SystemTime, UNIX_EPOCH};

/// What Linux tells of this process, under Prometheus's usual names; elsewhere only the start time.
pub(super) fn families(started_at: SystemTime) -> Vec<MetricFamily> {
    let started = started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut families = vec![
        MetricFamily::gauge("process_start_time_seconds", "When the process started, in Unix seconds.").sample(&[], started),
    ];
    if let Some(bytes) = resident_memory_bytes() {
        families.push(MetricFamily::gauge("process_resident_memory_bytes", "Resident memory.").count(&[], bytes));
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        families.push(MetricFamily::gauge("process_open_fds", "Open file descriptors.").count(&[], files.count() as u64));
    }
    families
}

/// `VmRSS` of `/proc/self/status`, which is in KiB.
fn resident_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    kib.checked_mul(1024)
}
