//! What a node means when it does not take a transaction.

use alloy::transports::TransportError;

use crate::client::retry::is_passing;

/// What a node says of a transaction it did not just take.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    Known,
    /// Too low or too high: the account's state says which.
    Nonce,
    Underpriced,
    /// The same may be taken later.
    Passing,
    Final,
}

impl Refusal {
    /// Nodes have no codes for these, only words, and each its own.
    pub(super) fn of(error: &TransportError) -> Self {
        let Some(response) = error.as_error_resp() else {
            return if is_passing(error) { Self::Passing } else { Self::Final };
        };
        let words = response.message.to_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        if says(&["already known", "known transaction", "already imported", "alreadyknown"]) {
            Self::Known
        } else if says(&["underpriced", "fee too low", "base fee", "basefee"]) {
            Self::Underpriced
        } else if says(&["nonce"]) {
            Self::Nonce
        } else if response.is_retry_err() || says(&["pool is full", "timeout", "try again"]) {
            Self::Passing
        } else {
            Self::Final
        }
    }
}
