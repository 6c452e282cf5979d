//! The heaps of the C library's allocator.

/// Lets glibc's allocator keep at most so many arenas, which it shares among all threads; returns whether
/// it does. It has to be called before other threads are started, and does nothing where the allocator is
/// another.
///
/// Left alone, glibc gives threads up to eight arenas for each core, and each keeps some of what it once
/// lent: a server whose threads come and go takes twice the memory or more, and goes on growing for
/// minutes. One or two are enough for programs that compute most of the time. `MALLOC_ARENA_MAX` in the
/// environment says the same from outside and goes before this
/// ([mallopt(3)](https://man7.org/linux/man-pages/man3/mallopt.3.html)).
///
/// # Examples
/// ```
/// let limited = openledger_kernels::limit_arenas(2);
/// assert_eq!(limited, cfg!(all(target_os = "linux", target_env = "gnu")));
/// ```
#[cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the C library offers nothing else")
)]
pub fn limit_arenas(most: u8) -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let most = libc::c_int::from(most.max(1));
        if std::env::var_os("MALLOC_ARENA_MAX").is_some() {
            return true;
        }
        // SAFETY: it takes two numbers and a lock of its own.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, most) == 1 }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    {
        let _ = most;
        false
    }
}
