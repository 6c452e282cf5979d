#![doc = include_str!("../README.md")]

mod answer;
mod api;
mod body;
mod desk;
mod door;
mod error;
mod ids;
mod limits;
mod metrics;
mod routes;
mod shelf;
mod sse;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tools;
mod trace;
mod wire;

pub use api::Api;
pub use body::Body;
pub use door::Keys;
pub use limits::ApiLimits;
pub use tools::{ToolCall, ToolFormat};
#[cfg(feature = "otel")]
pub use trace::Traces;
