//! Stake: what operators and those behind them have to lose.

use async_trait::async_trait;
use openledger_core::{Address, Amount, Result, U256};
use serde::{Deserialize, Serialize};

use super::{super::narrow::narrow, to_u128};
use crate::{
    EvmChain, Sent,
    abi::{
        open_token::OpenToken,
        staking::{
            Staking as StakingContract,
            Staking::{Unbonding, Withdrawn},
        },
    },
};

/// Stake by role and operator.
///
/// # Contract
/// - Stake leaves only through the cooldown, and not while a slash of its operator is undecided.
/// - A slash takes the same part of what works and of what is on its way out.
/// - Growth is paid out of what was funded, never minted.
/// - What was paid or numbered is read from the transaction's logs, not from a call before it; a
///   receipt without that log is [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt), and
///   nothing to send again.
#[async_trait]
pub trait Staking: Send + Sync {
    /// Stakes the sender's OPEN behind an operator, which may be the sender.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for an amount past 2^128 units;
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender has less, a cap
    /// would be passed, or the operator was slashed to nothing;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn stake(&self, role: StakeRole, operator: Address, amount: Amount) -> Result<Vec<Sent>>;

    /// Starts to take `shares` of the sender's back; returns the number of the exit.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for shares past 2^128;
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender has fewer or they
    /// are locked; [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn unbond(&self, role: StakeRole, operator: Address, shares: U256) -> Result<Sent<u64>>;

    /// Pays an exit whose cooldown is over; returns how much.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if there is no such exit or it was
    /// paid, the cooldown is not over, or a slash is undecided;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn withdraw_stake(
        &self,
        role: StakeRole,
        operator: Address,
        exit: u64,
    ) -> Result<Sent<Amount>>;

    /// Puts OPEN aside to pay a role's growth.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for an amount past 2^128 units;
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if it is zero or more than the
    /// sender has; [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn fund_growth(&self, role: StakeRole, amount: Amount) -> Result<Vec<Sent>>;

    /// Carries out a slash whose delay is over; anybody may.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if there is no such slash, it is
    /// decided or in its delay;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn execute_slash(&self, slash: u64) -> Result<Sent>;

    /// Stops a slash in its delay, as the guardian.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender is not the guardian,
    /// or there is no such slash or it is decided;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn veto_slash(&self, slash: u64) -> Result<Sent>;

    /// Returns what is staked behind an operator.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn stake_of(&self, role: StakeRole, operator: Address) -> Result<StakeStatus>;

    /// Returns the shares an owner has behind an operator, and what they are worth now.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn position(
        &self,
        role: StakeRole,
        operator: Address,
        owner: Address,
    ) -> Result<(U256, Amount)>;
}

/// What an operator stakes to do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
#[repr(u8)]
pub enum StakeRole {
    /// Brings data.
    Contributor = 0,
    /// Judges and checks.
    Validator = 1,
    /// Runs a node or an agent.
    Agent = 2,
}

/// What is staked behind an operator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StakeStatus {
    /// What works, with its growth.
    pub active: Amount,
    /// What waits to leave, and can still be slashed.
    pub queued: Amount,
    /// Penalty points.
    pub penalty: u64,
    /// Slashes that are undecided.
    pub pending_slashes: u64,
}

#[async_trait]
impl Staking for EvmChain {
    async fn stake(&self, role: StakeRole, operator: Address, amount: Amount) -> Result<Vec<Sent>> {
        let allowed = self.allow_staking(amount).await?;
        let staking = StakingContract::new(self.contracts.staking, &self.provider);
        let call = staking.stake(role as u8, operator, to_u128(amount)?);
        Ok(vec![allowed, self.send("stake", call).await?])
    }

    async fn unbond(&self, role: StakeRole, operator: Address, shares: U256) -> Result<Sent<u64>> {
        let staking = StakingContract::new(self.contracts.staking, &self.provider);
        let call = staking.unbond(role as u8, operator, to_u128(Amount::new(shares))?);
        let sent = self.send("unbond", call).await?;
        let number = |event: Unbonding| narrow(event.exit, "the number of an exit");
        sent.told(self.contracts.staking, number)
    }

    async fn withdraw_stake(
        &self,
        role: StakeRole,
        operator: Address,
        exit: u64,
    ) -> Result<Sent<Amount>> {
        let staking = StakingContract::new(self.contracts.staking, &self.provider);
        let call = staking.withdraw(role as u8, operator, U256::from(exit));
        let sent = self.send("withdraw stake", call).await?;
        sent.told(self.contracts.staking, |event: Withdrawn| Ok(Amount::new(event.amount)))
    }

    async fn fund_growth(&self, role: StakeRole, amount: Amount) -> Result<Vec<Sent>> {
        let allowed = self.allow_staking(amount).await?;
        let staking = StakingContract::new(self.contracts.staking, &self.provider);
        let call = staking.fundRewards(role as u8, to_u128(amount)?);
        Ok(vec![allowed, self.send("fund growth", call).await?])
    }

    async fn execute_slash(&self, slash: u64) -> Result<Sent> {
        let staking = StakingContract::new(self.contracts.staking, &self.provider);
        self.send("execute a slash", staking.executeSlash(U256::from(slash))).await
    }

    async fn veto_slash(&self, slash: u64) -> Result<Sent> {
        let staking = StakingContract::new(self.contracts.staking, &self.provider);
        self.send("veto a slash", staking.vetoSlash(U256::from(slash))).await
    }

    async fn stake_of(&self, role: StakeRole, operator: Address) -> Result<StakeStatus> {
        let staking = StakingContract::new(self.contracts.staking, &self.provider);
        let what = "ask for a stake";
        let active = self.ask(what, staking.stakeOf(role as u8, operator)).await?;
        let vault = self.ask(what, staking.vaultOf(role as u8, operator)).await?;
        Ok(StakeStatus {
            active: Amount::new(active),
            queued: Amount::new(U256::from(vault.queued)),
            penalty: vault.penalty,
            pending_slashes: vault.slashes.into(),
        })
    }

    async fn position(
        &self,
        role: StakeRole,
        operator: Address,
        owner: Address,
    ) -> Result<(U256, Amount)> {
        let staking = StakingContract::new(self.contracts.staking, &self.provider);
        let what = "ask for a position";
        let position = self.ask(what, staking.positions(role as u8, operator, owner)).await?;
        let worth = self.ask(what, staking.assetsOf(role as u8, operator, owner)).await?;
        Ok((U256::from(position.shares), Amount::new(worth)))
    }
}

impl EvmChain {
    async fn allow_staking(&self, amount: Amount) -> Result<Sent> {
        let token = OpenToken::new(self.contracts.token, &self.provider);
        let call = token.approve(self.contracts.staking, amount.units());
        self.send("allow staking to take OPEN", call).await
    }
}
