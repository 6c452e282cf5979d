//! What a process used.

use std::time::Instant;

use openledger_train::Meter;
use rustix::time::{ClockId, clock_gettime};

/// Returns the CPU seconds of all threads so far.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Returns the high-water mark of resident memory in MB of 2^20 bytes, where Linux keeps it.
pub fn peak_mb() -> Option<f64> {
    peak_kilobytes().map(|kilobytes| kilobytes as f64 / 1024.0)
}

fn peak_kilobytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// This process, as runs are told of it.
#[derive(Clone, Copy, Debug)]
pub struct Process(Instant);

impl Process {
    /// Starts the clock.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter for Process {
    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    fn peak_bytes(&self) -> Option<u64> {
        peak_kilobytes().map(|kilobytes| kilobytes * 1024)
    }
}
