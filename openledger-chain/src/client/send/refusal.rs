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
    /// The same may be taken later, or was taken: who cannot tell keeps it.
    Passing,
    Final,
}

/// Codes of JSON-RPC for requests that were not understood: -32603 is not among them, since a proxy
/// says so too when the node behind it took the transaction.
const CLEAR: [i64; 4] = [-32_700, -32_600, -32_601, -32_602];

/// Words of nodes that did not take a transaction and will not.
const CERTAIN: [&str; 9] = [
    "insufficient funds",
    "gas limit",
    "intrinsic gas",
    "chain id",
    "invalid sender",
    "not supported",
    "oversized",
    "initcode",
    "revert",
];

impl Refusal {
    /// Nodes have no codes for these, only words, and each its own.
    pub(super) fn of(error: &TransportError) -> Self {
        let Some(response) = error.as_error_resp() else {
            let is_lost = error.as_transport_err().is_some_and(|kind| kind.is_backend_gone());
            return if is_lost || is_passing(error) { Self::Passing } else { Self::Final };
        };
        let words = response.message.to_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        if says(&["already known", "known transaction", "already imported", "alreadyknown"]) {
            Self::Known
        } else if says(&["underpriced", "fee too low", "base fee", "basefee"]) {
            Self::Underpriced
        } else if says(&["nonce"]) {
            Self::Nonce
        } else if CLEAR.contains(&response.code) || says(&CERTAIN) {
            Self::Final
        } else {
            Self::Passing
        }
    }
}
