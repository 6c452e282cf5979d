//! What is left of an answer.

use std::fmt;

use crate::{Event, Generate, Usage, Watch};

/// A request and what was handed out for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// What was asked, as this layer saw it.
    pub request: Generate,
    /// The tokens handed out.
    pub tokens: Vec<u32>,
    /// Their text.
    pub text: String,
    /// What it used, and how it ended.
    pub usage: Usage,
}

/// Keeps an answer while it is handed out, and gives it away when it is over. One without a token is nothing to keep.
pub(crate) struct Record<F> {
    request: Generate,
    tokens: Vec<u32>,
    text: String,
    keep: F,
}

impl<F: FnOnce(Answer) + Send + 'static> Record<F> {
    pub(crate) const fn new(request: Generate, keep: F) -> Self {
        Self { request, tokens: Vec::new(), text: String::new(), keep }
    }
}

impl<F: FnOnce(Answer) + Send + 'static> Watch for Record<F> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Token { token, text, .. } => {
                self.tokens.push(*token);
                self.text.push_str(text);
            }
            Event::End(end) => self.text.push_str(&end.text),
            _ => {}
        }
    }

    fn over(self, usage: Usage) {
        if usage.tokens_out > 0 {
            let Self { request, tokens, text, keep } = self;
            keep(Answer { request, tokens, text, usage });
        }
    }
}

impl<F> fmt::Debug for Record<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}
