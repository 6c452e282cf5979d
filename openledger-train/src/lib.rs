#![doc = include_str!("../README.md")]

pub mod backend;
pub mod data;
mod fit;
mod optimiser;
mod packing;
pub mod parity;
mod plan;
mod preference;
mod record;
mod rows;

pub use backend::{Backend, BaseRun, Candle, Native, Run, Step};
pub use fit::{Event, Fitted, fit};
pub use optimiser::{AdamW, AdamW8bit, Lion, Optimiser, Rule, Sgd};
pub use packing::{filled, pack};
pub use plan::{Plan, Schedule};
pub use preference::{Pair, Preference, PreferenceRun};
pub use record::TrainingRecord;
pub use rows::Rows;
