//! Calls of tools, found in what a model writes.

mod call;
mod forced;
mod parse;
mod splitter;
#[cfg(test)]
mod tests;

pub use call::{ToolCall, ToolFormat};
pub(crate) use forced::Tool;
pub(crate) use splitter::Splitter;
