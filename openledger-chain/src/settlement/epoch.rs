//! An epoch: receipts in, one by one; what everybody has earned since the beginning out.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use openledger_core::{
    Address, Amount, B256, Error, ErrorKind, Receipt, ReceiptId, Result, merkle::StandardTree,
    message::Verified, share::split_keyed,
};

use super::{Claim, ClaimLeaf, Distributor, FeeSplit, Parts};
use crate::FeeAccounts;

/// What stood before an epoch: the claims of the last root, and the receipts already settled.
///
/// # Examples
/// ```
/// use openledger_chain::settlement::{Before, Claim};
/// use openledger_core::Address;
///
/// let account = Address::repeat_byte(1);
/// let claim = |units: u64| Claim { account, cumulative: units.into() };
/// let before = Before::new([claim(70)])?;
/// // On chain the account was paid more than that: these are not the claims of the last root.
/// assert!(before.check_paid([claim(80)]).is_err());
/// assert!(Before::new([claim(70), claim(80)]).is_err());
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Before {
    claims: HashMap<Address, Amount>,
    total: Amount,
    settled: HashSet<ReceiptId>,
}

impl Before {
    /// Takes the claims of the last root, in any order.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming an account that comes twice, or if the sum passes 2^256.
    pub fn new(claims: impl IntoIterator<Item = Claim>) -> Result<Self> {
        let mut before = Self::default();
        for Claim { account, cumulative } in claims {
            if before.claims.insert(account, cumulative).is_some() {
                return Err(Error::invalid(format!("two earlier claims of {account}")));
            }
            before.total = before.total.checked_add(cumulative).ok_or_else(overflow)?;
        }
        Ok(before)
    }

    /// Names receipts that earlier epochs settled, so that none counts again.
    ///
    /// Those past their deadline need not be named: no one verifies them any more.
    #[must_use]
    pub fn with_settled(mut self, receipts: impl IntoIterator<Item = ReceiptId>) -> Self {
        self.settled.extend(receipts);
        self
    }

    /// Compares the claims with what accounts were `paid` on chain.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] naming an account that was paid more than it claims here: then these
    /// are not the claims of the last root, and a tree on top of them would take money away.
    pub fn check_paid(&self, paid: impl IntoIterator<Item = Claim>) -> Result<()> {
        for Claim { account, cumulative } in paid {
            let claimed = self.claims.get(&account).copied().unwrap_or_default();
            if cumulative > claimed {
                let message = format!("{account} was paid {cumulative}, and claimed {claimed}");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        Ok(())
    }
}

/// Collects the receipts of an epoch.
///
/// Nobody's claim falls: an epoch only adds to the claims it begins with.
///
/// Accounts and receipts are found by hash while they are added, and sorted when they are asked
/// for: the order in which receipts came is nowhere in what comes out.
///
/// # Examples
/// See the quickstart, which settles real receipts.
#[derive(Clone, Debug)]
pub struct EpochBuilder {
    split: FeeSplit,
    accounts: FeeAccounts,
    claims: HashMap<Address, Amount>,
    /// The sum of `claims`. Every other sum of the epoch is a part of it, so none can overflow
    /// where this one does not.
    total: Amount,
    charges: HashMap<Address, Amount>,
    parts: Parts,
    seen: HashSet<ReceiptId>,
    settled: HashSet<ReceiptId>,
}

impl EpochBuilder {
    /// Begins an epoch on top of what stood `before`.
    pub fn new(split: FeeSplit, accounts: FeeAccounts, before: Before) -> Self {
        let Before { claims, total, settled } = before;
        Self {
            split,
            accounts,
            claims,
            total,
            charges: HashMap::new(),
            parts: Parts::default(),
            seen: HashSet::new(),
            settled,
        }
    }

    /// Divides a receipt's fee among platform, model owner, stakers and contributors.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the receipt was added before, or settled in an earlier epoch;
    /// [`ErrorKind::Invalid`] if all claims together pass 2^256. The epoch is then as it was.
    pub fn add(&mut self, receipt: &Verified<Receipt>, model_owner: Address) -> Result<()> {
        let id = receipt.id();
        if self.settled.contains(&id) {
            let message = format!("receipt {id} was settled in an earlier epoch");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let receipt = receipt.message();
        let total = self.total.checked_add(receipt.fee).ok_or_else(overflow)?;
        let parts = self.split.divide(receipt.fee);
        let to_contributors = split_keyed(parts.contributors, receipt.shares.by_contributor())?;
        if !self.seen.insert(id) {
            return Err(Error::new(ErrorKind::Conflict, format!("receipt {id} twice in an epoch")));
        }
        let to_others = [
            (self.accounts.treasury, parts.platform),
            (model_owner, parts.model),
            (self.accounts.staking_pool, parts.stakers),
        ];
        for (account, amount) in to_others.into_iter().chain(to_contributors) {
            add_to(&mut self.claims, account, amount);
        }
        add_to(&mut self.charges, receipt.payer, receipt.fee);
        self.parts.add(&parts);
        self.total = total;
        Ok(())
    }

    /// Returns what each payer owes for the epoch, by ascending account.
    pub fn charges(&self) -> impl Iterator<Item = (Address, Amount)> {
        sorted(self.charges.iter().map(|(&payer, &amount)| (payer, amount)))
    }

    /// Returns how the epoch's fees are divided in all.
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Returns the receipts' names, ascending.
    pub fn receipts(&self) -> impl ExactSizeIterator<Item = ReceiptId> {
        sorted(self.seen.iter().copied())
    }

    /// Makes the tree over the receipts' names, whose root is logged as a batch.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] without receipts.
    pub fn batch(&self) -> Result<StandardTree<(B256,)>> {
        StandardTree::new(self.receipts().map(|receipt| (receipt.into(),)).collect())
    }

    /// Makes the tree of what everybody has earned since the beginning.
    ///
    /// `funded` is all money that was ever put into the distributor.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if the claims pass what was funded, naming the account, in ascending
    /// order, at which the money ends; [`ErrorKind::Invalid`] without any claim.
    pub fn build(self, distributor: &Distributor, funded: Amount) -> Result<Settlement> {
        let earned = self.claims.into_iter().filter(|(_, cumulative)| *cumulative > Amount::ZERO);
        let claims: Vec<Claim> =
            sorted(earned).map(|(account, cumulative)| Claim { account, cumulative }).collect();
        if self.total > funded {
            let account = first_unfunded(&claims, funded);
            let total = self.total;
            let message = format!("claims of {total}, {funded} funded: it ends before {account}");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        Settlement::new(*distributor, claims)
    }
}

/// The claims of an epoch and the tree over them.
///
/// [`publish`](Self::publish) it before anything else: a root whose leaves nobody can fetch is a
/// root nobody can claim from.
#[derive(Clone, Debug)]
pub struct Settlement {
    distributor: Distributor,
    tree: StandardTree<ClaimLeaf>,
    claims: Vec<Claim>,
    total: Amount,
}

impl Settlement {
    /// Takes claims by ascending account, none of them zero.
    pub(super) fn new(distributor: Distributor, claims: Vec<Claim>) -> Result<Self> {
        let total = claims
            .iter()
            .try_fold(Amount::ZERO, |sum, claim| sum.checked_add(claim.cumulative))
            .ok_or_else(overflow)?;
        let tree =
            StandardTree::new(claims.iter().map(|claim| claim.leaf(&distributor)).collect())?;
        Ok(Self { distributor, tree, claims, total })
    }

    /// Returns where the claims are made.
    pub const fn distributor(&self) -> &Distributor {
        &self.distributor
    }

    /// Returns the root.
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
        let place = self.place(account).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("{account} has nothing to claim"))
        })?;
        Ok((self.claims[place], self.tree.proof(place)))
    }

    /// Returns what a claim of `account` would pay now that it was `paid` so much.
    pub fn claimable(&self, account: Address, paid: Amount) -> Amount {
        let earned = self.place(account).map(|place| self.claims[place].cumulative);
        earned.and_then(|earned| earned.checked_sub(paid)).unwrap_or_default()
    }

    /// Returns the tree as JSON that OpenZeppelin's library loads; about 330 bytes a claim.
    pub fn dump(&self) -> String {
        self.tree.dump()
    }

    /// Writes [`dump`](Self::dump) claim by claim, without holding the text.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the writer refuses.
    pub fn dump_to(&self, writer: impl io::Write) -> Result<()> {
        self.tree.dump_to(writer)
    }

    fn place(&self, account: Address) -> Option<usize> {
        self.claims.binary_search_by_key(&account, |claim| claim.account).ok()
    }
}

fn add_to(sums: &mut HashMap<Address, Amount>, account: Address, amount: Amount) {
    let sum = sums.entry(account).or_default();
    *sum = sum.checked_add(amount).expect("a part of a total that was checked");
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> std::vec::IntoIter<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.into_iter()
}

/// Returns the account at which the running sum passes `funded`.
fn first_unfunded(claims: &[Claim], funded: Amount) -> Address {
    let mut sum = Amount::ZERO;
    let passes = |claim: &&Claim| match sum.checked_add(claim.cumulative) {
        Some(next) if next <= funded => {
            sum = next;
            false
        }
        _ => true,
    };
    claims.iter().find(passes).expect("their total passes it").account
}

fn overflow() -> Error {
    Error::invalid("amounts pass 2^256")
}
