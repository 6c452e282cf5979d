//! Signed statements: who contributed, judged, granted, withdrew or answered what.
//!
//! Each is an [EIP-712](https://eips.ethereum.org/EIPS/eip-712) message that a wallet can show
//! and a contract can verify. Each names chain and contract (in the [`Domain`]), the objects it is
//! about, a nonce and a deadline, because every one of these was missing in some rival's audit
//! finding.
//!
//! ```text
//! Contribution ─ sign(domain, key) ─▶ Signed ─ verify(domain, now, nonces) ─▶ Verified
//! ```

mod contribution;
mod feedback;
mod grant;
mod local_update;
mod receipt;
mod signature;
mod typed;
mod verdict;
mod withdrawal;

use std::{collections::BTreeSet, fmt};

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::Eip712Domain;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

pub use contribution::Contribution;
pub use feedback::Feedback;
pub use grant::{Grant, Scope};
pub use local_update::LocalUpdate;
pub use receipt::{DatanetVersion, Receipt, RowShare, Shares};
pub use signature::Signature;
pub use verdict::{Decision, Verdict};
pub use withdrawal::Withdrawal;

use crate::{Error, ErrorKind, Key, Result};

/// Where a signature counts: one contract on one chain.
///
/// The EIP-712 domain's name is `OpenLedger` and its version `1`, for every contract of ours.
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Debug,
    Deserialize,
    Eq,
    Hash,
    PartialEq,
    Serialize,
)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the domain of EIP-712 is fixed by deployed contracts"
)]
pub struct Domain {
    /// The chain's id (EIP-155).
    pub chain_id: u64,
    /// The contract that verifies the signature.
    pub contract: Address,
}

impl Domain {
    /// Returns the domain in alloy's form, for wallets and contract bindings.
    pub fn to_eip712(self) -> Eip712Domain {
        Eip712Domain::new(
            Some("OpenLedger".into()),
            Some("1".into()),
            Some(U256::from(self.chain_id)),
            Some(self.contract),
            None,
        )
    }

    /// Returns the digest to sign for a statement of that struct hash.
    fn digest(self, struct_hash: B256) -> B256 {
        let separator = self.to_eip712().separator();
        keccak256([&[0x19, 0x01], &separator[..], &struct_hash[..]].concat())
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contract {} on chain {}", self.contract, self.chain_id)
    }
}

/// A statement somebody can sign.
pub trait Message: Clone + fmt::Debug {
    /// Returns the EIP-712 struct hash: the statement's name, the same on every chain.
    fn struct_hash(&self) -> B256;

    /// Returns the account whose signature makes the statement true.
    fn signer(&self) -> Address;

    /// Returns the number that no two statements of one signer share.
    fn nonce(&self) -> U256;

    /// Returns the last second (Unix time) at which the signature counts.
    fn deadline(&self) -> u64;

    /// Returns the digest to sign for `domain`.
    fn digest(&self, domain: &Domain) -> B256 {
        domain.digest(self.struct_hash())
    }
}

/// A statement with a signature that nobody has checked yet.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Signed<M> {
    message: M,
    domain: Domain,
    signature: Signature,
}

impl<M: Message> Signed<M> {
    /// Signs `message` for `domain`.
    pub fn sign(message: M, domain: Domain, key: &Key) -> Self {
        let signature = key.sign(message.digest(&domain));
        Self { message, domain, signature }
    }

    /// Joins a message and a signature made elsewhere.
    pub const fn from_parts(message: M, domain: Domain, signature: Signature) -> Self {
        Self { message, domain, signature }
    }

    /// Returns the statement, which may be anybody's invention.
    pub const fn unverified(&self) -> &M {
        &self.message
    }

    /// Returns the domain it claims to be signed for.
    pub const fn domain(&self) -> Domain {
        self.domain
    }

    /// Returns the signature.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Checks domain, deadline, signature and nonce, in this order, and spends the nonce.
    ///
    /// # Errors
    /// [`SignatureError`] says which; nothing is spent unless everything else is right.
    ///
    /// # Examples
    /// ```
    /// use openledger_core::message::{Domain, Message, Nonces, Signed, SignatureError, Withdrawal};
    /// use openledger_core::{Address, B256, DatanetId, Key, U256};
    ///
    /// let key = Key::from_bytes(B256::repeat_byte(7))?;
    /// let domain = Domain { chain_id: 1612, contract: Address::repeat_byte(1) };
    /// let message = Withdrawal {
    ///     datanet: DatanetId::from(B256::repeat_byte(2)),
    ///     root: B256::repeat_byte(3),
    ///     rows: 1,
    ///     contributor: key.address(),
    ///     nonce: U256::from(1),
    ///     deadline: 1_000,
    /// };
    /// let signed = Signed::sign(message, domain, &key);
    /// let mut nonces = Nonces::default();
    /// assert!(signed.verify(&domain, 999, &mut nonces).is_ok());
    /// assert!(matches!(signed.verify(&domain, 999, &mut nonces), Err(SignatureError::Replayed { .. })));
    /// # Ok::<(), openledger_core::Error>(())
    /// ```
    pub fn verify(
        &self,
        domain: &Domain,
        now: u64,
        nonces: &mut Nonces,
    ) -> Result<Verified<M>, SignatureError> {
        let verified = self.verify_reusable(domain, now)?;
        if !nonces.spend(self.message.signer(), self.message.nonce()) {
            return Err(SignatureError::Replayed { nonce: self.message.nonce() });
        }
        Ok(verified)
    }

    /// Checks domain, deadline and signature, for statements that may be shown many times: a
    /// receipt to whoever asks, a grant on every read.
    ///
    /// # Errors
    /// Those of [`verify`](Self::verify) but [`SignatureError::Replayed`].
    pub fn verify_reusable(
        &self,
        domain: &Domain,
        now: u64,
    ) -> Result<Verified<M>, SignatureError> {
        if self.domain != *domain {
            return Err(SignatureError::WrongDomain { expected: *domain, found: self.domain });
        }
        let deadline = self.message.deadline();
        if now > deadline {
            return Err(SignatureError::Expired { deadline, now });
        }
        let struct_hash = self.message.struct_hash();
        let found = self.signature.recover(domain.digest(struct_hash))?;
        let expected = self.message.signer();
        if found != expected {
            return Err(SignatureError::WrongSigner { expected, found });
        }
        Ok(Verified { message: self.message.clone(), struct_hash, signature: self.signature })
    }
}

/// A statement whose signer is certain: only [`Signed::verify`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified<M> {
    message: M,
    /// Kept from the verification: hashing a long receipt again would cost as much as adding it up.
    struct_hash: B256,
    signature: Signature,
}

#[cfg(any(test, feature = "testing"))]
impl<M: Message> Verified<M> {
    /// Pretends that `message` was signed, for tests and benchmarks of what comes after.
    pub fn pretend(message: M) -> Self {
        let struct_hash = message.struct_hash();
        Self { message, struct_hash, signature: Signature::from_bytes([0; 65]) }
    }
}

impl<M> Verified<M> {
    /// Returns the statement.
    pub const fn message(&self) -> &M {
        &self.message
    }

    /// Returns the statement's EIP-712 struct hash, which the verification computed.
    pub const fn struct_hash(&self) -> B256 {
        self.struct_hash
    }

    /// Returns the signature, to pass on to a contract.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Returns the statement, leaving the signature.
    pub fn into_message(self) -> M {
        self.message
    }
}

/// The nonces spent so far.
///
/// Keep it with whatever the messages change, so that both survive a restart together.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default, Eq, PartialEq)]
pub struct Nonces(BTreeSet<(Address, U256)>);

impl Nonces {
    /// Marks `nonce` of `signer` as spent; `false` if it was already.
    #[must_use]
    pub fn spend(&mut self, signer: Address, nonce: U256) -> bool {
        self.0.insert((signer, nonce))
    }
}

/// Why a signature does not count.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "callers answer each of these differently")]
pub enum SignatureError {
    /// Made for another contract or chain.
    WrongDomain {
        /// Where it should count.
        expected: Domain,
        /// What it was made for.
        found: Domain,
    },
    /// The deadline has passed.
    Expired {
        /// The last second at which it counted.
        deadline: u64,
        /// The second at which it was shown.
        now: u64,
    },
    /// `s` is in the upper half of the curve's order, so a second signature of the same message
    /// could be computed by anybody ([EIP-2](https://eips.ethereum.org/EIPS/eip-2)).
    HighS,
    /// No key could have made these bytes.
    Malformed,
    /// Another key made it.
    WrongSigner {
        /// The account the message names.
        expected: Address,
        /// The account whose key signed.
        found: Address,
    },
    /// The nonce was used before.
    Replayed {
        /// The nonce.
        nonce: U256,
    },
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongDomain { expected, found } => {
                write!(f, "signed for {found}, shown to {expected}")
            }
            Self::Expired { deadline, now } => write!(f, "expired at {deadline}, it is {now}"),
            Self::HighS => f.write_str("the signature's s is in the upper half: normalise it"),
            Self::Malformed => f.write_str("not a secp256k1 signature of 65 bytes"),
            Self::WrongSigner { expected, found } => {
                write!(f, "signed by {found}, the message names {expected}")
            }
            Self::Replayed { nonce } => write!(f, "nonce {nonce} was used before"),
        }
    }
}

impl std::error::Error for SignatureError {}

impl From<SignatureError> for Error {
    fn from(error: SignatureError) -> Self {
        Self::new(ErrorKind::Denied, "signature refused").with_source(error)
    }
}

#[cfg(test)]
mod tests;
