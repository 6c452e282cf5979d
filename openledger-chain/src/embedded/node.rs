//! A chain with what a node remembers beside it: snapshots, filters, accounts it acts for.

use std::collections::{BTreeMap, HashSet};

use alloy::primitives::{Address, B256};

use super::{
    Genesis, chain::Chain, failure::Failure, filter::Filters, op::Op, transaction::Signed,
};

/// A development node.
pub(super) struct Node {
    pub(super) chain: Chain,
    pub(super) filters: Filters,
    pub(super) acting: Acting,
    snapshots: BTreeMap<u64, Chain>,
    taken: u64,
}

/// The accounts for which a node sends what they did not sign.
#[derive(Debug, Default)]
pub(super) struct Acting {
    pub(super) accounts: HashSet<Address>,
    pub(super) everybody: bool,
}

/// What came of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Done {
    /// Nothing to tell.
    Done,
    /// A transaction with this hash was included.
    Included(B256),
    /// The snapshot with this number was taken.
    Taken(u64),
}

impl Node {
    pub(super) fn new(genesis: &Genesis) -> Self {
        Self {
            chain: Chain::new(genesis),
            filters: Filters::default(),
            acting: Acting::default(),
            snapshots: BTreeMap::new(),
            taken: 0,
        }
    }

    /// Changes the chain; a change that fails changes nothing.
    pub(super) fn apply(&mut self, op: &Op) -> Result<Done, Failure> {
        self.execute(op)
    }

    /// Returns the snapshot with this number.
    pub(super) fn snapshot(&self, id: u64) -> Option<&Chain> {
        self.snapshots.get(&id)
    }

    fn execute(&mut self, op: &Op) -> Result<Done, Failure> {
        let chain = &mut self.chain;
        match *op {
            Op::Transaction(ref raw) => {
                return chain.include(Signed::parse(raw)?, true).map(Done::Included);
            }
            Op::Unsigned { from, ref raw } => {
                let tx = Signed::parse_unsigned(raw, from)?;
                return chain.include(tx, false).map(Done::Included);
            }
            Op::Mine { blocks, interval } => chain.mine(blocks, interval)?,
            Op::NextTimestamp(timestamp) => chain.set_next_timestamp(timestamp)?,
            Op::Interval(seconds) => chain.set_interval(seconds),
            Op::IncreaseTime(seconds) => chain.increase_time(seconds),
            Op::Balance(account, balance) => chain.set_balance(account, balance),
            Op::Nonce(account, nonce) => chain.set_nonce(account, nonce),
            Op::Code(account, ref code) => chain.set_code(account, code.clone().into())?,
            Op::Storage(account, slot, value) => chain.set_storage(account, slot, value),
            Op::RollBack { depth } => {
                let before = chain.clone();
                chain.roll_back(depth)?;
                self.filters.went_back(&before, chain);
            }
            Op::Snapshot => {
                self.taken += 1;
                self.snapshots.insert(self.taken, chain.clone());
                return Ok(Done::Taken(self.taken));
            }
            Op::Restore { id, forget } => {
                let snapshot = self
                    .snapshots
                    .get(&id)
                    .ok_or_else(|| Failure::Refused(format!("there is no snapshot {id}")))?;
                let before = chain.clone();
                chain.restore(snapshot);
                self.filters.went_back(&before, chain);
                if forget {
                    self.snapshots.split_off(&id);
                }
            }
        }
        Ok(Done::Done)
    }
}

impl Acting {
    /// Whether the node sends for this account.
    pub(super) fn covers(&self, account: Address) -> bool {
        self.everybody || self.accounts.contains(&account)
    }
}
