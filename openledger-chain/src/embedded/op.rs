//! What can be done to a chain. Nothing changes it but one of these, so a list of them is the
//! whole chain again.

use alloy::primitives::{Address, U256};
use borsh::{BorshDeserialize, BorshSerialize};

/// One change of a chain. The order of the variants is part of the format of the log.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub(super) enum Op {
    /// Includes a signed transaction.
    Transaction(Vec<u8>),
    /// Includes a transaction for an account that did not sign it.
    Unsigned { from: Address, raw: Vec<u8> },
    /// Makes empty blocks.
    Mine { blocks: u64, interval: Option<u64> },
    /// Sets the time of the next block.
    NextTimestamp(u64),
    /// Sets the seconds between blocks.
    Interval(u64),
    /// Adds seconds to the time of the next block.
    IncreaseTime(u64),
    /// Sets an account's native coins.
    Balance(Address, U256),
    /// Sets how many transactions an account sent.
    Nonce(Address, u64),
    /// Sets a contract's code.
    Code(Address, Vec<u8>),
    /// Sets a slot of a contract's storage.
    Storage(Address, U256, U256),
    /// Drops the last blocks.
    RollBack { depth: u64 },
    /// Takes a snapshot.
    Snapshot,
    /// Goes back to a snapshot; `forget` drops it and those after.
    Restore { id: u64, forget: bool },
}

impl Op {
    /// Bytes that a log needs for this, or a little more.
    pub(super) fn size(&self) -> usize {
        const REST: usize = 128;
        match self {
            Self::Transaction(raw) | Self::Unsigned { raw, .. } | Self::Code(_, raw) => {
                raw.len() + REST
            }
            _ => REST,
        }
    }
}
