//! One vector for a text.

use std::{sync::Arc, time::Instant};

use futures::channel::oneshot;
use openledger_core::{Error, Result};
use openledger_kernels::{add_assign, dot};

use crate::Lease;

/// A request for one vector that stands for a text, by [`Engine::embed`](crate::Engine::embed).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Embed {
    /// The text, with whatever begins one.
    pub tokens: Vec<u32>,
    /// The adapter to read with; the base model if there is none.
    pub adapter: Option<Lease>,
    /// What becomes of the states of its tokens.
    pub pooling: Pooling,
    /// Who asks, as in [`Generate::tenant`](crate::Generate::tenant).
    pub tenant: Option<Arc<str>>,
    /// When the vector is no longer wanted.
    pub deadline: Option<Instant>,
}

/// How one vector is made of many.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Pooling {
    /// The last token's, which has seen all others.
    #[default]
    Last,
    /// The mean of all tokens'.
    Mean,
}

impl Embed {
    /// Asks for the last token's state, from the base model.
    pub const fn new(tokens: Vec<u32>) -> Self {
        Self { tokens, adapter: None, pooling: Pooling::Last, tenant: None, deadline: None }
    }

    /// Returns this for an adapter.
    #[must_use]
    pub fn with_adapter(mut self, adapter: Lease) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// Returns this with another way to make one vector of many.
    #[must_use]
    pub const fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// Returns this on behalf of a tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Returns this with a time after which the vector is no longer wanted.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// A vector under way.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) pooling: Pooling,
    pub(super) reply: oneshot::Sender<Result<Vec<f32>>>,
    sum: Vec<f32>,
    count: usize,
}

impl Pooled {
    pub(super) const fn new(pooling: Pooling, reply: oneshot::Sender<Result<Vec<f32>>>) -> Self {
        Self { pooling, reply, sum: Vec::new(), count: 0 }
    }

    /// Begins again.
    pub(super) fn reset(&mut self) {
        (self.sum, self.count) = (Vec::new(), 0);
    }

    /// Takes in hidden states, row by row, so that how they come in parts changes nothing.
    pub(super) fn add(&mut self, hidden: &[f32], width: usize) {
        for row in hidden.chunks_exact(width) {
            match self.sum.is_empty() {
                true => self.sum = row.to_vec(),
                false => add_assign(&mut self.sum, row),
            }
            self.count += 1;
        }
    }

    /// Hands the vector out, of length 1.
    pub(super) fn finish(mut self) {
        // The mean and the sum have the same direction; dividing first keeps the squares small.
        let count = self.count as f32;
        self.sum.iter_mut().for_each(|x| *x /= count);
        let length = dot(&self.sum, &self.sum).sqrt();
        let vector = match length.is_finite() && length > 0.0 {
            true => {
                self.sum.iter_mut().for_each(|x| *x /= length);
                Ok(self.sum)
            }
            false => Err(Error::invalid("the model's states have no direction: bad weights?")),
        };
        // Whoever asked may be gone.
        let _ = self.reply.send(vector);
    }
}
