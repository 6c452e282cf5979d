//! Leaderboards.

use openledger_core::{Address, Amount, B256, DatanetId};

use super::Index;
use crate::StakeRole;

/// A part of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a page is these two")]
pub struct Page {
    /// How many to pass over.
    pub skip: usize,
    /// How many to give at the most.
    pub take: usize,
}

impl Page {
    /// The first `take`.
    pub const fn first(take: usize) -> Self {
        Self { skip: 0, take }
    }

    /// Returns the page after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { skip: self.skip.saturating_add(self.take), take: self.take }
    }
}

/// # Leaderboards
///
/// The best first, equals by address or id, so that every index of the same blocks gives the same pages.
/// A page costs a pass over all and a sort.
impl Index {
    /// Returns contributors by the rewards they were paid, those with none too. A reward is not told
    /// apart by what it is for: an account that also stakes or owns models has one sum.
    pub fn contributors_by_claimed(&self, page: Page) -> Vec<(Address, Amount)> {
        let all = self.graph.contributors.iter();
        best(all.map(|(account, _)| (*account, self.claimed(*account))), page)
    }

    /// Returns accounts by the contributions of theirs that were accepted and stand.
    pub fn contributors_by_accepted(&self, page: Page) -> Vec<(Address, u64)> {
        best(self.graph.contributors.iter().map(|(account, of)| (*account, of.accepted)), page)
    }

    /// Returns Datanets by the contributions to them that were accepted and stand.
    pub fn datanets_by_accepted(&self, page: Page) -> Vec<(DatanetId, u64)> {
        best(self.graph.datanets.iter().map(|(id, _)| (*id, self.fared(*id).accepted)), page)
    }

    /// Returns models by the receipts that nodes logged for them, but those of rejected batches.
    /// Nodes may name models that nobody registered.
    pub fn models_by_receipts(&self, page: Page) -> Vec<(B256, u64)> {
        best(self.graph.used.iter().map(|(model, receipts)| (*model, *receipts)), page)
    }

    /// Returns nodes by the receipts they logged, but those of rejected batches.
    pub fn nodes_by_receipts(&self, page: Page) -> Vec<(Address, u64)> {
        best(self.graph.nodes.iter().map(|(node, of)| (*node, of.receipts)), page)
    }

    /// Returns the operators of a role by what was staked behind them less what left, see
    /// [`Vault::principal`](super::Vault::principal).
    pub fn operators_by_stake(&self, role: StakeRole, page: Page) -> Vec<(Address, Amount)> {
        let role = role as u8;
        let keys = (role, Address::ZERO)..=(role, Address::repeat_byte(0xff));
        let all = self.stakes.vaults.range(keys);
        best(all.map(|((_, operator), vault)| (*operator, vault.principal())), page)
    }

    /// Returns accounts by the OPEN they hold.
    pub fn holders_by_balance(&self, page: Page) -> Vec<(Address, Amount)> {
        best(self.holders(), page)
    }
}

fn best<K: Ord, T: Ord>(all: impl Iterator<Item = (K, T)>, page: Page) -> Vec<(K, T)> {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable_by(|(one, much), (other, more)| more.cmp(much).then(one.cmp(other)));
    all.into_iter().skip(page.skip).take(page.take).collect()
}
