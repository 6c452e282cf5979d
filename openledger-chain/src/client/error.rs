//! Why a node refused, in words.

use alloy::{
    contract::Error as ContractError, sol_types::SolInterface, transports::TransportError,
};
use openledger_core::{Bytes, Error, ErrorKind, Result};

use crate::abi::{
    attribution_log::AttributionLog::AttributionLogErrors,
    datanet_registry::DatanetRegistry::DatanetRegistryErrors,
    fee_policy::FeePolicy::FeePolicyErrors,
    inference_escrow::InferenceEscrow::InferenceEscrowErrors,
    model_registry::ModelRegistry::ModelRegistryErrors, open_token::OpenToken::OpenTokenErrors,
    reward_distributor::RewardDistributor::RewardDistributorErrors,
};

/// Says what was being done when a call failed.
pub(super) trait Context<T> {
    fn context(self, what: &str) -> Result<T>;
}

impl<T> Context<T> for Result<T, ContractError> {
    fn context(self, what: &str) -> Result<T> {
        self.map_err(|e| match (e.as_revert_data(), e) {
            (Some(data), _) => {
                Error::new(ErrorKind::Denied, format!("cannot {what}")).with_source(reason(&data))
            }
            (None, ContractError::TransportError(e)) => node_error(what)(e),
            (None, e) => {
                Error::new(ErrorKind::Unavailable, format!("cannot {what}")).with_source(e)
            }
        })
    }
}

/// Makes an error of a node that did not do as asked.
pub(super) fn node_error(what: &str) -> impl FnOnce(TransportError) -> Error {
    move |e| {
        let revert = e.as_error_resp().and_then(|response| response.as_revert_data());
        match revert {
            Some(data) => {
                Error::new(ErrorKind::Denied, format!("cannot {what}")).with_source(reason(&data))
            }
            None => {
                // A node that answers with an error says the same the next time.
                let retryable = e.as_error_resp().is_none();
                Error::new(ErrorKind::Unavailable, format!("cannot {what}"))
                    .with_source(e)
                    .with_retryable(retryable)
            }
        }
    }
}

/// Names the custom error in the data of a revert, with its values.
fn reason(data: &Bytes) -> String {
    let named = named::<RewardDistributorErrors>(data)
        .or_else(|| named::<InferenceEscrowErrors>(data))
        .or_else(|| named::<DatanetRegistryErrors>(data))
        .or_else(|| named::<ModelRegistryErrors>(data))
        .or_else(|| named::<AttributionLogErrors>(data))
        .or_else(|| named::<FeePolicyErrors>(data))
        .or_else(|| named::<OpenTokenErrors>(data));
    named.unwrap_or_else(|| match alloy::sol_types::decode_revert_reason(data) {
        Some(reason) => reason,
        None => format!("the contract reverted with {data}"),
    })
}

fn named<E: SolInterface + std::fmt::Debug>(data: &Bytes) -> Option<String> {
    // `NothingToClaim(NothingToClaim { account: 0x.. })`: the variant repeats the struct's name.
    let error = format!("{:?}", E::abi_decode(data).ok()?);
    let inner = error.split_once('(').map_or(error.as_str(), |(_, rest)| rest);
    Some(format!("the contract says {}", inner.trim_end_matches(')')))
}
