//! What comes in as JSON, checked field by field.
//!
//! Fields nobody here knows are passed over, as clients send many; a field that is known and cannot be
//! honoured is an error that names it, because an answer that ignores it would be a wrong one.

mod completion;
mod conversation;
mod fields;
mod prompt;
mod settings;
#[cfg(test)]
mod tests;
mod wishes;

pub(crate) use completion::CompletionRequest;
pub(crate) use conversation::ChatRequest;
pub(crate) use fields::{Fields, parse};
pub(crate) use prompt::Prompt;
pub(crate) use settings::Settings;
pub(crate) use wishes::{GROUND, Ground, RECEIPT, Wishes};
