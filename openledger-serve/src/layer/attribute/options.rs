//! How a queue of answers is bounded, and what it counts.

use std::{fmt, sync::Arc};

use super::Answer;

/// How many answers wait at most, and what happens to more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueOptions {
    /// Answers that wait or are worked on; with [`Overflow::Refuse`] those under way count, too.
    pub capacity: usize,
    /// What happens when there are as many.
    pub overflow: Overflow,
}

impl Default for QueueOptions {
    /// 1,024 answers; more are refused.
    fn default() -> Self {
        Self { capacity: 1024, overflow: Overflow::Refuse }
    }
}

impl QueueOptions {
    /// Returns this with room for another number of answers.
    #[must_use]
    pub const fn with_capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Returns this with something else happening when there is no room.
    #[must_use]
    pub fn with_overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }
}

/// What happens when a queue is full.
#[derive(Clone)]
#[non_exhaustive]
pub enum Overflow {
    /// New requests are refused, so that every answer given finds its place.
    Refuse,
    /// Answers are given, and those without a place are handed to this instead, from the task that read
    /// them or dropped their streams; it should be quick.
    HandTo(Arc<dyn Fn(Answer) + Send + Sync>),
}

impl fmt::Debug for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "Refuse",
            Self::HandTo(_) => "HandTo(..)",
        })
    }
}

/// What became of answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Places taken now.
    pub taken: usize,
    /// Worked off with a result.
    pub done: u64,
    /// Worked off with an error.
    pub failed: u64,
    /// Of both those whose result the sink did not take: it panicked.
    pub unseen: u64,
    /// Without a place, handed to [`Overflow::HandTo`].
    pub handed_over: u64,
    /// Requests refused for want of a place.
    pub refused: u64,
}
