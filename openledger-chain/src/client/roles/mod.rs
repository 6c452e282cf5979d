//! What a chain does for OpenLedger, role by role: a small trait each, and [`EvmChain`](crate::EvmChain)
//! that implements them all.

mod access;
mod agents;
mod attributions;
mod disputes;
mod governance;
mod models;
mod payments;
mod registry;
mod rewards;
mod staking;

use alloy::{
    contract::{CallBuilder, CallDecoder},
    network::Ethereum,
    providers::Provider,
};
use openledger_core::{Amount, Bytes, Error, Result, message::Signature};

use super::{EvmChain, error::Context};

pub use access::{Access, Use};
pub use agents::Agents;
pub use attributions::{Attributions, Batch, BatchName, BatchStatus};
pub use disputes::{CaseStatus, Choice, Disputes, Ground, Phase, Verdict};
pub use governance::{Action, Governance, Proposal, ProposalState, SignedVote};
pub use models::{ModelEntry, ModelOffer, ModelStatus, Models, Price};
pub use payments::{Charge, FeeAccounts, Payments, Reservation};
pub use registry::{ContributionName, ContributionStatus, DatanetEntry, Kind, Offer, Registry};
pub use rewards::{Rewards, RootStatus};
pub use staking::{StakeRole, StakeStatus, Staking};

pub(super) fn to_u128(amount: Amount) -> Result<u128> {
    u128::try_from(amount.units())
        .map_err(|_| Error::invalid(format!("{amount} units, past 2^128")))
}

fn signature(signature: &Signature) -> Bytes {
    Bytes::copy_from_slice(signature.as_bytes())
}

impl EvmChain {
    /// Runs a call that changes nothing.
    pub(crate) async fn ask<P: Provider, D: CallDecoder + Unpin>(
        &self,
        what: &str,
        call: CallBuilder<P, D, Ethereum>,
    ) -> Result<D::CallOutput> {
        call.call().await.context(what)
    }
}
