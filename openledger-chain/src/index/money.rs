//! Who has what: OPEN, escrow, rewards.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Address, Amount, B256, Result, U256};

use super::{
    map::Map,
    wrong::{add, known, take, wrong},
};
use crate::abi::{
    inference_escrow::InferenceEscrow::InferenceEscrowEvents as Escrow,
    open_token::OpenToken::OpenTokenEvents as Token,
    reward_distributor::RewardDistributor::RewardDistributorEvents as Distributor,
};

/// What a payee may still take from a payer; as
/// [`Payments::reserved`](crate::Payments::reserved) answers.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Lock {
    /// How much.
    pub amount: Amount,
    /// The last second in which it can be taken; 2^40 - 1 for what was paid to a till.
    pub expires_at: u64,
}

/// What a payer announced to take out of escrow.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Leaving {
    /// How much.
    pub amount: Amount,
    /// When it may.
    pub available_at: u64,
}

/// A root of claims.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Root {
    /// The root.
    pub root: B256,
    /// Keccak-256 of the published leaves.
    pub body: B256,
    /// What it commits to in all.
    pub total: Amount,
    /// When claims begin.
    pub activates_at: u64,
    /// Vetoed or disabled.
    pub disabled: bool,
}

/// The accounts of money.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Money {
    pub(super) supply: Amount,
    pub(super) balances: Map<Address, Amount>,
    pub(super) free: Map<Address, Amount>,
    pub(super) locks: Map<(Address, Address), Lock>,
    pub(super) leaving: Map<Address, Leaving>,
    pub(super) settled: Map<(Address, B256), Amount>,
    pub(super) funded: Amount,
    pub(super) roots: Map<u64, Root>,
    pub(super) paid: Amount,
    pub(super) claimed: Map<Address, Amount>,
    pub(super) claimers: Map<Address, Address>,
}

impl Money {
    pub(super) fn token(&mut self, event: &Token) -> Result<()> {
        let Token::Transfer(event) = event else { return Ok(()) };
        match event.from.is_zero() {
            true => add(&mut self.supply, event.value, "the supply")?,
            false => debit(&mut self.balances, event.from, event.value, "the balance")?,
        }
        match event.to.is_zero() {
            true => take(&mut self.supply, event.value, "the supply"),
            false => credit(&mut self.balances, event.to, event.value, "the balance"),
        }
    }

    pub(super) fn escrow(&mut self, event: &Escrow) -> Result<()> {
        match event {
            Escrow::Deposited(e) => credit(&mut self.free, e.payer, e.amount, "the deposit"),
            Escrow::Authorized(e) => {
                debit(&mut self.free, e.payer, U256::from(e.amount), "the deposit")?;
                let key = (e.payer, e.payee);
                let mut lock = self.locks.at(&key).copied().unwrap_or_default();
                add(&mut lock.amount, U256::from(e.amount), "the lock")?;
                if lock.amount.units() != U256::from(e.locked) {
                    let (sum, said) = (lock.amount, e.locked);
                    return Err(wrong(format!("a lock of {sum} that is said to be {said}")));
                }
                lock.expires_at = e.expiresAt.to();
                self.locks.put(key, lock);
                Ok(())
            }
            Escrow::Released(e) => {
                let key = (e.payer, e.payee);
                let lock = known(self.locks.at(&key), "lock of", e.payer)?;
                if lock.amount.units() != U256::from(e.amount) {
                    let (held, said) = (lock.amount, e.amount);
                    return Err(wrong(format!("{said} released of a lock of {held}")));
                }
                self.locks.drop(&key);
                credit(&mut self.free, e.payer, U256::from(e.amount), "the deposit")
            }
            Escrow::Collected(e) => {
                let key = (e.payee, e.payee);
                let mut lock = self.locks.at(&key).copied().unwrap_or_default();
                add(&mut lock.amount, e.amount, "the lock")?;
                lock.expires_at = NEVER;
                self.locks.put(key, lock);
                Ok(())
            }
            Escrow::Charged(e) => {
                let lock = self.locks.at_mut(&(e.payer, e.node));
                let lock = known(lock, "lock of", e.payer)?;
                take(&mut lock.amount, e.amount, "the lock")
            }
            Escrow::Settled(e) => {
                let key = (e.node, e.root);
                if self.settled.has(&key) {
                    return Err(wrong(format!("batch {} settled twice", e.root)));
                }
                self.settled.put(key, Amount::new(e.total));
                Ok(())
            }
            Escrow::WithdrawalRequested(e) => {
                let amount = Amount::new(U256::from(e.amount));
                let available_at = e.availableAt.to();
                self.leaving.put(e.payer, Leaving { amount, available_at });
                Ok(())
            }
            Escrow::Withdrawn(e) => {
                let announced = known(self.leaving.at(&e.payer), "withdrawal of", e.payer)?.amount;
                if announced.units() < e.amount {
                    let taken = e.amount;
                    return Err(wrong(format!(
                        "{taken} withdrawn where {announced} was announced"
                    )));
                }
                self.leaving.drop(&e.payer);
                debit(&mut self.free, e.payer, e.amount, "the deposit")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn distributor(&mut self, event: &Distributor) -> Result<()> {
        match event {
            Distributor::Funded(e) => add(&mut self.funded, e.amount, "what was put in"),
            Distributor::RootSubmitted(e) => {
                let index = number(e.index)?;
                if self.roots.has(&index) {
                    return Err(wrong(format!("root {index} submitted twice")));
                }
                let total = Amount::new(U256::from(e.total));
                let (activates_at, disabled) = (e.activatesAt.to(), false);
                let root = Root { root: e.root, body: e.body, total, activates_at, disabled };
                self.roots.put(index, root);
                Ok(())
            }
            Distributor::RootDisabled(e) => {
                let index = number(e.index)?;
                known(self.roots.at_mut(&index), "root", index)?.disabled = true;
                Ok(())
            }
            Distributor::Claimed(e) => {
                credit(&mut self.claimed, e.account, e.amount, "the claims")?;
                let cumulative = self.claimed.at(&e.account).copied().unwrap_or_default();
                if cumulative.units() != e.cumulative {
                    let said = e.cumulative;
                    return Err(wrong(format!(
                        "claims of {cumulative} that are said to be {said}"
                    )));
                }
                add(&mut self.paid, e.amount, "the claims of all")?;
                if self.paid > self.funded {
                    let (paid, funded) = (self.paid, self.funded);
                    return Err(wrong(format!("{paid} paid of {funded} that were put in")));
                }
                Ok(())
            }
            Distributor::ClaimerChanged(e) => {
                match e.claimer.is_zero() {
                    true => self.claimers.drop(&e.account),
                    false => self.claimers.put(e.account, e.claimer),
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What was collected from a till has no expiry.
const NEVER: u64 = (1 << 40) - 1;

fn credit(all: &mut Map<Address, Amount>, to: Address, more: U256, what: &str) -> Result<()> {
    if more.is_zero() {
        return Ok(());
    }
    let mut amount = all.at(&to).copied().unwrap_or_default();
    add(&mut amount, more, &format!("{what} of {to}"))?;
    all.put(to, amount);
    Ok(())
}

/// Takes away; accounts with nothing are not kept, so that equal states have equal encodings.
fn debit(all: &mut Map<Address, Amount>, from: Address, less: U256, what: &str) -> Result<()> {
    let mut amount = all.at(&from).copied().unwrap_or_default();
    take(&mut amount, less, &format!("{what} of {from}"))?;
    match amount == Amount::ZERO {
        true => all.drop(&from),
        false => all.put(from, amount),
    }
    Ok(())
}

/// Numbers that contracts count with never reach 2^64.
pub(super) fn number(number: U256) -> Result<u64> {
    u64::try_from(number).map_err(|_| wrong(format!("the number {number}, past 2^64")))
}
