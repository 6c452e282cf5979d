//! Which adapters are where, and how loading goes.

use std::time::Duration;

use openledger_core::AdapterId;

/// Which adapters are where.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Residency {
    /// Every adapter that is in memory or that an alias was given to, lately used ones first.
    pub adapters: Vec<Resident>,
    /// Bytes of those that are ready.
    pub ready: Budget,
    /// Bytes of those in memory.
    pub memory: Budget,
    /// Bytes of merged copies.
    pub merged: Budget,
}

/// Bytes, and how many there may be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Budget {
    /// Bytes that are taken.
    pub used: u64,
    /// The most that may be.
    pub max: u64,
}

/// Where one adapter is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Resident {
    /// Its content.
    pub id: AdapterId,
    /// The aliases that name it now, ascending; none after they were all given to others.
    pub aliases: Vec<String>,
    /// The fastest tier it is in.
    pub tier: Tier,
    /// Its different ranks, ascending, as long as it is ready.
    pub ranks: Vec<usize>,
    /// Bytes it takes ready to multiply by, or 0.
    pub ready_bytes: u64,
    /// Bytes it takes as its files are, or 0.
    pub memory_bytes: u64,
    /// Bytes of its merged copy, or 0.
    pub merged_bytes: u64,
    /// Whether an alias keeps it ready.
    pub pinned: bool,
    /// How many leases on it are held, every clone counted.
    pub leases: usize,
    /// For how long nobody asked for it; unknown once it has left memory.
    pub idle: Option<Duration>,
}

/// Where an adapter is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "the tiers there are")]
pub enum Tier {
    /// Where it comes from.
    Source,
    /// In memory, as its files are.
    Memory,
    /// Ready to multiply by.
    Ready,
}

/// How loading went so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct AdapterCounts {
    /// Leases on what was ready.
    pub hits: u64,
    /// Leases for which something had to be made ready, or could not be.
    pub misses: u64,
    /// Adapters fetched.
    pub fetches: u64,
    /// How long that took in all.
    pub fetching: Duration,
    /// Adapters made ready.
    pub preparations: u64,
    /// How long that took in all.
    pub preparing: Duration,
    /// Fetches and preparations that failed.
    pub failures: u64,
    /// Loads refused because all that was ready was leased, or too many waited.
    pub refusals: u64,
    /// Adapters that were ready and made room for others.
    pub ready_evictions: u64,
    /// Adapters in memory that made room for others.
    pub memory_evictions: u64,
}
