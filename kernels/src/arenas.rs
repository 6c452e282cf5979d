//! The heaps of the C library's allocator.

/// Lets glibc's allocator keep at most so many arenas, which all threads share from then on; returns whether it
/// does. It does not where the allocator is another or `MALLOC_ARENA_MAX` in the environment says how many, and
/// once other threads run: call it first of all.
///
/// Left alone, glibc gives threads up to eight arenas for each core, and each keeps some of what it once
/// lent: a small server whose threads come and go took twice the memory on two cores, and grew for minutes. One
/// or two are enough for programs that compute most of the time
/// ([mallopt(3)](https://man7.org/linux/man-pages/man3/mallopt.3.html)).
///
/// # Examples
/// ```
/// // The first line of `main`.
/// openledger_kernels::limit_arenas(2);
/// ```
pub fn limit_arenas(most: u8) -> bool {
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() || !is_alone() {
        return false;
    }
    limit(most.max(1))
}

/// Whether this is surely the only thread of the process.
fn is_alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library offers nothing else")]
fn limit(most: u8) -> bool {
    // SAFETY: it takes two numbers, and no other thread reads the limit meanwhile.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, most.into()) == 1 }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn limit(_: u8) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_other_threads_nothing_is_limited() {
        std::thread::scope(|scope| {
            let (end, wait) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || wait.recv());
            assert!(!limit_arenas(2));
            drop(end);
        });
    }
}
