//! How much memory adapters take, what may be loaded, and how much of it at a time.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{FileLimits, Sources};
use crate::AdapterPrecision;

/// How much memory adapters take, what may be loaded, and how much of it at a time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdapterOptions {
    /// Where adapters come from: nowhere, unless told.
    pub sources: Sources,
    /// Bytes of adapters that are ready to multiply by: 4 GiB.
    pub ready_bytes: u64,
    /// Bytes of adapters in memory as their files are, to be made ready without their source: 8 GiB.
    pub memory_bytes: u64,
    /// Bytes of merged copies: 4 GiB. There are none before [`merge`](super::Adapters::merge) is called.
    pub merged_bytes: u64,
    /// The largest files that are fetched.
    pub files: FileLimits,
    /// The largest adapter, ready, in bytes: 2 GiB.
    pub max_bytes: u64,
    /// The largest rank: 512.
    pub max_rank: usize,
    /// What the numbers of those that are ready are kept in: `f32`.
    pub precision: AdapterPrecision,
    /// How many are fetched at a time: 8.
    pub max_fetches: usize,
    /// How many are made ready at a time, each on a thread of its own: 2. Of compositions that take
    /// minutes (TIES, DARE) one more.
    pub max_preparations: usize,
    /// How many wait for either; more are refused: 1,024.
    pub max_waiting: usize,
    /// For how long a failure is told again without another try: 1 second first, twice as long each
    /// time it fails again, at most 60.
    pub failures: [Duration; 2],
    pub(super) clock: Clock,
}

/// What the time is: that of the system, or a test's.
#[derive(Clone)]
pub(super) struct Clock(Arc<dyn Fn() -> Instant + Send + Sync>);

impl Default for AdapterOptions {
    fn default() -> Self {
        Self {
            sources: Sources::new(),
            ready_bytes: 4 << 30,
            memory_bytes: 8 << 30,
            merged_bytes: 4 << 30,
            files: FileLimits::default(),
            max_bytes: 2 << 30,
            max_rank: 512,
            precision: AdapterPrecision::F32,
            max_fetches: 8,
            max_preparations: 2,
            max_waiting: 1024,
            failures: [Duration::from_secs(1), Duration::from_secs(60)],
            clock: Clock::new(Instant::now),
        }
    }
}

impl AdapterOptions {
    /// Returns this with the places adapters come from.
    #[must_use]
    pub fn with_sources(mut self, sources: Sources) -> Self {
        self.sources = sources;
        self
    }

    /// Returns this with other bytes for adapters that are ready.
    #[must_use]
    pub const fn with_ready_bytes(mut self, bytes: u64) -> Self {
        self.ready_bytes = bytes;
        self
    }

    /// Returns this with other bytes for adapters in memory.
    #[must_use]
    pub const fn with_memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Returns this with other bytes for merged copies.
    #[must_use]
    pub const fn with_merged_bytes(mut self, bytes: u64) -> Self {
        self.merged_bytes = bytes;
        self
    }

    /// Returns this with other limits on files.
    #[must_use]
    pub const fn with_files(mut self, files: FileLimits) -> Self {
        self.files = files;
        self
    }

    /// Returns this with another limit on each adapter's memory.
    #[must_use]
    pub const fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Returns this with another limit on ranks.
    #[must_use]
    pub const fn with_max_rank(mut self, rank: usize) -> Self {
        self.max_rank = rank;
        self
    }

    /// Returns this with another precision for adapters that are ready.
    #[must_use]
    pub const fn with_precision(mut self, precision: AdapterPrecision) -> Self {
        self.precision = precision;
        self
    }

    /// Returns this with other numbers of adapters that are fetched and made ready at a time, at least
    /// one, and that wait for it.
    #[must_use]
    pub fn with_parallel(mut self, fetches: usize, preparations: usize, waiting: usize) -> Self {
        self.max_fetches = fetches.max(1);
        self.max_preparations = preparations.max(1);
        self.max_waiting = waiting;
        self
    }

    /// Returns this remembering failures for other times.
    #[must_use]
    pub const fn with_failures(mut self, first: Duration, longest: Duration) -> Self {
        self.failures = [first, longest];
        self
    }

    /// Returns this with another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(now);
        self
    }
}

impl Clock {
    fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(super) fn now(&self) -> Instant {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
