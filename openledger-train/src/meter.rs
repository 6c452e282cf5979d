//! Clock and memory of the process, which come in as arguments.

use std::fmt;

/// Says how long a process runs and what it uses. Implement this to have both in events.
pub trait Meter: fmt::Debug {
    /// Returns seconds since a moment of its own, never fewer than before.
    fn seconds(&self) -> f64;

    /// Returns the most bytes that were resident at once so far, where that is known.
    fn peak_bytes(&self) -> Option<u64>;
}

/// Knows nothing: no time passes.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to configure")]
pub struct Unmetered;

impl Meter for Unmetered {
    fn seconds(&self) -> f64 {
        0.0
    }

    fn peak_bytes(&self) -> Option<u64> {
        None
    }
}
