//! Signed transactions, and those of accounts that the node may act for.

use alloy::{
    consensus::{Transaction, TxEip1559, TxEnvelope, transaction::SignerRecoverable},
    eips::eip2718::{Decodable2718, Encodable2718},
    primitives::{Address, Bytes, Signature, TxKind, U256},
};
use revm::{context::TxEnv, context::either::Either};

use super::failure::Failure;

/// A transaction with the account it is from.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) envelope: TxEnvelope,
    pub(super) from: Address,
}

impl Signed {
    /// Reads a signed transaction and who signed it.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, Failure> {
        let envelope = decode(raw)?;
        let from = envelope.recover_signer().map_err(Failure::refused)?;
        Ok(Self { envelope, from })
    }

    /// Reads a transaction that `from` did not sign, see [`unsigned`].
    pub(super) fn parse_unsigned(raw: &[u8], from: Address) -> Result<Self, Failure> {
        Ok(Self { envelope: decode(raw)?, from })
    }

    /// Returns this in the EVM's form.
    pub(super) fn to_env(&self) -> TxEnv {
        let tx = &self.envelope;
        TxEnv {
            tx_type: tx.tx_type() as u8,
            caller: self.from,
            gas_limit: tx.gas_limit(),
            gas_price: tx.max_fee_per_gas(),
            kind: tx.to().map_or(TxKind::Create, TxKind::Call),
            value: tx.value(),
            data: tx.input().clone(),
            nonce: tx.nonce(),
            chain_id: tx.chain_id(),
            access_list: tx.access_list().cloned().unwrap_or_default(),
            gas_priority_fee: tx.max_priority_fee_per_gas(),
            authorization_list: tx
                .authorization_list()
                .unwrap_or_default()
                .iter()
                .cloned()
                .map(Either::Left)
                .collect(),
            ..TxEnv::default()
        }
    }
}

/// Encodes a transaction of an account whose key nobody here has.
///
/// The place of the signature holds the account, so that the same transaction of two accounts has
/// two hashes. No key signs like this: the second half of a signature is never one in practice.
pub(super) fn unsigned(tx: TxEip1559, from: Address) -> Bytes {
    let signature = Signature::new(U256::from_be_slice(from.as_slice()), U256::ONE, false);
    let envelope = TxEnvelope::new_unhashed(tx.into(), signature);
    envelope.encoded_2718().into()
}

fn decode(raw: &[u8]) -> Result<TxEnvelope, Failure> {
    let mut rest = raw;
    let envelope = TxEnvelope::decode_2718(&mut rest).map_err(Failure::refused)?;
    if !rest.is_empty() {
        return Err(Failure::refused("bytes after the transaction"));
    }
    if envelope.is_eip4844() {
        return Err(Failure::refused("transactions with blobs are not supported"));
    }
    Ok(envelope)
}
