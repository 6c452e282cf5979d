#![doc = include_str!("../README.md")]

pub mod abi;
mod client;
pub mod da;
mod embedded;
pub mod settlement;

pub use alloy;

#[cfg(feature = "http")]
pub use client::http_provider;
pub use client::{
    Attributions, Charge, Contracts, DeployOptions, Deployed, DevNode, EvmChain, FeeAccounts,
    ModelEntry, Payments, Price, Registry, Rewards, RootStatus, Sent, Tx, TxLog, embedded,
    provider,
};
pub use embedded::{Embedded, Genesis};
