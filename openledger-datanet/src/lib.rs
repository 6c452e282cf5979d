#![doc = include_str!("../README.md")]

mod check;
mod datanet;
mod draft;
pub mod intake;
mod limits;
mod submission;
mod version;

pub use check::{Check, Checks, Finding, NoControlCharacters};
pub use datanet::{Datanet, Info};
pub use draft::{Draft, Origin, Refusal, Review};
pub use limits::Limits;
pub use submission::{Stamp, Submission, Terms};
pub use version::{Record, Version};
