//! What a server did and does, as Prometheus reads it.
//!
//! Some names are vLLM's: routers such as the Gateway API Inference Extension of Kubernetes look for
//! them to choose between replicas.

mod flight;
mod histogram;
mod text;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) use flight::Flight;
use histogram::Histogram;

/// The most names of adapters that metrics tell apart; the others count as one.
const MAX_NAMES: usize = 256;
/// What the others are called.
const OTHERS: &str = "others";

/// Counters since the server began, and what is under way.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Requests by route and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Answers under way by adapter: those that wait for their first token, those that run.
    under_way: Mutex<BTreeMap<Option<String>, [usize; 2]>>,
    tokens_in: AtomicU64,
    tokens_cached: AtomicU64,
    tokens_out: AtomicU64,
    abandoned: AtomicU64,
    first_token: Histogram,
    answer: Histogram,
    adapters_loaded: AtomicU64,
    adapters_refused: AtomicU64,
}

impl Metrics {
    pub(crate) fn request(&self, route: &'static str, status: u16) {
        *lock(&self.requests).entry((route, status)).or_default() += 1;
    }

    /// Counts an adapter that was loaded, or was not.
    pub(crate) fn adapter(&self, loaded: bool) {
        let counter = if loaded { &self.adapters_loaded } else { &self.adapters_refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds to what is under way under a name, and gives the name it counts under.
    fn change(&self, name: Option<String>, change: impl FnOnce(&mut [usize; 2])) -> Option<String> {
        let mut under_way = lock(&self.under_way);
        let name = match under_way.len() >= MAX_NAMES && !under_way.contains_key(&name) {
            true => Some(OTHERS.to_owned()),
            false => name,
        };
        let counts = under_way.entry(name.clone()).or_default();
        change(counts);
        if *counts == [0; 2] {
            under_way.remove(&name);
        }
        name
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
