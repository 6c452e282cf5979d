//! Blocks with what they hold.

use std::sync::Arc;

use alloy::{
    consensus::{
        Header, Receipt, ReceiptEnvelope, Transaction as _, TxEnvelope, TxReceipt as _, proofs,
    },
    primitives::{Address, B256, Bloom, Log as RawLog},
    rpc::types::{Log, TransactionReceipt},
};
use revm::context::result::ExecutionResult;
use rpds::VectorSync;

use super::transaction::Signed;

/// A block, which holds one transaction or none.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) hash: B256,
    pub(super) header: Header,
    pub(super) included: Option<Included>,
}

/// All blocks from the first.
pub(super) type Blocks = VectorSync<Arc<Block>>;

/// A transaction with what became of it.
#[derive(Debug)]
pub(super) struct Included {
    pub(super) envelope: TxEnvelope,
    pub(super) receipt: TransactionReceipt,
}

impl Block {
    /// Closes a block: `header` with the roots and the bloom of what it holds.
    pub(super) fn seal(mut header: Header, executed: Option<(Signed, ExecutionResult)>) -> Self {
        let Some((Signed { envelope, from }, result)) = executed else {
            return Self { hash: header.hash_slow(), header, included: None };
        };
        let receipt = consensus_receipt(&envelope, &result);
        header.gas_used = result.tx_gas_used();
        header.logs_bloom = *receipt.logs_bloom();
        header.transactions_root = proofs::calculate_transaction_root(&[&envelope]);
        header.receipts_root = proofs::calculate_receipt_root(&[&receipt]);
        let hash = header.hash_slow();
        let receipt = rpc_receipt(&envelope, from, receipt, hash, &header);
        Self { hash, header, included: Some(Included { envelope, receipt }) }
    }

    pub(super) fn logs(&self) -> &[Log] {
        self.included.as_ref().map(|included| included.receipt.inner.logs()).unwrap_or_default()
    }
}

fn consensus_receipt(envelope: &TxEnvelope, result: &ExecutionResult) -> ReceiptEnvelope {
    // What was logged before a revert did not happen.
    let logs = if result.is_success() { result.logs().to_vec() } else { Vec::new() };
    let bloom: Bloom = logs.iter().collect();
    let receipt = Receipt {
        status: result.is_success().into(),
        cumulative_gas_used: result.tx_gas_used(),
        logs,
    };
    ReceiptEnvelope::from_typed(envelope.tx_type(), receipt.into_with_bloom_unchecked(bloom))
}

fn rpc_receipt(
    envelope: &TxEnvelope,
    from: Address,
    receipt: ReceiptEnvelope,
    block: B256,
    header: &Header,
) -> TransactionReceipt {
    let transaction_hash = *envelope.tx_hash();
    let created = receipt.is_success() && envelope.is_create();
    let mut index = 0..;
    let place = |inner: RawLog| Log {
        inner,
        block_hash: Some(block),
        block_number: Some(header.number),
        block_timestamp: Some(header.timestamp),
        transaction_hash: Some(transaction_hash),
        transaction_index: Some(0),
        log_index: index.next(),
        removed: false,
    };
    TransactionReceipt {
        inner: receipt.map_logs(place),
        transaction_hash,
        transaction_index: Some(0),
        block_hash: Some(block),
        block_number: Some(header.number),
        gas_used: header.gas_used,
        effective_gas_price: envelope.effective_gas_price(header.base_fee_per_gas),
        blob_gas_used: None,
        blob_gas_price: None,
        from,
        to: envelope.to(),
        contract_address: created.then(|| from.create(envelope.nonce())),
    }
}
