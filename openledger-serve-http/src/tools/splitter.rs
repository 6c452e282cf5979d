//! What of an answer is said, and what is calls.

use std::sync::Arc;

use super::{ToolCall, ToolFormat};

/// Divides an answer, as it comes, into text and calls that end it.
///
/// Text that may be the beginning of calls is held back. What looks like calls and is none, or calls
/// tools that nobody offered, is text in the end.
#[derive(Clone, Debug)]
pub(crate) struct Splitter {
    format: ToolFormat,
    tools: Arc<[String]>,
    parallel: bool,
    held: String,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing but white space has come.
    Begins,
    /// Text comes, and calls may.
    Text,
    /// Calls come.
    Calls,
}

impl Splitter {
    pub(crate) fn new(format: ToolFormat, tools: Arc<[String]>, parallel: bool) -> Self {
        Self { format, tools, parallel, held: String::new(), state: State::Begins }
    }

    /// Returns what begins calls, in case it is a token that is no text.
    pub(crate) const fn marker(&self) -> &'static str {
        self.format.marker()
    }

    /// Takes the next text; returns what is certain to be said.
    pub(crate) fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        if self.state == State::Begins && !self.held.trim_start().is_empty() {
            // Llama writes calls without a sign before them, but nothing else then.
            let bare = self.format == ToolFormat::Llama && self.held.trim_start().starts_with('{');
            self.state = if bare { State::Calls } else { State::Text };
        }
        if self.state != State::Text {
            return String::new();
        }
        let marker = self.marker();
        let certain = match self.held.find(marker) {
            Some(begins) => {
                self.state = State::Calls;
                begins
            }
            None => self.held.len() - overlap(&self.held, marker),
        };
        let rest = self.held.split_off(certain);
        std::mem::replace(&mut self.held, rest)
    }

    /// Returns what was held back: the rest of the text, and calls.
    pub(crate) fn finish(&mut self) -> (String, Vec<ToolCall>) {
        let held = std::mem::take(&mut self.held);
        if self.state != State::Calls {
            return (held, Vec::new());
        }
        match self.format.parse(&held) {
            Some(mut calls) if calls.iter().all(|call| self.tools.contains(&call.name)) => {
                if !self.parallel {
                    calls.truncate(1);
                }
                (String::new(), calls)
            }
            _ => (held, Vec::new()),
        }
    }
}

/// Returns how many bytes at the end of `text` are the beginning of `marker`, which is ASCII.
fn overlap(text: &str, marker: &str) -> usize {
    let most = marker.len().min(text.len());
    (1..=most).rev().find(|&n| text.as_bytes().ends_with(&marker.as_bytes()[..n])).unwrap_or(0)
}
