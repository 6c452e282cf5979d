//! A claim: what an account may be paid, and where.

use openledger_core::{Address, Amount, U256};
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the contract's leaf has these three constants")]
pub struct Distributor {
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// The token it pays.
    pub token: Address,
}

impl Claim {
    /// Returns the leaf for this claim.
    pub fn leaf(&self, distributor: &Distributor) -> ClaimLeaf {
        let Distributor { chain_id, contract, token } = *distributor;
        (U256::from(chain_id), contract, self.account, token, self.cumulative.units())
    }
}
