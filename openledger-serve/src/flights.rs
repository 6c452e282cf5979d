//! One piece of work at a time for each thing that is wanted, however many want it.

use std::{collections::HashMap, hash::Hash, panic::AssertUnwindSafe, sync::Arc};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use openledger_core::{Error, ErrorKind, Result};

use crate::adapters::again;

type Work<T> = BoxFuture<'static, Result<T, Arc<Error>>>;

/// What is under way. It is driven by those who wait for it; when the last of them leaves, it ends.
pub(super) struct Flights<K, T> {
    under_way: HashMap<K, WeakShared<Work<T>>>,
    sweep_at: usize,
}

/// Work that others may wait for, too.
pub(super) struct Flight<T: Clone>(Shared<Work<T>>);

impl<K: Eq + Hash, T: Clone> Flights<K, T> {
    pub(super) fn new() -> Self {
        Self { under_way: HashMap::new(), sweep_at: 64 }
    }

    /// Waits for what is under way for `key`, if anything is.
    pub(super) fn join(&self, key: &K) -> Option<Flight<T>> {
        // Who has the result already may have acted on it: it is not news.
        let flight = self.under_way.get(key)?.upgrade()?;
        flight.peek().is_none().then_some(Flight(flight))
    }

    /// Begins work for `key`, in place of what others wait for. If it panics, that is an error of all
    /// who wait: a source is somebody else's code.
    pub(super) fn begin(
        &mut self,
        key: K,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Flight<T> {
        if self.under_way.len() >= self.sweep_at {
            self.under_way.retain(|_, flight| flight.upgrade().is_some());
            self.sweep_at = 64 + 2 * self.under_way.len();
        }
        let stopped = |_| {
            Err(Error::new(ErrorKind::Unavailable, "loading an adapter was cut off by a panic"))
        };
        let work = AssertUnwindSafe(work).catch_unwind();
        let work = work.map(move |done| done.unwrap_or_else(stopped).map_err(Arc::new));
        let flight = work.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            self.under_way.insert(key, weak);
        }
        Flight(flight)
    }
}

impl<T: Clone> Flight<T> {
    pub(super) async fn land(self) -> Result<T> {
        self.0.await.map_err(|error| again(&error))
    }
}
