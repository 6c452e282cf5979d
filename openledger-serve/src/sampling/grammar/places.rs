//! Places for work, of which there are few: who waits gets one in turn, tenant by tenant.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::channel::oneshot;
use openledger_core::{Error, ErrorKind, Result};

/// Some places; clones share them.
///
/// A tenant has all but one of them at most, so that there is always one that others wait for, and whose
/// has fewest comes first. Work that is late may never end: nobody waits for its place.
#[derive(Clone)]
pub(super) struct Places(Arc<Mutex<Turns>>);

/// A place, given to the next when it is dropped.
pub(super) struct Place {
    places: Places,
    tenant: Option<Arc<str>>,
    late: AtomicBool,
}

struct Turns {
    count: usize,
    taken: HashMap<Option<Arc<str>>, Taken>,
    waiting: VecDeque<(Option<Arc<str>>, oneshot::Sender<Place>)>,
}

/// What one tenant has.
#[derive(Clone, Copy, Default)]
struct Taken {
    places: usize,
    /// Those with work that is late.
    late: usize,
}

/// How many of one tenant wait at most.
const WAITING: usize = 64;

impl Places {
    pub(super) fn new(count: usize) -> Self {
        let (taken, waiting) = (HashMap::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(Turns { count, taken, waiting })))
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`], retryable, if too many of this tenant wait or whatever it could wait for is
    /// late.
    pub(super) async fn take(&self, tenant: Option<Arc<str>>) -> Result<Place> {
        let (sender, place) = oneshot::channel();
        {
            let mut turns = self.lock();
            turns.waiting.retain(|(_, sender)| !sender.is_canceled());
            let others = turns.waiting.iter().filter(|(other, _)| *other == tenant);
            if others.count() >= WAITING || turns.is_hopeless(&tenant) {
                return Err(crowded());
            }
            turns.waiting.push_back((tenant, sender));
        }
        self.hand_out();
        place.await.map_err(|_| crowded())
    }

    /// Gives what is free to those in turn.
    fn hand_out(&self) {
        loop {
            // Not within the lock: a place that nobody takes any more is given back.
            let Some((tenant, sender)) = self.lock().next() else { return };
            let (places, late) = (self.clone(), AtomicBool::new(false));
            let _ = sender.send(Place { places, tenant, late });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        // Each change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    fn of(&self, tenant: &Option<Arc<str>>) -> Taken {
        self.taken.get(tenant).copied().unwrap_or_default()
    }

    /// How many places a tenant has at most.
    const fn most(&self) -> usize {
        if self.count > 1 { self.count - 1 } else { self.count }
    }

    /// Whether every place that a tenant could get has work that is late.
    fn is_hopeless(&self, tenant: &Option<Arc<str>>) -> bool {
        let late: usize = self.taken.values().map(|taken| taken.late).sum();
        late >= self.count || self.of(tenant).late >= self.most()
    }

    /// Takes out whoever gets the next place, which is counted as taken.
    fn next(&mut self) -> Option<(Option<Arc<str>>, oneshot::Sender<Place>)> {
        self.waiting.retain(|(_, sender)| !sender.is_canceled());
        if self.taken.values().map(|taken| taken.places).sum::<usize>() >= self.count {
            return None;
        }
        let places = self.waiting.iter().map(|(tenant, _)| self.of(tenant).places).enumerate();
        let (next, _) =
            places.filter(|&(_, places)| places < self.most()).min_by_key(|&(_, places)| places)?;
        let (tenant, sender) = self.waiting.remove(next)?;
        self.taken.entry(tenant.clone()).or_default().places += 1;
        Some((tenant, sender))
    }
}

impl Place {
    /// Says that what is done here is late. Whoever waits for nothing but late work waits no more.
    pub(super) fn is_late(&self) {
        if self.late.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut turns = self.places.lock();
        turns.taken.entry(self.tenant.clone()).or_default().late += 1;
        let waiting = std::mem::take(&mut turns.waiting);
        let (hopeless, waiting) =
            waiting.into_iter().partition::<VecDeque<_>, _>(|(other, _)| turns.is_hopeless(other));
        turns.waiting = waiting;
        drop(turns);
        drop(hopeless);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut turns = self.places.lock();
        if let Some(taken) = turns.taken.get_mut(&self.tenant) {
            taken.places -= 1;
            taken.late -= usize::from(self.late.load(Ordering::Relaxed));
            if taken.places == 0 {
                turns.taken.remove(&self.tenant);
            }
        }
        drop(turns);
        self.places.hand_out();
    }
}

fn crowded() -> Error {
    let message = "too many constraints are being compiled";
    Error::new(ErrorKind::Limit, message).with_retryable(true)
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("count", &self.lock().count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};

    use super::*;

    fn take(places: &Places, tenant: &'static str) -> BoxFuture<'static, Result<Place>> {
        let places = places.clone();
        let mut taking = async move { places.take(Some(tenant.into())).await }.boxed();
        // Begins to wait.
        match taking.as_mut().now_or_never() {
            Some(done) => std::future::ready(done).boxed(),
            None => taking,
        }
    }

    fn now(mut taking: BoxFuture<'_, Result<Place>>) -> Option<Result<Place>> {
        taking.as_mut().now_or_never()
    }

    #[test]
    fn one_place_is_always_for_others_and_who_has_least_is_next() {
        let places = Places::new(3);
        let mut many: Vec<_> = (0..6).map(|_| take(&places, "many")).collect();
        let mut taken: Vec<Place> =
            many.drain(..2).map(|taking| now(taking).unwrap().unwrap()).collect();
        assert!(many[0].as_mut().now_or_never().is_none(), "the third is not for them");
        let one = now(take(&places, "one")).unwrap().unwrap();
        let mut other = take(&places, "other");
        // `many` came first, but has a place left.
        drop(taken.pop());
        let other = other.as_mut().now_or_never().unwrap().unwrap();
        assert!(many[0].as_mut().now_or_never().is_none());
        drop((one, other));
        assert!(now(many.remove(0)).unwrap().is_ok());
    }

    #[test]
    fn who_leaves_takes_no_place() {
        let places = Places::new(1);
        let first = now(take(&places, "a")).unwrap().unwrap();
        let (gone, stays) = (take(&places, "a"), take(&places, "b"));
        let unread = take(&places, "c");
        drop(gone);
        drop(first);
        let stays = now(stays).unwrap().unwrap();
        drop(stays);
        // It has the place already, and goes without having looked.
        drop(unread);
        assert!(now(take(&places, "d")).unwrap().is_ok());
    }

    #[test]
    fn nobody_waits_for_what_is_late() {
        let places = Places::new(2);
        let slow = now(take(&places, "slow")).unwrap().unwrap();
        let (mut again, other) = (take(&places, "slow"), now(take(&places, "other")).unwrap());
        slow.is_late();
        let error = again.as_mut().now_or_never().unwrap().err().unwrap();
        assert!(error.kind() == ErrorKind::Limit && error.is_retryable());
        assert!(now(take(&places, "slow")).unwrap().is_err());
        // Others still have a place to wait for.
        let third = take(&places, "third");
        drop(other);
        let third = now(third).unwrap().unwrap();
        third.is_late();
        assert!(now(take(&places, "fourth")).unwrap().is_err());
        drop(slow);
        assert!(now(take(&places, "slow")).unwrap().is_ok());
    }

    #[test]
    fn few_of_a_tenant_wait() {
        let places = Places::new(1);
        let _first = now(take(&places, "a")).unwrap().unwrap();
        let waiting: Vec<_> = (0..WAITING).map(|_| take(&places, "a")).collect();
        assert!(now(take(&places, "a")).unwrap().is_err());
        assert!(now(take(&places, "b")).is_none());
        drop(waiting);
        assert!(now(take(&places, "a")).is_none());
    }
}
