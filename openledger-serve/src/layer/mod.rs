//! Policies around an engine, each usable alone in anybody's tower stack.

mod meter;

pub use meter::{Meter, MeterLayer};
