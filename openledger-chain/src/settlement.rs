//! From receipts to claims: the fee rule, the credits of an epoch, the tree of cumulative claims.
//!
//! ```text
//! receipts ─ fee split ─▶ credits ─ + what was earned before ─▶ claims ─▶ Merkle tree ─▶ root
//! ```
//!
//! All of it is integers and largest remainders, so every node gets the same root.

use std::collections::{BTreeMap, BTreeSet};

use openledger_core::{
    Address, Amount, B256, Error, ErrorKind, Receipt, ReceiptId, Result, U256,
    merkle::StandardTree,
    message::Verified,
    share::{split, split_keyed},
};
use serde::{Deserialize, Serialize};

use crate::{FeeAccounts, Price};

/// One hundred percent in basis points.
const WHOLE_BPS: u64 = 10_000;

/// How a fee is divided, in basis points.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "[u16; 4]", into = "[u16; 4]")]
pub struct FeeSplit {
    platform: u16,
    model: u16,
    stakers: u16,
    contributors: u16,
}

impl Default for FeeSplit {
    /// 10 % platform, 20 % model, 20 % stakers, 50 % contributors.
    fn default() -> Self {
        Self { platform: 1000, model: 2000, stakers: 2000, contributors: 5000 }
    }
}

impl FeeSplit {
    /// Takes the parts of platform, model, stakers and contributors.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] unless they add up to 10,000 and the platform's is below it.
    pub fn new(platform: u16, model: u16, stakers: u16, contributors: u16) -> Result<Self> {
        let sum: u64 = [platform, model, stakers, contributors].map(u64::from).iter().sum();
        if sum != WHOLE_BPS || u64::from(platform) == WHOLE_BPS {
            return Err(Error::invalid(format!("fee parts add up to {sum} basis points")));
        }
        Ok(Self { platform, model, stakers, contributors })
    }

    /// Returns the fee of an inference: `T_in/1000 * R_in + T_out/1000 * R_out + F_platform`, where
    /// the platform's part makes up its basis points of the whole. Rounded up to the unit.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if a price is so large that the fee passes 2^256.
    ///
    /// # Examples
    /// ```
    /// use openledger_chain::{Price, settlement::FeeSplit};
    /// use openledger_core::Amount;
    ///
    /// let price = Price { per_thousand_in: 100.into(), per_thousand_out: 800.into() };
    /// // 0.5 * 100 + 1.0625 * 800 = 900 for the tokens; with the platform's 10 % it is 1,000.
    /// assert_eq!(FeeSplit::default().fee(&price, 500, 1_062)?, Amount::from(1_000));
    /// # Ok::<(), openledger_core::Error>(())
    /// ```
    pub fn fee(&self, price: &Price, tokens_in: u64, tokens_out: u64) -> Result<Amount> {
        let compute = || {
            let read = price.per_thousand_in.units().checked_mul(U256::from(tokens_in))?;
            let written = price.per_thousand_out.units().checked_mul(U256::from(tokens_out))?;
            let usage = Amount::new(read.checked_add(written)?);
            let net = WHOLE_BPS - u64::from(self.platform);
            usage.checked_mul_div_ceil(U256::from(WHOLE_BPS), U256::from(1000 * net))
        };
        compute().ok_or_else(|| Error::invalid("the price is too large"))
    }

    /// Divides a fee, losing nothing.
    pub fn divide(&self, fee: Amount) -> Parts {
        let weights = [self.platform, self.model, self.stakers, self.contributors].map(u64::from);
        let parts = split(fee, &weights).expect("the parts add up to 10,000");
        let [platform, model, stakers, contributors] =
            parts.try_into().expect("as many parts as weights");
        Parts { platform, model, stakers, contributors }
    }
}

impl TryFrom<[u16; 4]> for FeeSplit {
    type Error = Error;

    fn try_from([platform, model, stakers, contributors]: [u16; 4]) -> Result<Self> {
        Self::new(platform, model, stakers, contributors)
    }
}

impl From<FeeSplit> for [u16; 4] {
    fn from(split: FeeSplit) -> Self {
        [split.platform, split.model, split.stakers, split.contributors]
    }
}

/// The parts of a fee, or of many.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a fee has these four parts")]
pub struct Parts {
    /// The platform's.
    pub platform: Amount,
    /// The model owner's.
    pub model: Amount,
    /// The stakers'.
    pub stakers: Amount,
    /// The contributors'.
    pub contributors: Amount,
}

impl Parts {
    fn add(&mut self, other: &Self) -> Option<()> {
        self.platform = self.platform.checked_add(other.platform)?;
        self.model = self.model.checked_add(other.model)?;
        self.stakers = self.stakers.checked_add(other.stakers)?;
        self.contributors = self.contributors.checked_add(other.contributors)?;
        Some(())
    }
}

/// What an account has earned since the beginning: a leaf of the distributor's tree.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the contract's leaf has these two beside constants")]
pub struct Claim {
    /// Who earned it.
    pub account: Address,
    /// All it earned, paid or not.
    pub cumulative: Amount,
}

/// The values of a leaf: chain id, distributor, account, token, cumulative amount.
pub type ClaimLeaf = (U256, Address, Address, Address, U256);

/// Where claims are made; part of every leaf, so that no leaf counts elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract's leaf has these three constants")]
pub struct Distributor {
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// The token it pays.
    pub token: Address,
}

/// Collects the receipts of an epoch.
///
/// # Examples
/// See the quickstart, which settles real receipts.
#[derive(Clone, Debug)]
pub struct EpochBuilder {
    split: FeeSplit,
    accounts: FeeAccounts,
    before: BTreeMap<Address, Amount>,
    credits: BTreeMap<Address, Amount>,
    charges: BTreeMap<Address, Amount>,
    parts: Parts,
    seen: BTreeSet<ReceiptId>,
}

impl EpochBuilder {
    /// Begins an epoch on top of what accounts earned `before`.
    pub fn new(
        split: FeeSplit,
        accounts: FeeAccounts,
        before: impl IntoIterator<Item = Claim>,
    ) -> Self {
        let before = before.into_iter().map(|claim| (claim.account, claim.cumulative)).collect();
        Self {
            split,
            accounts,
            before,
            credits: BTreeMap::new(),
            charges: BTreeMap::new(),
            parts: Parts::default(),
            seen: BTreeSet::new(),
        }
    }

    /// Divides a receipt's fee among platform, model owner, stakers and contributors.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the receipt was added before.
    pub fn add(&mut self, receipt: &Verified<Receipt>, model_owner: Address) -> Result<()> {
        let receipt = receipt.message();
        let id = receipt.id();
        if !self.seen.insert(id) {
            return Err(Error::new(ErrorKind::Conflict, format!("receipt {id} twice in an epoch")));
        }
        let parts = self.split.divide(receipt.fee);
        let to_contributors = split_keyed(parts.contributors, receipt.shares.by_contributor())?;
        let to_others = [
            (self.accounts.treasury, parts.platform),
            (model_owner, parts.model),
            (self.accounts.staking_pool, parts.stakers),
        ];
        for (account, amount) in to_others.into_iter().chain(to_contributors) {
            add_to(&mut self.credits, account, amount)?;
        }
        add_to(&mut self.charges, receipt.payer, receipt.fee)?;
        self.parts.add(&parts).ok_or_else(overflow)
    }

    /// Returns what each payer owes for the epoch.
    pub fn charges(&self) -> impl Iterator<Item = (Address, Amount)> {
        self.charges.iter().map(|(&payer, &amount)| (payer, amount))
    }

    /// Returns how the epoch's fees are divided in all.
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Returns the receipts' names, for the batch's tree.
    pub fn receipts(&self) -> impl Iterator<Item = ReceiptId> {
        self.seen.iter().copied()
    }

    /// Makes the tree of what everybody has earned since the beginning.
    ///
    /// `funded` is all money that was ever put into the distributor.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if the claims pass what was funded; [`ErrorKind::Invalid`] without any.
    pub fn build(self, distributor: &Distributor, funded: Amount) -> Result<Settlement> {
        let mut cumulative = self.before;
        for (&account, &amount) in &self.credits {
            add_to(&mut cumulative, account, amount)?;
        }
        cumulative.retain(|_, amount| *amount > Amount::ZERO);
        let claims: Vec<Claim> = cumulative
            .into_iter()
            .map(|(account, cumulative)| Claim { account, cumulative })
            .collect();
        let total = claims
            .iter()
            .try_fold(Amount::ZERO, |sum, claim| sum.checked_add(claim.cumulative))
            .ok_or_else(overflow)?;
        if total > funded {
            let message = format!("claims of {total} in all, {funded} funded");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let leaves = claims.iter().map(|claim| claim.leaf(distributor)).collect();
        Ok(Settlement { tree: StandardTree::new(leaves)?, claims, total })
    }
}

impl Claim {
    /// Returns the leaf for this claim.
    pub fn leaf(&self, distributor: &Distributor) -> ClaimLeaf {
        let Distributor { chain_id, contract, token } = *distributor;
        (U256::from(chain_id), contract, self.account, token, self.cumulative.units())
    }
}

/// The claims of an epoch and the tree over them.
#[derive(Clone, Debug)]
pub struct Settlement {
    tree: StandardTree<ClaimLeaf>,
    claims: Vec<Claim>,
    total: Amount,
}

impl Settlement {
    /// Returns the root to submit.
    pub fn root(&self) -> B256 {
        self.tree.root()
    }

    /// Returns what the root commits to in all.
    pub const fn total(&self) -> Amount {
        self.total
    }

    /// Returns the claims, by ascending account.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Returns an account's claim with its proof.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it earned nothing.
    pub fn claim(&self, account: Address) -> Result<(Claim, Vec<B256>)> {
        let place = self.claims.binary_search_by_key(&account, |claim| claim.account);
        let place = place.map_err(|_| {
            Error::new(ErrorKind::NotFound, format!("{account} has nothing to claim"))
        })?;
        Ok((self.claims[place], self.tree.proof(place)))
    }

    /// Returns the tree as JSON, to publish: OpenZeppelin's library loads it.
    pub fn dump(&self) -> String {
        self.tree.dump()
    }
}

fn add_to(sums: &mut BTreeMap<Address, Amount>, account: Address, amount: Amount) -> Result<()> {
    let sum = sums.entry(account).or_default();
    *sum = sum.checked_add(amount).ok_or_else(overflow)?;
    Ok(())
}

fn overflow() -> Error {
    Error::invalid("amounts pass 2^256")
}
