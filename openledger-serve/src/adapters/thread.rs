//! Work that blocks, on threads of its own.
//!
//! Loading must not wait on the engine's thread, nor on the pool its arithmetic runs on, nor on the
//! executor's threads; and no executor is asked for. A thread is a pool of one: what multiplies there
//! would otherwise do so on the pool of the whole process, which is the engine's.

use std::sync::Arc;

use futures::channel::oneshot;
use openledger_core::{Error, ErrorKind, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::gate::Permit;

/// Runs `work` on a thread. It runs to its end even if nobody waits any more, unless it asks whether
/// anybody does; it keeps `permit` as long as it runs.
pub(super) async fn on_thread<T: Send + 'static>(
    permit: Permit,
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (done, result) = oneshot::channel();
    {
        let thread = permit.take_thread().map_or_else(new_thread, Ok)?;
        let here = Arc::clone(&thread);
        thread.spawn(move || {
            let result = work(&|| !done.is_canceled());
            // Who is told finds the place free, and who takes it the thread.
            permit.leave_thread(here);
            drop(permit);
            // Whoever waited may have left.
            drop(done.send(result));
        });
    }
    let stopped =
        |_| Error::new(ErrorKind::Unavailable, "loading an adapter was cut off by a panic");
    result.await.map_err(stopped)?
}

/// Starts a thread that ends with the last who holds it.
fn new_thread() -> Result<Arc<ThreadPool>> {
    let thread = ThreadPoolBuilder::new()
        .num_threads(1)
        .thread_name(|_| "openledger-load".to_owned())
        // Whoever waits hears of it, and nobody else.
        .panic_handler(|_| {})
        .build();
    let no_thread =
        |e| Error::new(ErrorKind::Unavailable, "no thread to load an adapter on").with_source(e);
    thread.map(Arc::new).map_err(no_thread)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::{FutureExt, executor::block_on};

    use super::{super::gate::Gate, *};

    #[test]
    fn work_that_nobody_waits_for_keeps_its_place_until_it_ends() {
        let gate = Gate::new(1, 9);
        let (go_on, wait) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let permit = block_on(gate.pass()).unwrap();
        let mut work = Box::pin(on_thread(permit, move |wanted| {
            wait.recv().unwrap();
            tell.send(wanted()).unwrap();
            Ok(())
        }));
        assert!((&mut work).now_or_never().is_none());
        drop(work);
        let mut next = Box::pin(gate.pass());
        assert!((&mut next).now_or_never().is_none(), "the thread still works");
        go_on.send(()).unwrap();
        assert!(!told.recv().unwrap(), "it knows that nobody waits");
        block_on(next).unwrap();
    }

    #[test]
    fn what_multiplies_there_does_so_there_and_a_panic_is_an_error() {
        let gate = Gate::new(1, 9);
        let permit = || block_on(gate.pass()).unwrap();
        let pool = block_on(on_thread(permit(), |_| {
            Ok((rayon::current_thread_index(), rayon::current_num_threads()))
        }));
        assert_eq!(pool.unwrap(), (Some(0), 1));
        // The next has the same thread; a new one comes after a panic.
        let here = || block_on(on_thread(permit(), |_| Ok(std::thread::current().id()))).unwrap();
        let first = here();
        assert_eq!(here(), first);
        let panics = on_thread::<()>(permit(), |_| panic!("a bug in what loads"));
        assert_eq!(block_on(panics).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_ne!(here(), first);
    }
}
