//! The escrow as a till: over a chain that does as a test says, and over the contracts.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod contract;
mod interleavings;
mod line;
mod memory;
mod reading;
mod refusing;
mod script;
mod settling;
