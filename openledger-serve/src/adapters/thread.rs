//! Work that blocks, on threads of its own.
//!
//! Loading must not wait on the engine's thread, nor on the pool its arithmetic runs on, nor on the
//! executor's threads; and no executor is asked for. A load takes milliseconds and a thread some
//! microseconds, so each piece of work gets a new one; how many there are is bounded by
//! [`Gate`](super::gate::Gate)s.

use std::thread::Builder;

use futures::channel::oneshot;
use openledger_core::{Error, ErrorKind, Result};

/// Runs `work` on a thread. It runs to its end even if nobody waits any more.
pub(super) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (done, result) = oneshot::channel();
    let run = move || {
        // Whoever waited may have left.
        drop(done.send(work()));
    };
    Builder::new().name("openledger-load".to_owned()).spawn(run).map_err(|e| {
        Error::new(ErrorKind::Unavailable, "no thread to load an adapter on").with_source(e)
    })?;
    let stopped =
        |_| Error::new(ErrorKind::Unavailable, "loading an adapter was cut off by a panic");
    result.await.map_err(stopped)?
}
