//! Datanets, by behaviour.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod datanet;
mod intake;
mod real;
