//! What came of a transaction.

use alloy::{rpc::types::TransactionReceipt, sol_types::SolEvent};
use openledger_core::{Address, B256, Bytes, Error, Result};
use serde::{Deserialize, Serialize};

use super::Event;

/// What came of a transaction that was included and did not revert.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sent<T = ()> {
    /// What the contract returned or the caller asked for.
    pub value: T,
    /// The transaction.
    pub tx: Tx,
}

/// An included transaction.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tx {
    /// Its hash.
    pub hash: B256,
    /// The block that holds it.
    pub block: u64,
    /// The gas it used.
    pub gas: u64,
    /// What contracts logged.
    pub logs: Vec<TxLog>,
    /// The contract it created.
    pub created: Option<Address>,
}

/// A line a contract logged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TxLog {
    /// The contract.
    pub address: Address,
    /// The event and its indexed parameters.
    pub topics: Vec<B256>,
    /// The other parameters, ABI-encoded.
    pub data: Bytes,
}

impl<T> Sent<T> {
    /// Makes what a role's methods return, for one that somebody else plays.
    pub const fn new(value: T, tx: Tx) -> Self {
        Self { value, tx }
    }

    pub(super) fn map<U>(self, value: impl FnOnce(T) -> U) -> Sent<U> {
        Sent { value: value(self.value), tx: self.tx }
    }

    /// Returns what `read` finds in the first event of type `E` that the contract at `address`
    /// logged.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt), naming the transaction, which
    /// was included, if there is no such event; what `read` says.
    pub(crate) fn told<E: SolEvent, U>(
        self,
        address: Address,
        read: impl FnOnce(E) -> Result<U>,
    ) -> Result<Sent<U>> {
        let event = self.tx.event(address).ok_or_else(|| {
            let (hash, event) = (self.tx.hash, E::SIGNATURE);
            Error::corrupt(format!("transaction {hash} is included without a log `{event}`"))
        })?;
        Ok(Sent { value: read(event)?, tx: self.tx })
    }
}

impl Tx {
    /// Returns what contracts of ours logged, with the contract that did; what nobody here knows
    /// is left out.
    ///
    /// Contracts share events (every token logs `Transfer`): the address says whose it is.
    pub fn events(&self) -> impl Iterator<Item = (Address, Event)> {
        self.logs.iter().filter_map(|log| Some((log.address, Event::decode(log)?)))
    }

    /// Returns the first event of type `E` that the contract at `address` logged.
    ///
    /// What a contract tells in an event is what happened; what a call returned before it was sent
    /// is what would have happened then.
    pub fn event<E: SolEvent>(&self, address: Address) -> Option<E> {
        self.logs
            .iter()
            .filter(|log| log.address == address)
            .find_map(|log| E::decode_raw_log(log.topics.iter().copied(), &log.data).ok())
    }
}

impl From<&TransactionReceipt> for Tx {
    fn from(receipt: &TransactionReceipt) -> Self {
        let logs = receipt.inner.logs().iter().map(|log| TxLog {
            address: log.address(),
            topics: log.topics().to_vec(),
            data: log.inner.data.data.clone(),
        });
        Self {
            hash: receipt.transaction_hash,
            block: receipt.block_number.unwrap_or_default(),
            gas: receipt.gas_used,
            logs: logs.collect(),
            created: receipt.contract_address,
        }
    }
}

#[cfg(test)]
mod tests {
    use openledger_core::{ErrorKind, U256};

    use super::*;
    use crate::abi::open_token::OpenToken::Transfer;

    #[test]
    fn what_was_not_logged_by_the_contract_is_corrupt_and_names_the_transaction() {
        let token = Address::repeat_byte(1);
        let transfer = Transfer { from: token, to: token, value: U256::from(5) };
        let logged = transfer.encode_log_data();
        let topics = logged.topics().to_vec();
        let log = TxLog { address: token, topics, data: logged.data };
        let hash = B256::repeat_byte(7);
        let tx = Tx { hash, block: 1, gas: 1, logs: vec![log], created: None };
        let sent = Sent { value: (), tx };
        let told = sent.clone().told(token, |event: Transfer| Ok(event.value));
        assert_eq!(told.unwrap().value, U256::from(5));
        let other = Address::repeat_byte(2);
        let error = sent.told(other, |event: Transfer| Ok(event.value)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&hash.to_string()), "{error}");
        assert!(!error.is_retryable(), "sent again, it would happen twice");
    }
}
