//! Spans of requests, in a build with the feature `otel`; nothing in one without.

#[cfg(feature = "otel")]
mod laps;
#[cfg(feature = "otel")]
mod traces;
#[cfg(not(feature = "otel"))]
mod without;

#[cfg(feature = "otel")]
pub use traces::Traces;
#[cfg(not(feature = "otel"))]
pub(crate) use without::{Laps, Trace, Traces};
#[cfg(feature = "otel")]
pub(crate) use {laps::Laps, traces::Trace};
