//! How much an engine takes on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How much an engine takes on at a time, and for whom.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Threads that compute, this engine's own; 0 for the pool of the process, which it then shares.
    pub threads: usize,
    /// Requests that run at a time; at least one does.
    pub max_running: usize,
    /// Requests taken in all, running and waiting; more are refused.
    pub max_queued: usize,
    /// Requests taken of one tenant, those without a tenant counting as one; more are refused.
    pub max_tenant_queued: usize,
    /// Tokens a step computes: one for each answer under way, the rest of prompts. However many answers are
    /// under way, prompts get 16 of them on top, or as many as this says if that is less, so that they get
    /// on. Smaller steps make answers flow more evenly, larger ones read prompts faster.
    pub max_step_tokens: usize,
    /// Bytes of keys and values, used as they are needed.
    pub cache_bytes: usize,
    /// Whether keys and values are rounded to eight bits, with a scale for each head's part of a row: room for
    /// nearly four times the tokens, and answers that differ a little.
    pub cache_in_eight_bits: bool,
    /// Whether prompts that begin alike share what was computed, with the same adapter and tenant.
    pub prefix_cache: bool,
    /// Tokens that a step may guess of each answer and check beside its next one ([`Lookup`](crate::Lookup)),
    /// where it has rows to spare; 0 for none. Answers do not change: those that repeat their prompts or
    /// themselves come sooner.
    pub draft_tokens: usize,
    /// How long an engine with nothing to do waits for another request after one came, a second at most, and
    /// four times as long in all: requests that come together begin together, and none of them waits for
    /// another's whole prompt. One that comes alone begins so much later.
    pub gather: Duration,
    /// How often a request that does not fit yet is passed over before it holds up the others.
    pub max_skips: usize,
    /// What a token of a prompt counts, cached or not, when tenants and adapters take turns.
    pub input_cost: u32,
    /// What a token written counts.
    pub output_cost: u32,
    /// How much more than others a tenant gets when there is not enough for all; 1 for those not named.
    pub tenant_weights: BTreeMap<Arc<str>, u32>,
}

impl Default for EngineOptions {
    /// The threads of the process, 32 running, 1,024 in all and of a tenant, steps of 256 tokens, 1 GiB of cache shared by
    /// prefix, no drafts, a millisecond for requests that come together, 32 skips; a token written counts
    /// twice one that is read.
    fn default() -> Self {
        Self {
            threads: 0,
            max_running: 32,
            max_queued: 1024,
            max_tenant_queued: 1024,
            max_step_tokens: 256,
            cache_bytes: 1 << 30,
            cache_in_eight_bits: false,
            prefix_cache: true,
            draft_tokens: 0,
            gather: Duration::from_millis(1),
            max_skips: 32,
            input_cost: 1,
            output_cost: 2,
            tenant_weights: BTreeMap::new(),
        }
    }
}

impl EngineOptions {
    /// Returns this with so many threads of its own.
    #[must_use]
    pub const fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Returns this with another number of requests that run at a time, at least one.
    #[must_use]
    pub fn with_max_running(mut self, max_running: usize) -> Self {
        self.max_running = max_running.max(1);
        self
    }

    /// Returns this with another number of requests taken in all.
    #[must_use]
    pub const fn with_max_queued(mut self, max_queued: usize) -> Self {
        self.max_queued = max_queued;
        self
    }

    /// Returns this with another number of requests taken of one tenant.
    #[must_use]
    pub const fn with_max_tenant_queued(mut self, max_tenant_queued: usize) -> Self {
        self.max_tenant_queued = max_tenant_queued;
        self
    }

    /// Returns this with steps of another size, at least one token.
    #[must_use]
    pub fn with_max_step_tokens(mut self, max_step_tokens: usize) -> Self {
        self.max_step_tokens = max_step_tokens.max(1);
        self
    }

    /// Returns this with more or less memory for keys and values.
    #[must_use]
    pub const fn with_cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }

    /// Returns this with keys and values in eight bits, or not.
    #[must_use]
    pub const fn with_cache_in_eight_bits(mut self, eight_bits: bool) -> Self {
        self.cache_in_eight_bits = eight_bits;
        self
    }

    /// Returns this guessing so many tokens of an answer at a time.
    #[must_use]
    pub const fn with_draft_tokens(mut self, draft_tokens: usize) -> Self {
        self.draft_tokens = draft_tokens;
        self
    }

    /// Returns this waiting longer or shorter for requests that come together, or not at all.
    #[must_use]
    pub const fn with_gather(mut self, gather: Duration) -> Self {
        self.gather = gather;
        self
    }

    /// Returns this sharing what was computed for the beginnings of prompts, or not.
    #[must_use]
    pub const fn with_prefix_cache(mut self, prefix_cache: bool) -> Self {
        self.prefix_cache = prefix_cache;
        self
    }

    /// Returns this with another number of times that a request may be passed over.
    #[must_use]
    pub const fn with_max_skips(mut self, max_skips: usize) -> Self {
        self.max_skips = max_skips;
        self
    }

    /// Returns this with other costs of tokens read and written.
    #[must_use]
    pub const fn with_costs(mut self, input: u32, output: u32) -> Self {
        self.input_cost = input;
        self.output_cost = output;
        self
    }

    /// Returns this with a tenant that gets `weight` times as much as others, at least once.
    #[must_use]
    pub fn with_tenant_weight(mut self, tenant: impl Into<Arc<str>>, weight: u32) -> Self {
        self.tenant_weights.insert(tenant.into(), weight.max(1));
        self
    }
}
