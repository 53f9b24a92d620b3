//! What memory processes hold.

use std::time::Duration;

/// Kibibytes that a process holds in memory now (`VmRSS`); `None` when it is gone.
pub fn resident_kib(process: u32) -> Option<u64> {
    field(process, "VmRSS:")
}

/// The most that it ever held (`VmHWM`).
pub fn peak_kib(process: u32) -> Option<u64> {
    field(process, "VmHWM:")
}

/// The memory of a process that has come to rest: the median of its last looks.
#[derive(Clone, Debug, Default)]
pub struct Steady {
    looks: Vec<u64>,
}

impl Steady {
    /// How often to look.
    pub const EVERY: Duration = Duration::from_millis(250);

    /// Looks once.
    pub fn look(&mut self, process: u32) {
        self.looks.extend(resident_kib(process));
    }

    /// The median of all looks, in kibibytes; 0 without any.
    pub fn median_kib(&self) -> u64 {
        let mut sorted = self.looks.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }
}

fn field(process: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
}
