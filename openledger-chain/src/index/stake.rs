//! Stake behind operators.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Address, Amount, B256, Result, U256};

use super::{
    map::Map,
    money::number,
    numbered,
    wrong::{add, count, known, take, wrong},
};
use crate::{StakeRole, abi::staking::Staking::StakingEvents as Event};

/// The stake behind an operator in a role, as far as events tell.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Vault {
    /// All that was ever staked.
    pub staked: Amount,
    /// All that was ever taken out of work: unbonded, or slashed there. With growth it may be more
    /// than was staked.
    pub left: Amount,
    /// What waits to leave.
    pub queued: Amount,
    /// All that slashes took, of what worked and of what waited.
    pub slashed: Amount,
    /// Shares in the vault; what one is worth, only the contract tells.
    pub shares: U256,
    /// Penalty points.
    pub penalty: u64,
    /// The part of its growth that it loses, in basis points.
    pub cut_bps: u16,
    /// Slashes that are proposed and not decided.
    pub pending_slashes: u64,
}

impl Vault {
    /// Returns what was staked less what left, without growth.
    ///
    /// Growth is a function of time and no event, so this is what works only where the rate is
    /// zero; [`Staking::stake_of`](crate::Staking::stake_of) asks the contract. What leaves counts
    /// as principal first: once more than was staked is gone, this is zero.
    pub fn principal(&self) -> Amount {
        self.staked.checked_sub(self.left).unwrap_or(Amount::ZERO)
    }
}

/// The stake of a role, at the last event of it.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Pool {
    /// What works, with the growth that was paid.
    pub working: Amount,
    /// What is left to pay growth.
    pub reserve: Amount,
    /// The yearly rate of growth, 10^18 being 100 %.
    pub rate: u64,
}

/// One owner's part of a vault.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Position {
    /// Shares in the vault.
    pub shares: U256,
    /// Until when they stay.
    pub locked_until: u64,
}

/// A slash that was proposed.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Slash {
    /// In which role.
    #[borsh(
        serialize_with = "numbered::role::serialize",
        deserialize_with = "numbered::role::deserialize"
    )]
    pub role: StakeRole,
    /// Who is to lose stake.
    pub operator: Address,
    /// How much of it, in basis points.
    pub bps: u16,
    /// Digest of the reasons.
    pub evidence: B256,
    /// When it can be executed.
    pub executable_at: u64,
    /// What came of it.
    pub outcome: SlashOutcome,
}

/// What came of a slash.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SlashOutcome {
    /// It waits.
    Pending,
    /// The guardian stopped it.
    Vetoed,
    /// It took this much.
    Executed(Amount),
}

/// All stake.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Stakes {
    pub(super) pools: Map<u8, Pool>,
    pub(super) vaults: Map<(u8, Address), Vault>,
    pub(super) positions: Map<(u8, Address, Address), Position>,
    pub(super) slashes: Map<u64, Slash>,
}

impl Stakes {
    pub(super) fn apply(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Staked(e) => {
                self.pool(e.role, |pool| add(&mut pool.working, e.amount, "the role's stake"))?;
                let mut vault = self.vault(e.role, e.operator);
                add(&mut vault.staked, e.amount, "the stake")?;
                vault.shares = sum(vault.shares, e.shares)?;
                self.vaults.put((e.role, e.operator), vault);
                let key = (e.role, e.operator, e.owner);
                let mut position = self.positions.at(&key).copied().unwrap_or_default();
                position.shares = sum(position.shares, e.shares)?;
                position.locked_until = e.lockedUntil.to();
                self.positions.put(key, position);
            }
            Event::Unbonding(e) => {
                self.pool(e.role, |pool| take(&mut pool.working, e.amount, "the role's stake"))?;
                let mut vault = self.vault(e.role, e.operator);
                add(&mut vault.left, e.amount, "what left")?;
                add(&mut vault.queued, e.amount, "the queue")?;
                vault.shares = rest(vault.shares, e.shares)?;
                self.vaults.put((e.role, e.operator), vault);
                let position = self.positions.at_mut(&(e.role, e.operator, e.owner));
                let position = known(position, "stake of", e.owner)?;
                position.shares = rest(position.shares, e.shares)?;
            }
            Event::Withdrawn(e) => {
                let vault = self.vaults.at_mut(&(e.role, e.operator));
                let vault = known(vault, "stake behind", e.operator)?;
                take(&mut vault.queued, e.amount, "the queue")?;
            }
            Event::RewardsFunded(e) => {
                self.pool(e.role, |pool| add(&mut pool.reserve, e.amount, "the reserve"))?;
            }
            Event::RewardsAccrued(e) => self.pool(e.role, |pool| {
                take(&mut pool.reserve, e.amount, "the reserve")?;
                add(&mut pool.working, e.amount, "the role's stake")
            })?,
            Event::RewardsCut(e) => self.pool(e.role, |pool| {
                take(&mut pool.working, e.amount, "the role's stake")?;
                add(&mut pool.reserve, e.amount, "the reserve")
            })?,
            Event::RateChanged(e) => self.pool(e.role, |pool| {
                pool.rate = e.rate;
                Ok(())
            })?,
            Event::PenaltyChanged(e) => self.vaults.change((e.role, e.operator), |vault| {
                (vault.penalty, vault.cut_bps) = (e.penalty, e.cut);
            }),
            Event::SlashProposed(e) => {
                let slash = Slash {
                    role: known(numbered::role::of(e.role), "role", e.role)?,
                    operator: e.operator,
                    bps: e.bps,
                    evidence: e.evidence,
                    executable_at: e.executableAt.to(),
                    outcome: SlashOutcome::Pending,
                };
                let id = number(e.id)?;
                if self.slashes.has(&id) {
                    return Err(wrong(format!("slash {id} proposed twice")));
                }
                self.slashes.put(id, slash);
                let mut vault = self.vault(e.role, e.operator);
                count(&mut vault.pending_slashes, "the pending slashes")?;
                self.vaults.put((e.role, e.operator), vault);
            }
            Event::SlashVetoed(e) => {
                self.decide(e.id, SlashOutcome::Vetoed)?;
            }
            Event::SlashExecuted(e) => {
                let mut taken = Amount::new(e.fromActive);
                add(&mut taken, e.fromQueue, "the slash")?;
                let (role, vault) = self.decide(e.id, SlashOutcome::Executed(taken))?;
                add(&mut vault.left, e.fromActive, "what left")?;
                add(&mut vault.slashed, taken.units(), "what was slashed")?;
                take(&mut vault.queued, e.fromQueue, "the queue")?;
                self.pool(role, |pool| take(&mut pool.working, e.fromActive, "the role's stake"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn vault(&self, role: u8, operator: Address) -> Vault {
        self.vaults.at(&(role, operator)).copied().unwrap_or_default()
    }

    fn decide(&mut self, id: U256, outcome: SlashOutcome) -> Result<(u8, &mut Vault)> {
        let slash = known(self.slashes.at_mut(&number(id)?), "slash", id)?;
        if slash.outcome != SlashOutcome::Pending {
            return Err(wrong(format!("slash {id} decided twice")));
        }
        slash.outcome = outcome;
        let vault = self.vaults.at_mut(&(slash.role as u8, slash.operator));
        let vault = known(vault, "stake behind", slash.operator)?;
        let left = vault.pending_slashes.checked_sub(1);
        vault.pending_slashes = known(left, "pending slash of", slash.operator)?;
        Ok((slash.role as u8, vault))
    }

    fn pool(&mut self, role: u8, change: impl FnOnce(&mut Pool) -> Result<()>) -> Result<()> {
        let mut pool = self.pools.at(&role).copied().unwrap_or_default();
        change(&mut pool)?;
        self.pools.put(role, pool);
        Ok(())
    }
}

fn sum(shares: U256, more: U256) -> Result<U256> {
    shares.checked_add(more).ok_or_else(|| wrong(format!("{shares} shares and {more} more")))
}

fn rest(shares: U256, less: U256) -> Result<U256> {
    shares.checked_sub(less).ok_or_else(|| wrong(format!("{less} of {shares} shares leave")))
}
