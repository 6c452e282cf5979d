//! The API over real sockets, by behaviour.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod adapters;
mod attacks;
mod client;
mod completions;
mod errors;
mod layers;
mod status;
mod streams;
mod tools;
#[cfg(feature = "otel")]
mod traces;
