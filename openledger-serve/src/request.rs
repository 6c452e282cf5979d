//! What is asked of an engine.

use crate::{Lease, Sampling};

/// A request: tokens to go on from, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Generate {
    /// The prompt, with whatever begins a text.
    pub prompt: Vec<u32>,
    /// The adapter to answer with, held until the answer ends; the base model if there is none.
    pub adapter: Option<Lease>,
    /// The most tokens to write.
    pub max_tokens: usize,
    /// How each token is chosen.
    pub sampling: Sampling,
}

impl Generate {
    /// Asks for at most 128 tokens from the base model, each the most likely one.
    pub const fn new(prompt: Vec<u32>) -> Self {
        Self { prompt, adapter: None, max_tokens: 128, sampling: Sampling::GREEDY }
    }

    /// Returns this for an adapter.
    #[must_use]
    pub fn with_adapter(mut self, adapter: Lease) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// Returns this with another limit on tokens written.
    #[must_use]
    pub const fn with_max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Returns this with another way to choose tokens.
    #[must_use]
    pub const fn with_sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }
}
