#![doc = include_str!("../README.md")]

pub mod backend;
mod config;
pub mod data;
mod event;
mod export;
pub mod federated;
mod fit;
mod log;
mod meter;
mod numbers;
mod optimiser;
mod packing;
pub mod parity;
mod plan;
pub mod preference;
mod preflight;
mod record;
mod rows;
mod sealed;
mod session;

pub use backend::{
    Backend, BaseRun, Candle, Evaluate, Evaluation, Native, NativeRun, Replace, Resume, Run, Step,
    evaluate,
};
pub use config::{
    BasePrecision, DataConfig, EvaluationConfig, Objective, SourceFile, TrainingConfig,
};
pub use event::{Event, Happening, StepTaken, Stop, curve};
pub use export::{
    ExportCheck, Precision, check_export, check_gguf, check_gguf_adapter, merge, merge_gguf,
};
pub use fit::{Fitted, Progress, fit};
pub use log::{EventLog, Events};
pub use meter::{Meter, Unmetered};
pub use optimiser::{AdamW, AdamW8bit, Lion, Optimiser, Rule, Sgd};
pub use packing::{filled, pack};
pub use plan::{Plan, Schedule};
pub use preference::{
    Graded, Judged, Judgement, Judgements, Kto, LogP, Loss, Pair, Preference, PreferenceRun, Slope,
    StakeWeighted, Stakes,
};
pub use preflight::{Memory, Preflight, RowsSeen, preflight};
pub use record::TrainingRecord;
pub use rows::{Rows, Subset};
pub use session::{
    Checkpoint, Course, Evaluated, FromJudgements, HeldOut, Learned, Lesson, NextToken, RunId,
    Session, Trained,
};
