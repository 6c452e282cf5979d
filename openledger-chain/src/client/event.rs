//! What contracts logged, as values.

use std::fmt;

use alloy::sol_types::SolEventInterface;

use super::{TxLog, sentence};
use crate::{abi, bridge};

/// Declares the contracts whose events are known: one line each.
macro_rules! events {
    ($($name:ident: $events:path,)*) => {
        /// What a contract logged; displays as a sentence.
        ///
        /// A variant holds any event of its contract. Contracts share events, so a reading without
        /// the contract's name is in the words of the first contract that has such an event.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Event {
            $(#[doc = concat!("In the words of `", stringify!($name), "`.")] $name($events),)*
        }

        impl Event {
            /// Returns the event in a log, or nothing if no contract has it.
            pub fn decode(log: &TxLog) -> Option<Self> {
                Self::readings(log).into_iter().next()
            }

            /// Returns the event in a log of the contract called `contract`.
            pub fn decode_as(contract: &str, log: &TxLog) -> Option<Self> {
                match contract {
                    $(stringify!($name) => {
                        <$events>::decode_raw_log(&log.topics, &log.data).ok().map(Self::$name)
                    })*
                    _ => None,
                }
            }

            /// Returns every reading of a log, one for each contract that has such an event.
            pub fn readings(log: &TxLog) -> Vec<Self> {
                let all = [$(
                    <$events>::decode_raw_log(&log.topics, &log.data).ok().map(Self::$name),
                )*];
                all.into_iter().flatten().collect()
            }

            fn debug(&self) -> String {
                match self {
                    $(Self::$name(event) => format!("{event:?}"),)*
                }
            }
        }
    };
}

events! {
    OpenToken: abi::open_token::OpenToken::OpenTokenEvents,
    RewardDistributor: abi::reward_distributor::RewardDistributor::RewardDistributorEvents,
    InferenceEscrow: abi::inference_escrow::InferenceEscrow::InferenceEscrowEvents,
    AttributionLog: abi::attribution_log::AttributionLog::AttributionLogEvents,
    FeePolicy: abi::fee_policy::FeePolicy::FeePolicyEvents,
    DatanetRegistry: abi::datanet_registry::DatanetRegistry::DatanetRegistryEvents,
    ContributionRegistry: abi::contribution_registry::ContributionRegistry::ContributionRegistryEvents,
    AccessGrants: abi::access_grants::AccessGrants::AccessGrantsEvents,
    ModelRegistry: abi::model_registry::ModelRegistry::ModelRegistryEvents,
    AgentRegistry: abi::agent_registry::AgentRegistry::AgentRegistryEvents,
    Staking: abi::staking::Staking::StakingEvents,
    Dispute: abi::dispute::Dispute::DisputeEvents,
    OpenGovernor: abi::open_governor::OpenGovernor::OpenGovernorEvents,
    OpenTimelock: abi::open_timelock::OpenTimelock::OpenTimelockEvents,
    BallotBox: abi::ballot_box::BallotBox::BallotBoxEvents,
    ModelProposals: abi::model_proposals::ModelProposals::ModelProposalsEvents,
    GovernanceOpen: abi::governance_open::GovernanceOpen::GovernanceOpenEvents,
    WrappedOpen: abi::wrapped_open::WrappedOpen::WrappedOpenEvents,
    OpenTokenL2: abi::open_token_l2::OpenTokenL2::OpenTokenL2Events,
    Genesis: abi::genesis::Genesis::GenesisEvents,
    Vesting: abi::vesting::Vesting::VestingEvents,
    RegistryProxy: abi::registry_proxy::RegistryProxy::RegistryProxyEvents,
    Roles: abi::roles::Roles::RolesEvents,
    AttestedGateway: bridge::abi::attested_gateway::AttestedGateway::AttestedGatewayEvents,
    MeshHome: bridge::abi::mesh_home::MeshHome::MeshHomeEvents,
    MeshRemote: bridge::abi::mesh_remote::MeshRemote::MeshRemoteEvents,
}

impl Event {
    /// Returns the event's name in Solidity: `BatchLogged`.
    pub fn name(&self) -> String {
        sentence::parts(&self.debug()).0.to_owned()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        sentence::write(f, &self.debug())
    }
}
