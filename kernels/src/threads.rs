//! Work that the threads of a pool share, in pieces that follow each other closely.
//!
//! A decoder's step is some hundred pieces of work of less than a millisecond, and a thread that sleeps takes
//! a good part of that to wake up. So within [`awake`] threads look out for the next piece for a while
//! before they sleep.

use std::{
    hint::spin_loop,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rayon::Yield;

/// How long a thread looks out for work: longer than what one thread does alone between two pieces of a step.
const PATIENCE: Duration = Duration::from_micros(200);

/// Runs `work` on a thread of the current pool, while the others wait for the pieces it shares: for 200
/// microseconds each time, then they sleep. On one of them it need not wake another for each product, as it
/// would from outside.
///
/// No result depends on it, and a panic of `work` reaches who called. Meant for work of at most some seconds which
/// keeps all threads busy most of the time, such as a step of a server or of training.
///
/// # Examples
/// ```
/// use openledger_kernels::{Into, Mat, awake, gemm};
///
/// let (a, b, mut c) = ([1.0, 2.0], [3.0, 4.0], [0.0]);
/// awake(|| gemm(Into::Set(&mut c), Mat::new(&a, 1, 2), Mat::new(&b, 2, 1)));
/// assert_eq!(c, [11.0]);
/// ```
pub fn awake<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| {
        let own = rayon::current_thread_index();
        let over = Over::default();
        for _ in 1..rayon::current_num_threads() {
            // Nobody waits for these: a thread may find work of others that takes long.
            let over = Arc::clone(&over.0);
            rayon::spawn(move || {
                if rayon::current_thread_index() != own {
                    look_out(&over);
                }
            });
        }
        work()
    })
}

/// Says so when it is dropped, were it by a panic.
#[derive(Default)]
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does what there is to do for the pool until it is over, or there was nothing for long.
fn look_out(over: &AtomicBool) {
    let mut idle = Instant::now();
    while !over.load(Ordering::Relaxed) {
        if rayon::yield_now() == Some(Yield::Executed) {
            idle = Instant::now();
        } else if idle.elapsed() > PATIENCE {
            return;
        }
        (0..8).for_each(|_| spin_loop());
    }
}

/// Does each piece of work, on all threads of the current pool.
pub(crate) fn each<T>(pieces: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    each_with(pieces, || (), |(), piece| work(piece));
}

/// The same with something of its own for each thread, made when it begins.
pub(crate) fn each_with<T, S>(
    pieces: impl Iterator<Item = T> + Send,
    own: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) + Sync,
) {
    if rayon::current_num_threads() == 1 {
        let mut own = own();
        return pieces.for_each(|piece| work(&mut own, piece));
    }
    let (pieces, begun) = (Mutex::new(pieces), AtomicUsize::new(0));
    // A piece has begun before another thread can see that none is left.
    let next = || {
        let mut pieces = pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let piece = pieces.next();
        begun.fetch_add(piece.is_some().into(), Ordering::Relaxed);
        piece
    };
    let take_part = || {
        let mut own = own();
        while let Some(piece) = next() {
            work(&mut own, piece);
            begun.fetch_sub(1, Ordering::Release);
        }
    };
    rayon::scope(|scope| {
        for _ in 1..rayon::current_num_threads() {
            scope.spawn(|_| take_part());
        }
        take_part();
        // The others are at their last pieces.
        let since = Instant::now();
        while begun.load(Ordering::Acquire) > 0 && since.elapsed() < PATIENCE {
            spin_loop();
        }
    });
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        panic::{AssertUnwindSafe, catch_unwind},
        thread::sleep,
    };

    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn each_piece_is_done_once() {
        for threads in [1, 2, 3] {
            for count in [0, 1, 2, 1000] {
                let done = Mutex::new(Vec::new());
                let share = || each(0..count, |n| done.lock().unwrap().push(n));
                pool(threads).install(share);
                pool(threads).install(|| awake(share));
                let mut done = done.into_inner().unwrap();
                done.sort_unstable();
                let twice: Vec<i32> = (0..count).flat_map(|n| [n, n]).collect();
                assert_eq!(done, twice);
            }
        }
    }

    #[test]
    fn threads_that_sleep_or_wait_awake_take_part() {
        let met = || {
            let threads = Mutex::new(BTreeSet::new());
            each(0..40, |_| {
                threads.lock().unwrap().insert(rayon::current_thread_index());
                sleep(Duration::from_millis(1));
            });
            threads.into_inner().unwrap().len()
        };
        let pool = pool(2);
        assert_eq!(pool.install(met), 2);
        let late = || {
            sleep(5 * PATIENCE);
            met()
        };
        assert_eq!(pool.install(|| awake(|| [met(), met(), late()])), [2, 2, 2]);
    }

    #[test]
    fn threads_have_something_of_their_own() {
        let made = AtomicUsize::new(0);
        let own = || made.fetch_add(1, Ordering::Relaxed);
        let seen = Mutex::new(BTreeSet::new());
        pool(3).install(|| {
            each_with(0..100, own, |own, _| {
                seen.lock().unwrap().insert((*own, rayon::current_thread_index()));
            });
        });
        let seen = seen.into_inner().unwrap();
        let threads: BTreeSet<_> = seen.iter().map(|(_, thread)| thread).collect();
        assert_eq!(threads.len(), seen.len());
    }

    #[test]
    fn a_panic_reaches_who_asked_and_the_pool_goes_on() {
        let pool = pool(2);
        let fall = || {
            each(0..10, |n| {
                sleep(Duration::from_millis(1));
                assert_ne!(n, 3);
            });
        };
        let caught = catch_unwind(AssertUnwindSafe(|| pool.install(|| awake(fall))));
        assert!(caught.is_err());
        assert_eq!(pool.install(|| awake(|| 7)), 7);
    }

    #[test]
    fn who_is_awake_does_not_wait_for_the_work_of_others() {
        let pool = pool(2);
        let (begun, go_on) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pool.install(|| {
                    awake(|| {
                        // Whoever looks out for work finds this.
                        let (begun, go_on) = (&begun, &go_on);
                        scope.spawn(|| {
                            pool.install(|| {
                                begun.store(true, Ordering::Relaxed);
                                while !go_on.load(Ordering::Relaxed) {
                                    sleep(PATIENCE);
                                }
                            });
                        });
                        while !begun.load(Ordering::Relaxed) {
                            sleep(PATIENCE);
                        }
                    });
                });
                go_on.store(true, Ordering::Relaxed);
            });
        });
    }

    #[test]
    fn many_may_be_awake_in_one_pool() {
        let pool = pool(2);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        pool.install(|| {
                            awake(|| {
                                each(0..10, |n| {
                                    let _ = sum.fetch_add(n, Ordering::Relaxed);
                                })
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 50 * 45);
    }
}
