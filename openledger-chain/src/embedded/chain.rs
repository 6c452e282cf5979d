//! Blocks, state and execution.

use std::collections::HashMap;

use alloy::{
    consensus::{
        Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction, TxEnvelope,
        transaction::SignerRecoverable,
    },
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, Bytes, Log as RawLog, TxKind, U256},
    rpc::types::{Log, TransactionReceipt},
};
use revm::{
    Context, DatabaseRef, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext,
    context::{BlockEnv, CfgEnv, TxEnv, result::ExecutionResult},
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
    state::AccountInfo,
};

use super::Genesis;

/// Gas that one block, and so one transaction, may use.
pub(super) const GAS_LIMIT: u64 = 30_000_000;
/// The rules: those of mainnet since May 2025.
const RULES: SpecId = SpecId::PRAGUE;

type Database = CacheDB<EmptyDB>;

/// What is kept of everything that happened.
#[derive(Debug)]
pub(super) struct Chain {
    state: Database,
    chain_id: u64,
    blocks: Vec<Block>,
    receipts: HashMap<B256, Included>,
    logs: Vec<Log>,
    /// Time of the next block, if it was set.
    next_timestamp: Option<u64>,
    /// Seconds between blocks.
    interval: u64,
}

/// A block with its hash and the transaction it was made for.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) hash: B256,
    pub(super) header: Header,
    pub(super) transactions: Vec<B256>,
}

/// A transaction with what became of it.
#[derive(Clone, Debug)]
pub(super) struct Included {
    pub(super) envelope: TxEnvelope,
    pub(super) receipt: TransactionReceipt,
}

/// Why a call or transaction was not executed or did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was refused before execution.
    Refused(String),
    /// It ran and was reverted with this data.
    Reverted(Bytes),
    /// It ran out of gas or into an invalid instruction.
    Halted(String),
}

impl Chain {
    pub(super) fn new(genesis: &Genesis) -> Self {
        let mut chain = Self {
            state: CacheDB::default(),
            chain_id: genesis.chain_id,
            blocks: Vec::new(),
            receipts: HashMap::new(),
            logs: Vec::new(),
            next_timestamp: Some(genesis.timestamp),
            interval: 1,
        };
        for (account, balance) in &genesis.balances {
            chain.set_balance(*account, *balance);
        }
        chain.seal(Vec::new(), 0);
        chain
    }

    pub(super) const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    pub(super) fn latest(&self) -> &Block {
        self.blocks.last().expect("a chain has its first block from the start")
    }

    pub(super) fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    pub(super) fn block_by_hash(&self, hash: B256) -> Option<&Block> {
        self.blocks.iter().find(|block| block.hash == hash)
    }

    pub(super) fn included(&self, hash: B256) -> Option<&Included> {
        self.receipts.get(&hash)
    }

    pub(super) fn logs(&self) -> &[Log] {
        &self.logs
    }

    pub(super) fn account(&self, address: Address) -> AccountInfo {
        self.state.basic_ref(address).ok().flatten().unwrap_or_default()
    }

    pub(super) fn code(&self, address: Address) -> Bytes {
        let info = self.account(address);
        let code = info.code.or_else(|| self.state.code_by_hash_ref(info.code_hash).ok());
        code.map(|code| code.original_bytes()).unwrap_or_default()
    }

    pub(super) fn storage(&self, address: Address, slot: U256) -> U256 {
        self.state.storage_ref(address, slot).unwrap_or_default()
    }

    pub(super) fn set_balance(&mut self, account: Address, balance: U256) {
        let info = AccountInfo { balance, ..self.account(account) };
        self.state.insert_account_info(account, info);
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

    /// Makes an empty block.
    pub(super) fn mine(&mut self) {
        self.seal(Vec::new(), 0);
    }

    /// Executes a call on the latest block without keeping anything.
    pub(super) fn call(&self, mut tx: TxEnv) -> Result<ExecutionResult, Failure> {
        tx.chain_id = Some(self.chain_id);
        let mut cfg = self.rules();
        cfg.disable_nonce_check = true;
        cfg.disable_balance_check = true;
        let mut evm = Context::mainnet()
            .with_db(CacheDB::new(&self.state))
            .with_cfg(cfg)
            .with_block(
                self.environment(self.latest().header.number, self.latest().header.timestamp),
            )
            .build_mainnet();
        evm.transact(tx).map(|done| done.result).map_err(|e| Failure::Refused(e.to_string()))
    }

    /// Takes a signed transaction into a block of its own; returns its hash.
    pub(super) fn submit(&mut self, raw: &[u8]) -> Result<B256, Failure> {
        let refused = |why: &dyn std::fmt::Display| Failure::Refused(why.to_string());
        let mut rest = raw;
        let envelope = TxEnvelope::decode_2718(&mut rest).map_err(|e| refused(&e))?;
        if !rest.is_empty() {
            return Err(refused(&"bytes after the transaction"));
        }
        let hash = *envelope.tx_hash();
        if self.receipts.contains_key(&hash) {
            return Err(refused(&"already known"));
        }
        let from = envelope.recover_signer().map_err(|e| refused(&e))?;
        let number = self.latest().header.number + 1;
        let environment = self.environment(number, self.upcoming_timestamp());
        let cfg = self.rules();
        let mut evm = Context::mainnet()
            .with_db(&mut self.state)
            .with_cfg(cfg)
            .with_block(environment)
            .build_mainnet();
        let result = evm.transact_commit(tx_env(&envelope, from)).map_err(|e| refused(&e))?;
        let block = self.seal(vec![hash], result.tx_gas_used());
        let receipt = self.receipt(&envelope, from, &result, &block);
        self.logs.extend(receipt.inner.logs().iter().cloned());
        self.receipts.insert(hash, Included { envelope, receipt });
        Ok(hash)
    }

    fn receipt(
        &self,
        envelope: &TxEnvelope,
        from: Address,
        result: &ExecutionResult,
        block: &Block,
    ) -> TransactionReceipt {
        let hash = *envelope.tx_hash();
        let logs: Vec<Log> = (0..)
            .zip(if result.is_success() { result.logs() } else { &[] })
            .map(|(index, log)| Log {
                inner: RawLog { address: log.address, data: log.data.clone() },
                block_hash: Some(block.hash),
                block_number: Some(block.header.number),
                block_timestamp: Some(block.header.timestamp),
                transaction_hash: Some(hash),
                transaction_index: Some(0),
                log_index: Some(index),
                removed: false,
            })
            .collect();
        let gas_used = result.tx_gas_used();
        let receipt =
            Receipt { status: result.is_success().into(), cumulative_gas_used: gas_used, logs };
        let created = (result.is_success() && envelope.kind().is_create())
            .then(|| from.create(envelope.nonce()));
        TransactionReceipt {
            inner: ReceiptEnvelope::from_typed(envelope.tx_type(), ReceiptWithBloom::from(receipt)),
            transaction_hash: hash,
            transaction_index: Some(0),
            block_hash: Some(block.hash),
            block_number: Some(block.header.number),
            gas_used,
            effective_gas_price: envelope.effective_gas_price(block.header.base_fee_per_gas),
            blob_gas_used: None,
            blob_gas_price: None,
            from,
            to: envelope.to(),
            contract_address: created,
        }
    }

    fn seal(&mut self, transactions: Vec<B256>, gas_used: u64) -> Block {
        let timestamp = self.upcoming_timestamp();
        self.next_timestamp = None;
        let header = Header {
            parent_hash: self.blocks.last().map_or(B256::ZERO, |parent| parent.hash),
            number: self.blocks.len() as u64,
            gas_limit: GAS_LIMIT,
            gas_used,
            timestamp,
            base_fee_per_gas: Some(0),
            ..Header::default()
        };
        let block = Block { hash: header.hash_slow(), header, transactions };
        self.blocks.push(block.clone());
        block
    }

    fn upcoming_timestamp(&self) -> u64 {
        let after = |block: &Block| block.header.timestamp + self.interval;
        self.next_timestamp.or_else(|| self.blocks.last().map(after)).unwrap_or_default()
    }

    fn rules(&self) -> CfgEnv {
        CfgEnv::new_with_spec(RULES).with_chain_id(self.chain_id)
    }

    fn environment(&self, number: u64, timestamp: u64) -> BlockEnv {
        BlockEnv {
            number: U256::from(number),
            timestamp: U256::from(timestamp),
            gas_limit: GAS_LIMIT,
            basefee: 0,
            prevrandao: Some(B256::ZERO),
            ..BlockEnv::default()
        }
    }
}

/// A signed transaction in the EVM's form.
fn tx_env(envelope: &TxEnvelope, caller: Address) -> TxEnv {
    TxEnv {
        tx_type: envelope.tx_type() as u8,
        caller,
        gas_limit: envelope.gas_limit(),
        gas_price: envelope.max_fee_per_gas(),
        kind: envelope.to().map_or(TxKind::Create, TxKind::Call),
        value: envelope.value(),
        data: envelope.input().clone(),
        nonce: envelope.nonce(),
        chain_id: envelope.chain_id(),
        access_list: envelope.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: envelope.max_priority_fee_per_gas(),
        ..TxEnv::default()
    }
}
