//! What somebody who asks again has not been told yet.

use std::collections::BTreeMap;

use alloy::rpc::types::{Filter, FilterChanges, Log};

use super::{
    chain::Chain,
    failure::Failure,
    logs::{self, Range},
};

/// Filters kept at once; the oldest gives way to a new one.
const FILTERS: usize = 1_024;

/// All filters by their number.
#[derive(Debug, Default)]
pub(super) struct Filters {
    filters: BTreeMap<u64, Follower>,
    made: u64,
}

#[derive(Debug)]
struct Follower {
    what: What,
    /// The first block it was not told of.
    next: u64,
    /// Logs it was told of, in blocks that are gone.
    removed: Vec<Log>,
}

/// What a filter reports.
#[derive(Debug)]
pub(super) enum What {
    /// Hashes of blocks.
    Blocks,
    /// Hashes of transactions.
    Transactions,
    /// Logs that match.
    Logs(Box<Filter>),
}

impl Filters {
    /// Begins to follow a chain from its next block; returns the filter's number.
    pub(super) fn make(&mut self, what: What, chain: &Chain) -> u64 {
        self.made += 1;
        if self.filters.len() >= FILTERS {
            self.filters.pop_first();
        }
        let next = chain.head() + 1;
        self.filters.insert(self.made, Follower { what, next, removed: Vec::new() });
        self.made
    }

    pub(super) fn remove(&mut self, id: u64) -> bool {
        self.filters.remove(&id).is_some()
    }

    /// Returns what is new since it was asked last.
    pub(super) fn changes(&mut self, id: u64, chain: &Chain) -> Result<FilterChanges, Failure> {
        let follower = self.filters.get_mut(&id).ok_or_else(|| unknown(id))?;
        let blocks = (follower.next..=chain.head()).filter_map(|number| chain.block(number));
        let changes = match &follower.what {
            What::Blocks => FilterChanges::Hashes(blocks.map(|block| block.hash).collect()),
            What::Transactions => FilterChanges::Hashes(
                blocks
                    .filter_map(|block| block.included.as_ref())
                    .map(|included| *included.envelope.tx_hash())
                    .collect(),
            ),
            What::Logs(filter) => {
                let asked = Range::followed(filter);
                let range = Range { from: asked.from.max(follower.next), to: asked.to };
                let found = logs::find(chain, filter, range)?;
                let mut all = std::mem::take(&mut follower.removed);
                all.extend(found.into_iter().cloned());
                FilterChanges::Logs(all)
            }
        };
        follower.next = chain.head() + 1;
        Ok(changes)
    }

    /// Returns the filter of logs with this number.
    pub(super) fn logs(&self, id: u64) -> Result<&Filter, Failure> {
        match self.filters.get(&id).map(|follower| &follower.what) {
            Some(What::Logs(filter)) => Ok(filter),
            Some(_) => Err(Failure::Refused(format!("filter {id} is not one of logs"))),
            None => Err(unknown(id)),
        }
    }

    /// Notes which of the logs told are gone since the chain was `before`.
    pub(super) fn went_back(&mut self, before: &Chain, now: &Chain) {
        let mut common = before.head().min(now.head());
        let hash = |chain: &Chain, number| chain.block(number).map(|block| block.hash);
        while common > 0 && hash(before, common) != hash(now, common) {
            common -= 1;
        }
        for follower in self.filters.values_mut() {
            if let What::Logs(filter) = &follower.what {
                let asked = Range::followed(filter);
                let told =
                    (common + 1).max(asked.from)..follower.next.min(asked.to.saturating_add(1));
                let logs = told.filter_map(|number| before.block(number)).flat_map(|b| b.logs());
                let gone = logs.filter(|log| filter.matches(&log.inner));
                follower.removed.extend(gone.map(|log| Log { removed: true, ..log.clone() }));
            }
            follower.next = follower.next.min(common + 1);
        }
    }
}

fn unknown(id: u64) -> Failure {
    Failure::Refused(format!("there is no filter {id}"))
}
