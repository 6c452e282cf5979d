#![doc = include_str!("../README.md")]

pub mod backend;
pub mod federated;
mod fit;
mod optimiser;
pub mod parity;
mod plan;
mod preference;
mod record;
mod rows;

pub use backend::{Backend, BaseRun, Candle, Native, NativeRun, Replace, Run, Step};
pub use fit::{Event, Fitted, fit};
pub use optimiser::{AdamW, AdamW8bit, Lion, Optimiser, Rule, Sgd};
pub use plan::{Plan, Schedule};
pub use preference::{
    Graded, Judged, Kto, Objective, Pair, Preference, PreferenceRun, Slope, StakeWeighted, Stakes,
};
pub use record::TrainingRecord;
pub use rows::Rows;
