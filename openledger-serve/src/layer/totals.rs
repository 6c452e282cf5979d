//! Sums of what answers used.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openledger_core::AdapterId;

use super::{Outcome, Usage};

/// What all answers used, by tenant and adapter. Clones share it.
///
/// It holds a few dozen bytes for each pair that ever asked, until [`take`](Self::take).
#[derive(Clone, Debug, Default)]
pub struct Totals(Arc<Mutex<Sums>>);

type Sums = HashMap<(Option<Arc<str>>, Option<AdapterId>), Total>;

/// A sum of what answers used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Total {
    /// Answers that ended by themselves.
    pub finished: u64,
    /// Answers that failed.
    pub failed: u64,
    /// Answers that were abandoned.
    pub abandoned: u64,
    /// Tokens read.
    pub tokens_in: u64,
    /// Those of them that a cache held already.
    pub tokens_cached: u64,
    /// Tokens written.
    pub tokens_out: u64,
}

impl Totals {
    /// Starts at nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an answer.
    pub fn add(&self, usage: &Usage) {
        let key = (usage.tenant.clone(), usage.adapter);
        self.sums().entry(key).or_default().add(&Total::of(usage));
    }

    /// Returns the sum of one tenant and adapter; `None` is whoever named none, and the base model.
    pub fn of(&self, tenant: Option<&str>, adapter: Option<AdapterId>) -> Total {
        self.sum(|(by, of)| by.as_deref() == tenant && *of == adapter)
    }

    /// Returns the sum of a tenant's answers.
    pub fn of_tenant(&self, tenant: &str) -> Total {
        self.sum(|(by, _)| by.as_deref() == Some(tenant))
    }

    /// Returns the sum of an adapter's answers.
    pub fn of_adapter(&self, adapter: AdapterId) -> Total {
        self.sum(|(_, of)| *of == Some(adapter))
    }

    /// Returns the sum of all answers.
    pub fn all(&self) -> Total {
        self.sum(|_| true)
    }

    /// Returns every sum by tenant and adapter, and starts at nothing again; what is added meanwhile is in one or the other.
    pub fn take(&self) -> Vec<(Option<Arc<str>>, Option<AdapterId>, Total)> {
        let sums = std::mem::take(&mut *self.sums());
        let mut sums: Vec<_> = sums.into_iter().map(|((by, of), sum)| (by, of, sum)).collect();
        sums.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        sums
    }

    fn sum(&self, counts: impl Fn(&(Option<Arc<str>>, Option<AdapterId>)) -> bool) -> Total {
        let mut all = Total::default();
        self.sums().iter().filter(|(key, _)| counts(key)).for_each(|(_, sum)| all.add(sum));
        all
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Total {
    /// Returns the answers in all.
    pub const fn answers(&self) -> u64 {
        self.finished + self.failed + self.abandoned
    }

    fn of(usage: &Usage) -> Self {
        let one = |is: bool| u64::from(is);
        Self {
            finished: one(matches!(usage.outcome, Outcome::Finished(_))),
            failed: one(matches!(usage.outcome, Outcome::Failed(_))),
            abandoned: one(usage.outcome == Outcome::Abandoned),
            tokens_in: usage.tokens_in as u64,
            tokens_cached: usage.tokens_cached as u64,
            tokens_out: usage.tokens_out as u64,
        }
    }

    fn add(&mut self, other: &Self) {
        for (sum, part) in [
            (&mut self.finished, other.finished),
            (&mut self.failed, other.failed),
            (&mut self.abandoned, other.abandoned),
            (&mut self.tokens_in, other.tokens_in),
            (&mut self.tokens_cached, other.tokens_cached),
            (&mut self.tokens_out, other.tokens_out),
        ] {
            *sum = sum.saturating_add(part);
        }
    }
}
