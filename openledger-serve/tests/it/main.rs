//! The engine, by behaviour.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod adapters;
mod cache;
mod embed;
mod engine;
mod layer;
mod scheduling;
mod support;
