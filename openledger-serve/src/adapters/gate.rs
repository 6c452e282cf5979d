//! A bound on how much is done at a time, and on how much waits for it.
//!
//! It keeps the threads on which it was done for who passes next: an allocator has a part of memory for each thread, and
//! what many threads took one after the other stays in as many parts.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::channel::oneshot;
use openledger_core::{Error, ErrorKind, Result};
use rayon::ThreadPool;

/// Lets a few pass at a time, first come, first served.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    waiting: VecDeque<oneshot::Sender<Permit>>,
    max_waiting: usize,
    /// Those that have nothing to do: no more than may pass.
    threads: Vec<Arc<ThreadPool>>,
}

/// The right to work, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit(Option<Gate>);

impl Gate {
    pub(super) fn new(free: usize, max_waiting: usize) -> Self {
        let (waiting, threads) = (VecDeque::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { free, waiting, max_waiting, threads })))
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`], retryable, if too many wait already.
    pub(super) async fn pass(&self) -> Result<Permit> {
        let wait = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Permit(Some(self.clone())));
            }
            // Those who have left need no place.
            state.waiting.retain(|waiting| !waiting.is_canceled());
            if state.waiting.len() >= state.max_waiting {
                let message = format!("{} adapters wait to be loaded already", state.max_waiting);
                return Err(Error::new(ErrorKind::Limit, message).with_retryable(true));
            }
            let (give, wait) = oneshot::channel();
            state.waiting.push_back(give);
            wait
        };
        Ok(wait.await.expect("a gate drops those who wait only after serving them, and is held"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Takes a thread that has nothing to do, if there is one.
    pub(super) fn take_thread(&self) -> Option<Arc<ThreadPool>> {
        self.0.as_ref()?.lock().threads.pop()
    }

    /// Leaves a thread to who passes next.
    pub(super) fn leave_thread(&self, thread: Arc<ThreadPool>) {
        if let Some(gate) = &self.0 {
            gate.lock().threads.push(thread);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else { return };
        let mut state = gate.lock();
        while let Some(next) = state.waiting.pop_front() {
            match next.send(Self(Some(gate.clone()))) {
                Ok(()) => return,
                // It left. The permit comes back, and must not give itself back a second time.
                Err(mut permit) => drop(permit.0.take()),
            }
        }
        state.free += 1;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn as_many_pass_as_may_and_the_others_in_turn() {
        let gate = Gate::new(2, 2);
        let pass = || Box::pin(gate.pass());
        let first = pass().now_or_never().unwrap().unwrap();
        let _second = pass().now_or_never().unwrap().unwrap();
        let (mut third, mut fourth) = (pass(), pass());
        assert!((&mut third).now_or_never().is_none() && (&mut fourth).now_or_never().is_none());
        let error = pass().now_or_never().unwrap().unwrap_err();
        assert!(error.kind() == ErrorKind::Limit && error.is_retryable());
        drop(third);
        drop(first);
        let fourth = fourth.now_or_never().unwrap().unwrap();
        assert!(pass().now_or_never().is_none());
        drop(fourth);
        assert!(pass().now_or_never().is_some());
    }

    #[test]
    fn a_permit_given_to_somebody_who_left_is_free_again() {
        let gate = Gate::new(1, 9);
        let first = gate.pass().now_or_never().unwrap().unwrap();
        let mut second = Box::pin(gate.pass());
        assert!((&mut second).now_or_never().is_none());
        drop(first); // given to the second, which does not look
        drop(second);
        assert!(gate.pass().now_or_never().is_some());
    }
}
