//! Why a contract refused, as a value.

use std::{error::Error as StdError, fmt};

use alloy::sol_types::{Panic, Revert as Words, SolError, SolInterface};
use openledger_core::{Bytes, Error};

use super::sentence;
use crate::{abi, bridge};

/// Declares the contracts whose errors are known: one line each.
macro_rules! reverts {
    ($($name:ident: $errors:path,)*) => {
        /// Why a contract refused.
        ///
        /// A variant holds any error of its contract, those it has from OpenZeppelin included. Two
        /// contracts may share an error; a call that goes through several can fail in any of them,
        /// so the variant says which contract's words these are, not which contract spoke.
        ///
        /// # Examples
        /// ```
        /// use alloy::sol_types::SolError;
        /// use openledger_chain::{Revert, abi::reward_distributor::RewardDistributor};
        /// use openledger_core::{Error, ErrorKind, U256};
        ///
        /// let data = RewardDistributor::RootUnknown { index: U256::from(7) }.abi_encode();
        /// let revert = Revert::decode(&data);
        /// assert_eq!(revert.to_string(), "root unknown: index 7");
        ///
        /// // An error of the SDK has it as its source.
        /// let error = Error::new(ErrorKind::Denied, "cannot claim").with_source(revert);
        /// let unknown = Revert::of(&error).and_then(Revert::downcast::<RewardDistributor::RootUnknown>);
        /// assert_eq!(unknown.map(|unknown| unknown.index), Some(U256::from(7)));
        /// ```
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Revert {
            $(#[doc = concat!("In the words of `", stringify!($name), "`.")] $name($errors),)*
            /// `require` with a reason.
            Message(String),
            /// A failed assertion, an overflow, an index out of bounds: a defect of the contract.
            Panic(Panic),
            /// Data that no contract here knows; empty from a bare `revert`.
            Unknown(Bytes),
        }

        impl Revert {
            /// Reads the data of a revert in the words of the contract called `contract`, or of
            /// any contract if that one does not know them.
            pub fn decode_as(contract: &str, data: &[u8]) -> Self {
                let own = match contract {
                    $(stringify!($name) => <$errors>::abi_decode(data).ok().map(Self::$name),)*
                    _ => None,
                };
                own.unwrap_or_else(|| Self::decode(data))
            }

            /// Returns every reading of the data, one for each contract that has such an error.
            pub fn readings(data: &[u8]) -> Vec<Self> {
                let all = [$(<$errors>::abi_decode(data).ok().map(Self::$name),)*];
                all.into_iter().flatten().collect()
            }

            fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$name(error) => error.abi_encode(),)*
                    Self::Message(text) => Words::from(text.clone()).abi_encode(),
                    Self::Panic(panic) => panic.abi_encode(),
                    Self::Unknown(data) => data.to_vec(),
                }
            }

            fn debug(&self) -> Option<String> {
                match self {
                    $(Self::$name(error) => Some(format!("{error:?}")),)*
                    Self::Message(_) | Self::Panic(_) | Self::Unknown(_) => None,
                }
            }
        }
    };
}

reverts! {
    OpenToken: abi::open_token::OpenToken::OpenTokenErrors,
    RewardDistributor: abi::reward_distributor::RewardDistributor::RewardDistributorErrors,
    InferenceEscrow: abi::inference_escrow::InferenceEscrow::InferenceEscrowErrors,
    Till: abi::till::Till::TillErrors,
    AttributionLog: abi::attribution_log::AttributionLog::AttributionLogErrors,
    FeePolicy: abi::fee_policy::FeePolicy::FeePolicyErrors,
    DatanetRegistry: abi::datanet_registry::DatanetRegistry::DatanetRegistryErrors,
    ContributionRegistry: abi::contribution_registry::ContributionRegistry::ContributionRegistryErrors,
    AccessGrants: abi::access_grants::AccessGrants::AccessGrantsErrors,
    ModelRegistry: abi::model_registry::ModelRegistry::ModelRegistryErrors,
    AgentRegistry: abi::agent_registry::AgentRegistry::AgentRegistryErrors,
    Staking: abi::staking::Staking::StakingErrors,
    Dispute: abi::dispute::Dispute::DisputeErrors,
    OpenGovernor: abi::open_governor::OpenGovernor::OpenGovernorErrors,
    OpenTimelock: abi::open_timelock::OpenTimelock::OpenTimelockErrors,
    BallotBox: abi::ballot_box::BallotBox::BallotBoxErrors,
    ModelProposals: abi::model_proposals::ModelProposals::ModelProposalsErrors,
    GovernanceOpen: abi::governance_open::GovernanceOpen::GovernanceOpenErrors,
    WrappedOpen: abi::wrapped_open::WrappedOpen::WrappedOpenErrors,
    OpenTokenL2: abi::open_token_l2::OpenTokenL2::OpenTokenL2Errors,
    Vesting: abi::vesting::Vesting::VestingErrors,
    RegistryProxy: abi::registry_proxy::RegistryProxy::RegistryProxyErrors,
    Roles: abi::roles::Roles::RolesErrors,
    AttestedGateway: bridge::abi::attested_gateway::AttestedGateway::AttestedGatewayErrors,
    MeshHome: bridge::abi::mesh_home::MeshHome::MeshHomeErrors,
    MeshRemote: bridge::abi::mesh_remote::MeshRemote::MeshRemoteErrors,
    OptimismPortal: bridge::abi::optimism_portal::OptimismPortal::OptimismPortalErrors,
}

impl Revert {
    /// Reads the data of a revert.
    pub fn decode(data: &[u8]) -> Self {
        if let Ok(words) = Words::abi_decode(data) {
            return Self::Message(words.reason);
        }
        if let Ok(panic) = Panic::abi_decode(data) {
            return Self::Panic(panic);
        }
        let known = Self::readings(data).into_iter().next();
        known.unwrap_or_else(|| Self::Unknown(Bytes::copy_from_slice(data)))
    }

    /// Returns the revert among the reasons of `error`.
    pub fn of(error: &Error) -> Option<&Self> {
        let mut reason = error.source();
        while let Some(error) = reason {
            if let Some(revert) = error.downcast_ref() {
                return Some(revert);
            }
            reason = error.source();
        }
        None
    }

    /// Returns the error's name in Solidity: `NothingToClaim`.
    pub fn name(&self) -> String {
        match self {
            Self::Message(_) => "Error".to_owned(),
            Self::Panic(_) => "Panic".to_owned(),
            Self::Unknown(_) => String::new(),
            _ => self.debug().map_or_else(String::new, |said| sentence::parts(&said).0.to_owned()),
        }
    }

    /// Returns the error if it is an `E`, whichever contract's words it is in.
    pub fn downcast<E: SolError>(&self) -> Option<E> {
        E::abi_decode(&self.encode()).ok()
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(text) => f.write_str(text),
            Self::Panic(panic) => write!(f, "the contract failed: {panic}"),
            Self::Unknown(data) if data.is_empty() => f.write_str("reverted without a reason"),
            Self::Unknown(data) => write!(f, "reverted with {data}"),
            _ => sentence::write(f, &self.debug().unwrap_or_default()),
        }
    }
}

impl StdError for Revert {}
