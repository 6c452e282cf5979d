//! The engine, by behaviour.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod adapters;
mod cache;
mod composition;
#[cfg(feature = "constrain")]
mod constraint;
mod drafts;
mod embed;
mod engine;
mod faults;
mod layer;
mod merged;
mod replacing;
mod sampling;
mod scheduling;
mod shelf;
mod sources;
mod support;
mod tiers;
