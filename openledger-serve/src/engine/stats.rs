//! What an engine is doing, for dashboards and routers.

use openledger_core::AdapterId;

/// What an engine was doing after its last step. Counts without a unit are totals since it began.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that run.
    pub running: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Adapters of those that run, each once, in the order of their ids.
    pub running_adapters: Vec<AdapterId>,
    /// Adapters of those that wait, likewise.
    pub waiting_adapters: Vec<AdapterId>,
    /// Pages of the cache that running requests hold, of 16 tokens each.
    pub pages_used: usize,
    /// Pages kept for requests that may begin alike, given up when others need them.
    pub pages_cached: usize,
    /// Pages there are.
    pub pages_total: usize,
    /// Requests that began.
    pub requests: u64,
    /// Those whose beginning was cached.
    pub prefix_hits: u64,
    /// Tokens of prompts.
    pub tokens_in: u64,
    /// Those that were cached.
    pub tokens_cached: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Tokens guessed and checked beside others.
    pub tokens_drafted: u64,
    /// Those that were what the answer went on with.
    pub tokens_accepted: u64,
    /// Requests that had to make way, and were computed again.
    pub preemptions: u64,
    /// Steps made.
    pub steps: u64,
    /// Tokens that went through the model, those computed again included.
    pub tokens_computed: u64,
}
