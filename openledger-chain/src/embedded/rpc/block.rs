//! Blocks and transactions in the form of other nodes.

use alloy::{
    consensus::transaction::Recovered,
    eips::eip2718::Encodable2718,
    primitives::Bytes,
    rpc::types::{
        Block as RpcBlock, BlockTransactions, FeeHistory, Header, Transaction, TransactionInfo,
        TransactionReceipt,
    },
};

use super::params::{At, Params};
use crate::embedded::{
    block::{Block, Included},
    chain::Chain,
    failure::Failure,
};

pub(super) fn transaction(included: &Included) -> Transaction {
    let Included { envelope, receipt } = included;
    let info = TransactionInfo {
        hash: Some(receipt.transaction_hash),
        index: receipt.transaction_index,
        block_hash: receipt.block_hash,
        block_number: receipt.block_number,
        base_fee: Some(0),
        ..TransactionInfo::default()
    };
    Transaction::from_transaction(Recovered::new_unchecked(envelope.clone(), receipt.from), info)
}

pub(super) fn raw_transaction(included: &Included) -> Bytes {
    included.envelope.encoded_2718().into()
}

pub(super) fn transaction_at(block: &Block, index: u64) -> Option<Transaction> {
    block.included.as_ref().filter(|_| index == 0).map(transaction)
}

pub(super) fn receipts(block: &Block) -> Vec<&TransactionReceipt> {
    block.included.iter().map(|included| &included.receipt).collect()
}

pub(super) fn header(block: &Block) -> Header {
    Header { hash: block.hash, inner: block.header.clone(), total_difficulty: None, size: None }
}

pub(super) fn rpc_block(block: &Block, full: bool) -> RpcBlock {
    let included = block.included.iter();
    let transactions = match full {
        true => BlockTransactions::Full(included.map(transaction).collect()),
        false => BlockTransactions::Hashes(
            included.map(|included| included.receipt.transaction_hash).collect(),
        ),
    };
    RpcBlock::new(header(block), transactions)
}

/// Percentiles of fees asked for at once, at the most.
const PERCENTILES: usize = 100;

/// The fees of the last blocks: nothing, since the base fee is zero and nobody has to wait.
pub(super) fn fee_history(chain: &Chain, params: &Params<'_>) -> Result<FeeHistory, Failure> {
    let newest = match params.has(1) {
        true => params.block(chain, 1, At::Number)?,
        false => Some(chain.latest()),
    };
    let newest = newest.ok_or_else(|| Failure::refused("there is no such block yet"))?;
    let last = newest.header.number;
    let count = params.quantity(0)?.clamp(1, 1_024).min(last + 1);
    let percentiles: Vec<f64> = params.or(2, Vec::new())?;
    if percentiles.len() > PERCENTILES {
        let message = format!("{} percentiles, {PERCENTILES} at most", percentiles.len());
        return Err(Failure::Invalid(message));
    }
    let oldest = last + 1 - count;
    let blocks = (oldest..=last).filter_map(|number| chain.block(number));
    let gas_used_ratio: Vec<f64> =
        blocks.map(|block| block.header.gas_used as f64 / block.header.gas_limit as f64).collect();
    let blocks = gas_used_ratio.len();
    Ok(FeeHistory {
        base_fee_per_gas: vec![0; blocks + 1],
        base_fee_per_blob_gas: vec![0; blocks + 1],
        blob_gas_used_ratio: vec![0.0; blocks],
        gas_used_ratio,
        oldest_block: oldest,
        reward: (!percentiles.is_empty()).then(|| vec![vec![0; percentiles.len()]; blocks]),
    })
}
