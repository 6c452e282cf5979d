//! A bounded queue of answers, and the thread that works it off.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
};

use futures::channel::oneshot;
use openledger_core::{Error, ErrorKind, Result};

use super::{Answer, Overflow, QueueOptions, QueueStats};

/// Panics of what it calls do not end it.
const LIVES: &str = "the thread lives as long as a handle";

/// A handle on the queue; the thread ends, after what is in it, with the last handle and ticket.
pub(crate) struct Queue<A> {
    inbox: mpsc::Sender<Job<A>>,
    places: Arc<Places>,
}

enum Job<A> {
    Work(Box<Work<A>>),
    Flush(oneshot::Sender<()>),
}

struct Work<A> {
    answer: Answer,
    place: Place,
    reply: Option<oneshot::Sender<Result<A>>>,
}

/// Who is in the queue.
struct Places {
    options: QueueOptions,
    taken: AtomicUsize,
    done: AtomicU64,
    failed: AtomicU64,
    unseen: AtomicU64,
    handed_over: AtomicU64,
    refused: AtomicU64,
}

/// A place in the queue, free again when this is dropped.
struct Place(Arc<Places>);

impl<A: Send + 'static> Queue<A> {
    pub(crate) fn start(
        mut work: impl FnMut(&Answer) -> Result<A> + Send + 'static,
        mut sink: impl FnMut(&Answer, &Result<A>) + Send + 'static,
        options: QueueOptions,
    ) -> Result<Self> {
        let (inbox, jobs) = mpsc::channel();
        let places = Arc::new(Places {
            options,
            taken: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unseen: AtomicU64::new(0),
            handed_over: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let run = move || {
            for job in jobs {
                match job {
                    Job::Work(job) => job.run(&mut work, &mut sink),
                    // Whoever waited may have left.
                    Job::Flush(done) => drop(done.send(())),
                }
            }
        };
        std::thread::Builder::new().name("openledger-attribution".to_owned()).spawn(run).map_err(
            |e| Error::new(ErrorKind::Unavailable, "no thread for attribution").with_source(e),
        )?;
        Ok(Self { inbox, places })
    }

    /// Lets a request in.
    pub(crate) fn ticket(&self) -> Result<Ticket<A>> {
        let place = match self.places.options.overflow {
            Overflow::Refuse => Some(self.places.take().ok_or_else(|| {
                self.places.refused.fetch_add(1, Ordering::Relaxed);
                let message =
                    format!("{} answers wait to be attributed", self.places.options.capacity);
                Error::new(ErrorKind::Limit, message).with_retryable(true)
            })?),
            Overflow::HandTo(_) => None,
        };
        Ok(Ticket { queue: self.clone(), place })
    }

    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.inbox.send(Job::Flush(done)).unwrap_or_else(|_| unreachable!("{LIVES}"));
        flushed.await.expect(LIVES);
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let places = &self.places;
        QueueStats {
            taken: places.taken.load(Ordering::Acquire),
            done: places.done.load(Ordering::Relaxed),
            failed: places.failed.load(Ordering::Relaxed),
            unseen: places.unseen.load(Ordering::Relaxed),
            handed_over: places.handed_over.load(Ordering::Relaxed),
            refused: places.refused.load(Ordering::Relaxed),
        }
    }
}

impl<A> Clone for Queue<A> {
    fn clone(&self) -> Self {
        Self { inbox: self.inbox.clone(), places: Arc::clone(&self.places) }
    }
}

impl<A> fmt::Debug for Queue<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("options", &self.places.options).finish_non_exhaustive()
    }
}

impl<A> Work<A> {
    fn run(
        self,
        work: &mut impl FnMut(&Answer) -> Result<A>,
        sink: &mut impl FnMut(&Answer, &Result<A>),
    ) {
        let Self { answer, place, reply } = self;
        let result = catch_unwind(AssertUnwindSafe(|| work(&answer))).unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unsupported, "the attribution of the answer panicked"))
        });
        let count = if result.is_ok() { &place.0.done } else { &place.0.failed };
        count.fetch_add(1, Ordering::Relaxed);
        if catch_unwind(AssertUnwindSafe(|| sink(&answer, &result))).is_err() {
            place.0.unseen.fetch_add(1, Ordering::Relaxed);
        }
        drop(place);
        if let Some(reply) = reply {
            // Whoever asked for it may have left.
            let _ = reply.send(result);
        }
    }
}

impl Places {
    fn take(self: &Arc<Self>) -> Option<Place> {
        let more = |taken: usize| (taken < self.options.capacity).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request's way into the queue. Dropping it frees its place.
pub(crate) struct Ticket<A> {
    queue: Queue<A>,
    place: Option<Place>,
}

impl<A: Send + 'static> Ticket<A> {
    /// Hands in the answer, or hands it to whoever takes those without a place. Never waits.
    pub(crate) fn hand_in(self, answer: Answer, reply: Option<oneshot::Sender<Result<A>>>) {
        let Self { queue, place } = self;
        let places = &queue.places;
        match (place.or_else(|| places.take()), &places.options.overflow) {
            (Some(place), _) => {
                let work = Job::Work(Box::new(Work { answer, place, reply }));
                queue.inbox.send(work).unwrap_or_else(|_| unreachable!("{LIVES}"));
            }
            (None, Overflow::HandTo(other)) => {
                places.handed_over.fetch_add(1, Ordering::Relaxed);
                other(answer);
            }
            (None, Overflow::Refuse) => unreachable!("a ticket that may be refused has a place"),
        }
    }
}
