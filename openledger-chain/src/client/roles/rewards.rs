//! Rewards by cumulative claims.

use async_trait::async_trait;
use openledger_core::{Address, Amount, B256, Result, U256};
use serde::{Deserialize, Serialize};

use super::{super::narrow::narrow, to_u128};
use crate::{
    EvmChain, Sent,
    abi::reward_distributor::{
        RewardDistributor,
        RewardDistributor::{Claimed, RootSubmitted},
    },
    settlement::Claim,
};

/// Rewards by cumulative claims.
///
/// # Contract
/// - A claim pays the account what its root says beyond what it was paid before, once.
/// - Before its activation time, and once disabled, a root pays nothing.
/// - What was paid or numbered is read from the transaction's logs, not from a call before it; a
///   receipt without that log is [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt), and
///   nothing to send again.
#[async_trait]
pub trait Rewards: Send + Sync {
    /// Submits a root over claims that commits to `total` in all; returns its number.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for a total past 2^128 units;
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender is no node, the root
    /// is zero, or the total falls or is more than was paid in;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn submit_root(&self, root: B256, body: B256, total: Amount) -> Result<Sent<u64>>;

    /// Returns a root's state.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn root(&self, index: u64) -> Result<RootStatus>;

    /// Stops a root that is not active yet, as the guardian.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender is not the guardian,
    /// or the root is unknown, active or stopped;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn veto(&self, index: u64) -> Result<Sent>;

    /// Pays what `claim.account` earned by the root at `index`, to the account or to whom it named;
    /// anybody may. Returns how much.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the root is unknown, stopped or
    /// not active yet, the proof is not one of it, or nothing is left to pay;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn claim(&self, index: u64, claim: &Claim, proof: &[B256]) -> Result<Sent<Amount>>;

    /// Names who gets the sender's claims from now on; zero for the sender itself.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the contract refuses;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn set_claimer(&self, claimer: Address) -> Result<Sent>;

    /// Returns what an account was paid so far.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn claimed(&self, account: Address) -> Result<Amount>;
}

/// The state of a root of claims.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RootStatus {
    /// The root.
    pub root: B256,
    /// What it commits to in all.
    pub total: Amount,
    /// The second (Unix time) from which it pays.
    pub activates_at: u64,
    /// Whether it was stopped.
    pub disabled: bool,
}

#[async_trait]
impl Rewards for EvmChain {
    async fn submit_root(&self, root: B256, body: B256, total: Amount) -> Result<Sent<u64>> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        let call = distributor.submitRoot(root, body, to_u128(total)?);
        let sent = self.send("submit a root", call).await?;
        let number = |event: RootSubmitted| narrow(event.index, "the number of a root");
        sent.told(self.contracts.distributor, number)
    }

    async fn root(&self, index: u64) -> Result<RootStatus> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        let status = self.ask("ask for a root", distributor.roots(U256::from(index))).await?;
        Ok(RootStatus {
            root: status.root,
            total: Amount::new(U256::from(status.total)),
            activates_at: status.activatesAt.to(),
            disabled: status.disabled,
        })
    }

    async fn veto(&self, index: u64) -> Result<Sent> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        self.send("veto a root", distributor.veto(U256::from(index))).await
    }

    async fn claim(&self, index: u64, claim: &Claim, proof: &[B256]) -> Result<Sent<Amount>> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        let (account, cumulative) = (claim.account, claim.cumulative.units());
        let call = distributor.claim(U256::from(index), account, cumulative, proof.to_vec());
        let sent = self.send("claim", call).await?;
        sent.told(self.contracts.distributor, |event: Claimed| Ok(Amount::new(event.amount)))
    }

    async fn set_claimer(&self, claimer: Address) -> Result<Sent> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        self.send("name a claimer", distributor.setClaimer(claimer)).await
    }

    async fn claimed(&self, account: Address) -> Result<Amount> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        self.ask("ask for past claims", distributor.claimed(account)).await.map(Amount::new)
    }
}
