//! Work that is given up on when it takes too long.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use futures::channel::oneshot;
use openledger_core::{Error, ErrorKind, Result};

use super::places::Places;

/// Threads that work for at most so long, and at most so many of them: others wait in turn.
///
/// A thread cannot be stopped: one that is late keeps its place until it is done, so that what never
/// ends cannot take all threads of a machine.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    limit: Duration,
    places: Places,
}

/// Automata are built by recursion over what a stranger wrote.
const STACK: usize = 16 << 20;

impl Patience {
    pub(super) fn new(limit: Duration, places: usize) -> Self {
        Self { limit, places: Places::new(places) }
    }

    /// Waits for a place, does `prepare` with as much time as it takes, then `work` within the limit.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if too many wait (which is worth trying again) or time is up;
    /// [`ErrorKind::Unavailable`] without threads or if the work panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        tenant: Option<Arc<str>>,
        prepare: impl FnOnce() + Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let place = Arc::new(self.places.take(tenant).await?);
        let (tell, told) = oneshot::channel();
        let limit = self.limit;
        spawn(move || {
            prepare();
            let (finish, finished) = mpsc::channel();
            let held = Arc::clone(&place);
            let worker = spawn(move || {
                let done = work();
                drop(held);
                // Nobody waits any more if it is late.
                let _ = finish.send(done);
            });
            let result = worker.and_then(|()| {
                finished.recv_timeout(limit).map_err(|e| match e {
                    mpsc::RecvTimeoutError::Timeout => {
                        place.is_late();
                        let message = "a constraint that takes longer than";
                        let message = format!("{message} {limit:?}: make it simpler");
                        Error::new(ErrorKind::Limit, message)
                    }
                    mpsc::RecvTimeoutError::Disconnected => broken(),
                })
            });
            drop(place);
            let _ = tell.send(result);
        })?;
        told.await.map_err(|_| broken())?
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name("openledger-constraint".to_owned()).stack_size(STACK);
    thread.spawn(work).map(drop).map_err(|e| {
        Error::new(ErrorKind::Unavailable, "no thread for a constraint").with_source(e)
    })
}

fn broken() -> Error {
    Error::new(ErrorKind::Unavailable, "a thread for constraints broke off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_is_given_up_and_keeps_its_place() {
        let patience = Patience::new(Duration::from_millis(1), 1);
        let (release, hold) = mpsc::channel::<()>();
        let error = patience.run(None, || {}, move || hold.recv().is_err()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains("longer than 1ms"), "{error}");
        let error = patience.run(None, || {}, || ()).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("too many"), "{error}");
        drop(release);
        let patient = Patience { limit: Duration::from_secs(60), ..patience };
        while patient.run(None, || {}, || ()).await.is_err() {
            thread::yield_now();
        }
    }

    #[tokio::test]
    async fn panics_are_errors_and_give_the_place_back() {
        let patience = Patience::new(Duration::from_secs(60), 1);
        for _ in 0..3 {
            let error = patience.run(None, || {}, || panic!("on purpose")).await.unwrap_err();
            assert_eq!(error.to_string(), "a thread for constraints broke off");
        }
        assert_eq!(patience.run(None, || {}, || 7).await.unwrap(), 7);
    }
}
