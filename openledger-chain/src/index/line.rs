//! What a contract logged, at its place.

use alloy::{
    primitives::LogData,
    sol_types::{Error as AbiError, SolEventInterface},
};
use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Address, B256, Result};

use super::wrong::wrong;

/// One log of a block.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    /// Its place among the logs of the block.
    pub(super) index: u64,
    pub(super) address: Address,
    pub(super) topics: Vec<B256>,
    pub(super) data: Vec<u8>,
}

impl Line {
    /// Makes a line of what a node gave.
    pub(super) fn new(index: u64, address: Address, log: &LogData) -> Self {
        Self { index, address, topics: log.topics().to_vec(), data: log.data.to_vec() }
    }

    /// Returns the event of a contract, or nothing if it is one this client does not know:
    /// registries can be upgraded.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if it is one that is known, in
    /// another form.
    pub(super) fn read<E: SolEventInterface>(&self) -> Result<Option<E>> {
        match E::decode_raw_log(&self.topics, &self.data) {
            Ok(event) => Ok(Some(event)),
            Err(AbiError::InvalidLog { .. }) => Ok(None),
            Err(e) => Err(wrong(format!("not a log of {}", E::NAME)).with_source(e.to_string())),
        }
    }
}
