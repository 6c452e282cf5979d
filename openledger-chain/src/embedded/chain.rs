//! Blocks, states and execution.

use std::{collections::VecDeque, sync::Arc};

use alloy::{
    consensus::Header,
    primitives::{Address, B256, Bytes, U256},
};
use revm::{
    Context, ExecuteEvm, MainBuilder, MainContext,
    bytecode::Bytecode,
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{ExecutionResult, ResultAndState},
    },
    database_interface::WrapDatabaseRef,
    primitives::hardfork::SpecId,
};

use super::{
    Genesis,
    block::{Block, Blocks, Included},
    failure::Failure,
    state::{Map, State, View},
    transaction::Signed,
};

/// Gas that one block, and so one transaction, may use.
pub(super) const GAS_LIMIT: u64 = 30_000_000;
/// Blocks whose states are kept: for calls in the past, and for going back.
pub(super) const HISTORY: usize = 256;
/// Empty blocks made at once at the most.
const MINED_AT_ONCE: u64 = 100_000;
/// The rules: those of mainnet since May 2025.
const RULES: SpecId = SpecId::PRAGUE;

/// Everything that happened, as a value: a copy costs nothing and is a snapshot.
#[derive(Clone)]
pub(super) struct Chain {
    chain_id: u64,
    genesis: B256,
    state_roots: bool,
    blocks: Blocks,
    /// Numbers of blocks by their hash, and by the hash of their transaction.
    by_hash: Map<B256, u64>,
    by_transaction: Map<B256, u64>,
    /// States after the last blocks.
    states: VecDeque<Kept>,
    /// Time of the next block, if it was set.
    next_timestamp: Option<u64>,
    /// Seconds between blocks.
    interval: u64,
    /// How often this chain went back; blocks carry it, so that no block after is one from before.
    fork: u64,
}

/// What is kept of the state after a block.
#[derive(Clone)]
struct Kept {
    /// As the block made it.
    sealed: State,
    /// With what was changed by decree until the next block.
    left: State,
}

/// A moment at which calls are executed.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) state: &'a State,
    number: u64,
    timestamp: u64,
}

impl Chain {
    pub(super) fn new(genesis: &Genesis) -> Self {
        let mut state = State::default();
        for (account, balance) in &genesis.balances {
            state.edit(*account, |info| info.balance = *balance);
        }
        let mut chain = Self {
            chain_id: genesis.chain_id,
            genesis: genesis.hash(),
            state_roots: genesis.state_roots,
            blocks: Blocks::new_sync(),
            by_hash: Map::default(),
            by_transaction: Map::default(),
            states: VecDeque::new(),
            next_timestamp: Some(genesis.timestamp),
            interval: 1,
            fork: 0,
        };
        chain.push(state, None);
        chain
    }

    pub(super) const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    pub(super) fn latest(&self) -> &Arc<Block> {
        self.blocks.last().expect("a chain has its first block from the start")
    }

    pub(super) fn head(&self) -> u64 {
        self.latest().header.number
    }

    pub(super) fn block(&self, number: u64) -> Option<&Arc<Block>> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    pub(super) fn block_by_hash(&self, hash: B256) -> Option<&Arc<Block>> {
        self.block(*self.by_hash.get(&hash)?)
    }

    pub(super) fn included(&self, hash: B256) -> Option<&Included> {
        self.block(*self.by_transaction.get(&hash)?)?.included.as_ref()
    }

    pub(super) fn state(&self) -> &State {
        &self.states.back().expect("a chain has its first state from the start").left
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.states.back_mut().expect("a chain has its first state from the start").left
    }

    /// Returns the state after a block, if it is kept, at the block's time.
    ///
    /// Decrees count from the block they follow if that is the latest, as anvil has it.
    pub(super) fn at(&self, number: u64) -> Result<Moment<'_>, Failure> {
        let block = self
            .block(number)
            .ok_or_else(|| Failure::Refused(format!("there is no block {number} yet")))?;
        let oldest = self.blocks.len() - self.states.len();
        let kept = usize::try_from(number).ok().and_then(|number| number.checked_sub(oldest));
        let kept = kept.and_then(|index| self.states.get(index)).ok_or_else(|| {
            Failure::Refused(format!("the state of block {number} is gone; {oldest} is the oldest"))
        })?;
        let state = if number == self.head() { &kept.left } else { &kept.sealed };
        Ok(Moment { state, number, timestamp: block.header.timestamp })
    }

    /// Returns the latest state at the time and number of the block to come.
    pub(super) fn pending(&self) -> Moment<'_> {
        Moment {
            state: self.state(),
            number: self.head() + 1,
            timestamp: self.upcoming_timestamp(),
        }
    }

    pub(super) fn set_balance(&mut self, account: Address, balance: U256) {
        self.state_mut().edit(account, |info| info.balance = balance);
    }

    pub(super) fn set_nonce(&mut self, account: Address, nonce: u64) {
        self.state_mut().edit(account, |info| info.nonce = nonce);
    }

    pub(super) fn set_code(&mut self, account: Address, code: Bytes) -> Result<(), Failure> {
        let code = Bytecode::new_raw_checked(code).map_err(Failure::refused)?;
        self.state_mut().edit(account, |info| {
            info.set_code(code);
        });
        Ok(())
    }

    pub(super) fn set_storage(&mut self, account: Address, slot: U256, value: U256) {
        self.state_mut().set_storage(account, slot, value);
    }

    /// Sets the time of the next block; it must be later than the last's.
    pub(super) fn set_next_timestamp(&mut self, timestamp: u64) -> Result<(), Failure> {
        let last = self.latest().header.timestamp;
        if timestamp <= last {
            return Err(Failure::Refused(format!("timestamp {timestamp} is not after {last}")));
        }
        self.next_timestamp = Some(timestamp);
        Ok(())
    }

    pub(super) const fn set_interval(&mut self, seconds: u64) {
        self.interval = seconds;
    }

    /// Adds to the time of the next block.
    pub(super) fn increase_time(&mut self, seconds: u64) {
        self.next_timestamp = Some(self.upcoming_timestamp().saturating_add(seconds));
    }

    /// Makes empty blocks, `interval` seconds apart if given.
    pub(super) fn mine(&mut self, blocks: u64, interval: Option<u64>) -> Result<(), Failure> {
        if blocks > MINED_AT_ONCE {
            let message = format!("{blocks} blocks at once, more than {MINED_AT_ONCE}");
            return Err(Failure::Refused(message));
        }
        for index in 0..blocks {
            if let (Some(interval), true) = (interval, index > 0) {
                let last = self.latest().header.timestamp;
                self.next_timestamp = Some(last.saturating_add(interval));
            }
            self.push(self.state().clone(), None);
        }
        Ok(())
    }

    /// Executes a call without keeping anything but what it did.
    pub(super) fn call(
        &self,
        moment: Moment<'_>,
        mut tx: TxEnv,
    ) -> Result<ResultAndState, Failure> {
        tx.chain_id = Some(self.chain_id);
        let mut cfg = self.rules();
        cfg.disable_nonce_check = true;
        cfg.disable_balance_check = true;
        // Contracts call as well as people, in a question.
        cfg.disable_eip3607 = true;
        self.execute(cfg, moment, tx)
    }

    /// Takes a transaction into a block of its own; returns its hash.
    pub(super) fn include(&mut self, tx: Signed, signed: bool) -> Result<B256, Failure> {
        let hash = *tx.envelope.tx_hash();
        if self.by_transaction.contains_key(&hash) {
            return Err(Failure::refused("already known"));
        }
        let mut cfg = self.rules();
        // A node may act for contracts, too.
        cfg.disable_eip3607 = !signed;
        let ResultAndState { result, state: changes } =
            self.execute(cfg, self.pending(), tx.to_env())?;
        let mut state = self.state().clone();
        state.commit(changes);
        self.push(state, Some((tx, result)));
        Ok(hash)
    }

    /// Drops the last `depth` blocks and what was done since.
    pub(super) fn roll_back(&mut self, depth: u64) -> Result<(), Failure> {
        let most = self.states.len() - 1;
        let depth =
            usize::try_from(depth).ok().filter(|depth| *depth <= most).ok_or_else(|| {
                Failure::Refused(format!("cannot go back {depth} blocks; at most {most} now"))
            })?;
        for _ in 0..depth {
            let block = self.latest().clone();
            self.by_hash.remove_mut(&block.hash);
            if let Some(included) = &block.included {
                self.by_transaction.remove_mut(included.envelope.tx_hash());
            }
            self.blocks.drop_last_mut();
            self.states.pop_back();
        }
        self.next_timestamp = None;
        self.fork += 1;
        Ok(())
    }

    /// Becomes what it was when `snapshot` was copied from it.
    pub(super) fn restore(&mut self, snapshot: &Self) {
        let fork = self.fork + 1;
        *self = Self { fork, ..snapshot.clone() };
    }

    fn execute(
        &self,
        cfg: CfgEnv,
        moment: Moment<'_>,
        tx: TxEnv,
    ) -> Result<ResultAndState, Failure> {
        let block = BlockEnv {
            number: U256::from(moment.number),
            timestamp: U256::from(moment.timestamp),
            gas_limit: GAS_LIMIT,
            basefee: 0,
            prevrandao: Some(B256::ZERO),
            ..BlockEnv::default()
        };
        let view = View { state: moment.state, blocks: &self.blocks };
        let mut evm = Context::mainnet()
            .with_db(WrapDatabaseRef(view))
            .with_cfg(cfg)
            .with_block(block)
            .build_mainnet();
        evm.transact(tx).map_err(Failure::refused)
    }

    fn push(&mut self, state: State, executed: Option<(Signed, ExecutionResult)>) {
        let number = self.blocks.len() as u64;
        let mut header = Header {
            parent_hash: self.blocks.last().map_or(B256::ZERO, |parent| parent.hash),
            number,
            gas_limit: GAS_LIMIT,
            timestamp: self.upcoming_timestamp(),
            base_fee_per_gas: Some(0),
            state_root: if self.state_roots { state.root() } else { B256::ZERO },
            ..Header::default()
        };
        // Blocks of chains that began differently or went back in between are not the same.
        if number == 0 {
            header.extra_data = self.genesis.into();
        } else if self.fork > 0 {
            header.extra_data = self.fork.to_be_bytes().into();
        }
        let block = Block::seal(header, executed);
        self.by_hash.insert_mut(block.hash, number);
        if let Some(included) = &block.included {
            self.by_transaction.insert_mut(*included.envelope.tx_hash(), number);
        }
        self.blocks.push_back_mut(Arc::new(block));
        self.states.push_back(Kept { sealed: state.clone(), left: state });
        if self.states.len() > HISTORY {
            self.states.pop_front();
        }
        self.next_timestamp = None;
    }

    pub(super) fn upcoming_timestamp(&self) -> u64 {
        let after = |block: &Arc<Block>| block.header.timestamp.saturating_add(self.interval);
        self.next_timestamp.or_else(|| self.blocks.last().map(after)).unwrap_or_default()
    }

    fn rules(&self) -> CfgEnv {
        CfgEnv::new_with_spec(RULES).with_chain_id(self.chain_id)
    }
}

impl<'a> Moment<'a> {
    /// Returns this with another state.
    pub(super) const fn with_state<'b>(self, state: &'b State) -> Moment<'b> {
        Moment { state, number: self.number, timestamp: self.timestamp }
    }
}
