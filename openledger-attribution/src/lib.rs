#![doc = include_str!("../README.md")]

mod corpus;
mod gradient;
mod linear;
mod method;
mod precondition;

pub use corpus::{Corpus, CorpusRow, Source};
pub use gradient::{GradientInfluence, ProgressFn};
pub use method::{Bound, Method, credit};
pub use precondition::{Blocks, Preconditioned, Preconditioner};
