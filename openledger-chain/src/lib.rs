#![doc = include_str!("../README.md")]

pub mod abi;
mod client;
mod embedded;
pub mod settlement;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use alloy;

#[cfg(feature = "http")]
pub use client::http_provider;
pub use client::{
    Attributions, Charge, Contracts, DeployOptions, Deployed, DevNode, EvmChain, FeeAccounts,
    ModelEntry, NodeSnapshot, Payments, Price, Registry, Rewards, RootStatus, Sent, Tx, TxLog,
    embedded, provider,
};
pub use client::{Event, Files, Journal, Keep, Memory, Patience, Retry, Revert, provider_with};
pub use embedded::{Embedded, Genesis};
