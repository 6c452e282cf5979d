#![doc = include_str!("../README.md")]

pub mod backend;
mod fit;
mod optimiser;
pub mod parity;
mod plan;
mod record;

pub use backend::{Backend, BaseRun, Candle, Native, Run, Step};
pub use fit::{Event, Fitted, fit};
pub use optimiser::AdamW;
pub use plan::{Plan, Schedule};
pub use record::TrainingRecord;
