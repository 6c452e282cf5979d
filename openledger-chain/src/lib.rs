#![doc = include_str!("../README.md")]

pub mod abi;
pub mod ballots;
pub mod bridge;
mod client;
pub mod da;
#[cfg(feature = "server")]
mod devnet;
mod embedded;
pub mod index;
pub mod settlement;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(feature = "x402")]
pub mod x402;

pub use alloy;

pub use client::{
    Access, Action, Agents, Attributions, Batch, BatchName, BatchStatus, CaseStatus, Charge,
    Choice, Contracts, ContributionName, ContributionStatus, DatanetEntry, DeployOptions, Deployed,
    DevNode, DisputeTerms, Disputes, Event, EvmChain, FeeAccounts, Files, Governance,
    GovernancePreset, Ground, Journal, Keep, Kind, Memory, ModelEntry, ModelOffer, ModelStatus,
    Models, NodeSnapshot, Offer, Patience, Payments, Phase, Power, Price, Proposal, ProposalState,
    Registry, Reservation, Retry, Revert, Rewards, RootStatus, Sent, SignedVote, StakeRole,
    StakeStatus, Staking, Tx, TxLog, Use, Verdict, embedded, provider, provider_with,
};
#[cfg(feature = "http")]
pub use client::{http_provider, http_provider_with};
#[cfg(feature = "server")]
pub use devnet::{Devnet, devnet_key};
#[cfg(feature = "testing")]
pub use embedded::read_log;
pub use embedded::{Embedded, Genesis, Snapshot};
