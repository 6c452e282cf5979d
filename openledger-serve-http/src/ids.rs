//! Names of requests and answers, and seeds nobody asked for.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// Numbers that do not repeat and cannot be guessed from those before. They guard nothing.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    state: RandomState,
    count: AtomicU64,
}

impl Ids {
    pub(crate) fn number(&self) -> u64 {
        self.state.hash_one(self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns a name that begins with `prefix`.
    pub(crate) fn name(&self, prefix: &str) -> String {
        format!("{prefix}{:016x}{:08x}", self.number(), self.number() >> 32)
    }
}
