//! Choosing tokens: what of a model's numbers becomes an answer, and when it is over.
//!
//! ```text
//! logits ─▶ bias ─▶ constraint ─▶ penalties ─▶ temperature ─▶ top-k ─▶ top-p ─▶ min-p ─▶ a token
//!    └─▶ logprobs                                                                          │
//!                       event ◀─ stop strings hold back ◀─ text, whole characters only ◀──┘
//! ```

mod candidates;
mod constraint;
mod grammar;
mod logprobs;
mod lookup;
mod options;
mod penalties;
mod sampler;
mod stops;
mod writer;

pub use constraint::{Constraint, Part};
pub(crate) use grammar::{Grammar, Grammars};
pub use lookup::Lookup;
pub use options::Sampling;
pub(crate) use writer::{Writer, Written};
