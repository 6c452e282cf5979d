#![doc = include_str!("../README.md")]

pub mod abi;
mod client;
#[cfg(feature = "server")]
mod devnet;
mod embedded;
pub mod settlement;

pub use alloy;

#[cfg(feature = "http")]
pub use client::http_provider;
pub use client::{
    Attributions, Charge, Contracts, DeployOptions, Deployed, DevNode, EvmChain, FeeAccounts,
    ModelEntry, NodeSnapshot, Payments, Price, Registry, Rewards, RootStatus, Sent, Tx, TxLog,
    embedded, provider,
};
#[cfg(feature = "server")]
pub use devnet::{Devnet, devnet_key};
#[cfg(feature = "testing")]
pub use embedded::read_log;
pub use embedded::{Embedded, Genesis, Snapshot};
