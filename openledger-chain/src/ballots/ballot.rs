//! One voter's word.

use alloy::sol_types::SolStruct;
use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{
    Address, B256, Error, Key, Result, U256,
    message::{Domain, Signature},
};

/// For, against, or neither.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd,
)]
#[borsh(use_discriminant = true)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
#[repr(u8)]
pub enum Support {
    /// Against the proposal.
    Against = 0,
    /// For it.
    For = 1,
    /// Counts for the quorum only.
    Abstain = 2,
}

/// "I vote so on this proposal." Counts until the proposal's deadline, which the chain knows.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the typed struct is fixed by deployed contracts")]
pub struct Ballot {
    /// The proposal.
    pub proposal: U256,
    /// Who votes. An account with a key: what a contract accepts as its signature can change, and
    /// would bring down an honest tally.
    pub voter: Address,
    /// How.
    pub support: Support,
    /// Digest of a published reason; zero for none.
    pub reason: B256,
}

/// A ballot with a signature that was checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignedBallot {
    ballot: Ballot,
    signature: Signature,
}

mod typed {
    alloy::sol! {
        struct Ballot {
            uint256 proposal;
            address voter;
            uint8 support;
            bytes32 reason;
        }
    }
}

impl Ballot {
    /// Returns the digest to sign for the ballot box at `domain` (EIP-712).
    pub fn digest(&self, domain: &Domain) -> B256 {
        digest(domain, self.proposal, self.voter, self.support as u8, self.reason)
    }

    /// Signs with the voter's key.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if `key` is another account's.
    pub fn sign(self, domain: &Domain, key: &Key) -> Result<SignedBallot> {
        SignedBallot::new(self, key.sign(self.digest(domain)), domain)
    }
}

impl SignedBallot {
    /// Joins a ballot and a signature made in a wallet, if they belong together.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if they do not.
    pub fn new(ballot: Ballot, signature: Signature, domain: &Domain) -> Result<Self> {
        let found = signature.recover(ballot.digest(domain)).map_err(Error::from)?;
        if found != ballot.voter {
            let message = format!("a ballot of {} signed by {found}", ballot.voter);
            return Err(Error::new(openledger_core::ErrorKind::Denied, message));
        }
        Ok(Self { ballot, signature })
    }

    /// Returns the ballot.
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// Returns the signature.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// The digest of a ballot as a tally states it, which may be of no known support.
pub(super) fn digest(
    domain: &Domain,
    proposal: U256,
    voter: Address,
    support: u8,
    reason: B256,
) -> B256 {
    let ballot = typed::Ballot { proposal, voter, support, reason };
    ballot.eip712_signing_hash(&domain.to_eip712())
}
