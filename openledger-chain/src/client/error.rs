//! Why a node refused, in words.

use alloy::{contract::Error as ContractError, transports::TransportError};
use openledger_core::{Bytes, Error, ErrorKind, Result};

use super::{Revert, retry::is_busy};

/// Says what was being done when a call failed.
pub(super) trait Context<T> {
    fn context(self, what: &str) -> Result<T>;
}

impl<T> Context<T> for Result<T, ContractError> {
    fn context(self, what: &str) -> Result<T> {
        self.map_err(|e| match (e.as_revert_data(), e) {
            (Some(data), _) => denied(what, &data),
            (None, ContractError::TransportError(e)) => node_error(what)(e),
            (None, e) => {
                Error::new(ErrorKind::Unavailable, format!("cannot {what}")).with_source(e)
            }
        })
    }
}

/// Makes an error of a node that did not do as asked.
pub(crate) fn node_error(what: &str) -> impl FnOnce(TransportError) -> Error {
    move |e| match e.as_error_resp().and_then(|response| response.as_revert_data()) {
        Some(data) => denied(what, &data),
        None => {
            // A node that answers with an error says the same the next time, unless it is busy.
            let retryable = e.as_error_resp().is_none_or(is_busy);
            Error::new(ErrorKind::Unavailable, format!("cannot {what}"))
                .with_source(e)
                .with_retryable(retryable)
        }
    }
}

/// Makes an error of a contract that refused.
pub(super) fn denied(what: &str, data: &Bytes) -> Error {
    Error::new(ErrorKind::Denied, format!("cannot {what}")).with_source(Revert::decode(data))
}
