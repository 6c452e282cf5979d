//! Money for inferences.

use async_trait::async_trait;
use openledger_core::{Address, Amount, B256, Result, U256};
use serde::{Deserialize, Serialize};

use super::{super::narrow::fit, to_u128};
use crate::{
    EvmChain, Sent,
    abi::{
        fee_policy::FeePolicy,
        inference_escrow::{
            InferenceEscrow,
            InferenceEscrow::{Collected, Settled, Withdrawn},
        },
        open_token::OpenToken,
    },
    settlement::FeeSplit,
};

/// Money that users put down and nodes take for receipts.
///
/// # Contract
/// - What is authorized is reserved: a node can rely on it until it expires, nobody else can take it.
/// - A batch is settled once, when it is final, out of what its node was authorized for.
/// - What is charged goes to rewards and nowhere else.
/// - What was paid or numbered is read from the transaction's logs, not from a call before it; a
///   receipt without that log is [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt), and
///   nothing to send again.
#[async_trait]
pub trait Payments: Send + Sync {
    /// Puts the sender's OPEN into escrow.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the amount is zero or more than
    /// the sender has; [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn deposit(&self, amount: Amount) -> Result<Vec<Sent>>;

    /// Reserves `amount` of the sender's deposit for a node until `expires_at` (Unix time), on top of
    /// what is reserved.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for an amount past 2^128 units
    /// or a time past 2^40; [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender
    /// has less in escrow, or the contract does not take the time or the node;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn authorize(&self, node: Address, amount: Amount, expires_at: u64) -> Result<Sent>;

    /// Gives an expired reservation back to its payer; anybody may.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if nothing is reserved or the
    /// reservation has not expired;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn release(&self, payer: Address, node: Address) -> Result<Sent>;

    /// Charges payers for a batch of the sender's that is final; returns the sum.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the batch is not final, was
    /// settled, or a payer reserved less for the sender;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn settle(&self, batch: B256, charges: &[Charge]) -> Result<Sent<Amount>>;

    /// Returns what an account has in escrow, beside what is reserved.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn deposited(&self, payer: Address) -> Result<Amount>;

    /// Returns what is reserved for a node, and until when.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn reserved(&self, payer: Address, node: Address) -> Result<Reservation>;

    /// Announces that the sender takes `amount` of its deposit back after the delay.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for an amount past 2^128 units;
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the contract refuses;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn request_withdrawal(&self, amount: Amount) -> Result<Sent>;

    /// Pays the sender what it announced.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the delay is not over or there
    /// is nothing to pay; [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn withdraw(&self) -> Result<Sent<Amount>>;

    /// Makes what came to a node's till chargeable by that node; anybody may. Returns how much.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the till is empty;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn collect(&self, node: Address) -> Result<Sent<Amount>>;

    /// Returns how fees are divided, and who gets the platform's and the stakers' parts.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if the parts the contract tells
    /// are not a whole; [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn fee_split(&self) -> Result<(FeeSplit, FeeAccounts)>;
}

/// What a payer owes for a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract takes exactly these")]
pub struct Charge {
    /// Who pays.
    pub payer: Address,
    /// How much.
    pub amount: Amount,
}

/// Money reserved for a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Reservation {
    /// How much is left of it.
    pub amount: Amount,
    /// The last second (Unix time) in which the node can take it.
    pub expires_at: u64,
}

impl Reservation {
    /// Makes what [`Payments::reserved`] returns, for another escrow than a contract's.
    pub const fn new(amount: Amount, expires_at: u64) -> Self {
        Self { amount, expires_at }
    }
}

/// Who gets the parts of fees that are neither the model's nor the contributors'.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the contract has these two")]
pub struct FeeAccounts {
    /// The platform's treasury.
    pub treasury: Address,
    /// The stakers' pool.
    pub staking_pool: Address,
}

#[async_trait]
impl Payments for EvmChain {
    async fn deposit(&self, amount: Amount) -> Result<Vec<Sent>> {
        let token = OpenToken::new(self.contracts.token, &self.provider);
        let allow = token.approve(self.contracts.escrow, amount.units());
        let allowed = self.send("allow the escrow to take OPEN", allow).await?;
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        let deposited = self.send("deposit OPEN", escrow.deposit(amount.units())).await?;
        Ok(vec![allowed, deposited])
    }

    async fn authorize(&self, node: Address, amount: Amount, expires_at: u64) -> Result<Sent> {
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        let expires_at = fit(expires_at, "the end of a reservation")?;
        let call = escrow.authorize(node, to_u128(amount)?, expires_at);
        self.send("authorize a node", call).await
    }

    async fn release(&self, payer: Address, node: Address) -> Result<Sent> {
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        self.send("release a reservation", escrow.release(payer, node)).await
    }

    async fn settle(&self, batch: B256, charges: &[Charge]) -> Result<Sent<Amount>> {
        let charges = charges
            .iter()
            .map(|charge| InferenceEscrow::Charge {
                payer: charge.payer,
                amount: charge.amount.units(),
            })
            .collect();
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        let sent = self.send("settle a batch", escrow.settle(batch, charges)).await?;
        sent.told(self.contracts.escrow, |event: Settled| Ok(Amount::new(event.total)))
    }

    async fn deposited(&self, payer: Address) -> Result<Amount> {
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        self.ask("ask for a deposit", escrow.balances(payer)).await.map(Amount::new)
    }

    async fn reserved(&self, payer: Address, node: Address) -> Result<Reservation> {
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        let lock = self.ask("ask for a reservation", escrow.locks(payer, node)).await?;
        Ok(Reservation {
            amount: Amount::new(U256::from(lock.amount)),
            expires_at: lock.expiresAt.to(),
        })
    }

    async fn request_withdrawal(&self, amount: Amount) -> Result<Sent> {
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        let call = escrow.requestWithdrawal(to_u128(amount)?);
        self.send("announce a withdrawal", call).await
    }

    async fn withdraw(&self) -> Result<Sent<Amount>> {
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        let sent = self.send("withdraw", escrow.withdraw()).await?;
        sent.told(self.contracts.escrow, |event: Withdrawn| Ok(Amount::new(event.amount)))
    }

    async fn collect(&self, node: Address) -> Result<Sent<Amount>> {
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        let sent = self.send("collect a till", escrow.collect(node)).await?;
        sent.told(self.contracts.escrow, |event: Collected| Ok(Amount::new(event.amount)))
    }

    async fn fee_split(&self) -> Result<(FeeSplit, FeeAccounts)> {
        let fees = FeePolicy::new(self.contracts.fees, &self.provider);
        let what = "ask how fees are divided";
        let split = self.ask(what, fees.split()).await?;
        let treasury = self.ask(what, fees.treasury()).await?;
        let staking_pool = self.ask(what, fees.stakingPool()).await?;
        let split = FeeSplit::new(split.platform, split.model, split.stakers, split.contributors)?;
        Ok((split, FeeAccounts { treasury, staking_pool }))
    }
}
