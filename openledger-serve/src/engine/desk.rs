//! Where requests are counted in and out, by handles on any thread.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use openledger_core::{Error, ErrorKind, Result};

/// How many requests an engine has, and whether it takes more.
#[derive(Debug)]
pub(super) struct Desk {
    count: Mutex<Count>,
    max: usize,
    max_tenant: usize,
}

#[derive(Debug, Default)]
struct Count {
    taken: usize,
    by_tenant: HashMap<Option<Arc<str>>, usize>,
    draining: bool,
    waiting_for_none: Vec<Waker>,
}

impl Desk {
    pub(super) fn new(max: usize, max_tenant: usize) -> Self {
        Self { count: Mutex::default(), max, max_tenant }
    }

    /// Counts a request in, until its seat is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`], retryable, if there are as many as may be, in all or of this tenant;
    /// [`ErrorKind::Unavailable`] if no more are taken.
    pub(super) fn seat(self: &Arc<Self>, tenant: Option<Arc<str>>) -> Result<Seat> {
        let mut count = self.lock();
        if count.draining {
            return Err(Error::new(ErrorKind::Unavailable, "the engine takes no more requests"));
        }
        let limit = |message| Err(Error::new(ErrorKind::Limit, message).with_retryable(true));
        if count.taken >= self.max {
            return limit(format!("{} requests are queued already", count.taken));
        }
        let own = count.by_tenant.get(&tenant).copied().unwrap_or_default();
        if own >= self.max_tenant {
            let name = tenant.as_deref().unwrap_or("nobody in particular");
            return limit(format!("{own} requests of `{name}` are queued already"));
        }
        count.taken += 1;
        count.by_tenant.insert(tenant.clone(), own + 1);
        drop(count);
        Ok(Seat { desk: Arc::clone(self), tenant })
    }

    /// Returns how many requests there are, waiting and running.
    pub(super) fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        self.lock().draining = true;
    }

    /// Waits until there are none.
    pub(super) fn poll_empty(&self, context: &Context<'_>) -> Poll<()> {
        let mut count = self.lock();
        if count.taken == 0 {
            return Poll::Ready(());
        }
        if !count.waiting_for_none.iter().any(|waker| waker.will_wake(context.waker())) {
            count.waiting_for_none.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        // Each change is whole before anything can panic.
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is counted in.
#[derive(Debug)]
pub(super) struct Seat {
    desk: Arc<Desk>,
    tenant: Option<Arc<str>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut count = self.desk.lock();
        count.taken -= 1;
        if let Some(own) = count.by_tenant.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                count.by_tenant.remove(&self.tenant);
            }
        }
        if count.taken == 0 {
            let wakers = std::mem::take(&mut count.waiting_for_none);
            drop(count);
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::poll_fn};

    use super::*;

    #[test]
    fn seats_are_counted_by_tenant_and_in_all() {
        let desk = Arc::new(Desk::new(3, 2));
        let seat = |tenant: Option<&str>| desk.seat(tenant.map(Into::into));
        let first = seat(Some("a")).unwrap();
        let _second = seat(Some("a")).unwrap();
        let error = seat(Some("a")).unwrap_err();
        assert_eq!(error.to_string(), "2 requests of `a` are queued already");
        let _third = seat(None).unwrap();
        let error = seat(Some("b")).unwrap_err();
        assert_eq!(error.to_string(), "3 requests are queued already");
        assert!(error.kind() == ErrorKind::Limit && error.is_retryable());
        drop(first);
        assert!(seat(Some("a")).is_ok());
    }

    #[test]
    fn a_closed_desk_wakes_who_waits_for_the_last_to_leave() {
        let desk = Arc::new(Desk::new(3, 3));
        let seats = [desk.seat(None).unwrap(), desk.seat(None).unwrap()];
        desk.close();
        assert_eq!(desk.seat(None).unwrap_err().kind(), ErrorKind::Unavailable);
        let mut empty = Box::pin(poll_fn(|context| desk.poll_empty(context)));
        let [first, second] = seats;
        drop(first);
        assert_eq!(empty.as_mut().now_or_never(), None);
        drop(second);
        assert_eq!(empty.now_or_never(), Some(()));
    }
}
