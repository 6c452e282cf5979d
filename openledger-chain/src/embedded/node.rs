//! A chain with what a node remembers beside it: snapshots, filters, accounts it acts for.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

use alloy::primitives::{Address, B256};
use openledger_core::{Error, Result};

use super::{
    Genesis,
    chain::Chain,
    failure::Failure,
    filter::Filters,
    log::Log,
    op::Op,
    transaction::Signed,
    wal::{LARGEST, Record},
};

/// A development node.
pub(super) struct Node {
    pub(super) chain: Chain,
    pub(super) filters: Filters,
    pub(super) acting: Acting,
    snapshots: BTreeMap<u64, Chain>,
    taken: u64,
    log: Option<Log>,
    clock: Option<Clock>,
}

/// Tells Unix time.
pub(super) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The accounts for which a node sends what they did not sign.
#[derive(Debug, Default)]
pub(super) struct Acting {
    pub(super) accounts: HashSet<Address>,
    pub(super) everybody: bool,
}

/// What came of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Done {
    /// A change of which there is nothing to tell.
    Nothing,
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
            log: None,
            clock: None,
        }
    }

    /// Replays the log at `path`, or begins one, and goes on in it.
    pub(super) fn open(path: &Path, genesis: &Genesis) -> Result<Self> {
        let mut node = Self::new(genesis);
        let log = Log::open(path, genesis.hash(), |offset, record| {
            node.execute(&record.op).map_err(|failure| {
                let message = format!("the record at offset {offset} cannot be repeated");
                Error::corrupt(message).with_source(format!("{failure:?}"))
            })?;
            let head = node.chain.latest().hash;
            if head != record.head {
                return Err(Error::corrupt(format!(
                    "the record at offset {offset} made block {}, and makes {head} now: other \
                     rules, or another version, wrote it",
                    record.head
                )));
            }
            Ok(())
        })?;
        node.log = Some(log);
        Ok(node)
    }

    /// Keeps the time of blocks to come from falling behind a clock.
    pub(super) fn follow(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// Changes the chain; a change that fails changes nothing.
    ///
    /// Nobody may be told of it before [`flush`](Self::flush).
    pub(super) fn apply(&mut self, op: &Op) -> Result<Done, Failure> {
        let makes_block = matches!(op, Op::Transaction(_) | Op::Unsigned { .. } | Op::Mine { .. });
        if let (true, Some(clock)) = (makes_block, &self.clock) {
            let now = clock();
            if now > self.chain.upcoming_timestamp() {
                self.record(&Op::NextTimestamp(now))?;
            }
        }
        self.record(op)
    }

    fn record(&mut self, op: &Op) -> Result<Done, Failure> {
        if let Some(log) = &self.log {
            log.ready().map_err(|error| unwritten(&error))?;
            if op.size() > LARGEST {
                let message = format!("more than {LARGEST} bytes, which no log holds");
                return Err(Failure::Refused(message));
            }
        }
        let done = self.execute(op)?;
        if let Some(log) = &mut self.log {
            let record = Record { op: op.clone(), head: self.chain.latest().hash };
            log.append(&record).map_err(|error| unwritten(&error))?;
        }
        Ok(done)
    }

    /// Returns when everything that was done is on disk, if it has to be.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.log.as_mut().map_or(Ok(()), |log| log.flush().map_err(|error| unwritten(&error)))
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
        Ok(Done::Nothing)
    }
}

impl Acting {
    /// Whether the node sends for this account.
    pub(super) fn covers(&self, account: Address) -> bool {
        self.everybody || self.accounts.contains(&account)
    }
}

fn unwritten(error: &Error) -> Failure {
    Failure::Refused(error.report())
}
