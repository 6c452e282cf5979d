use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolStruct;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::{Message, typed};
use crate::DatanetId;

/// "This account may use this Datanet so, from then to then." Signed by the Datanet's owner.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize,
)]
#[expect(clippy::exhaustive_structs, reason = "the typed struct is fixed by deployed contracts")]
pub struct Grant {
    /// The Datanet.
    pub datanet: DatanetId,
    /// The only version granted, or 0 for each version as it comes.
    pub version: u64,
    /// What is allowed.
    pub scope: Scope,
    /// Digest of the stated purpose and the accepted licence.
    pub purpose: B256,
    /// Who may.
    pub grantee: Address,
    /// The first second (Unix time) of use.
    pub not_before: u64,
    /// The last second of use.
    pub not_after: u64,
    /// Who grants.
    pub owner: Address,
    /// Never used before by this owner.
    pub nonce: U256,
    /// The last second (Unix time) at which the grant may be recorded.
    pub deadline: u64,
}

/// What a [`Grant`] allows; each is separate, none implies another.
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
#[borsh(use_discriminant = true)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
#[repr(u8)]
pub enum Scope {
    /// Find rows, see snippets.
    Search = 1,
    /// Read whole rows.
    Read = 2,
    /// Train models on rows.
    Train = 3,
    /// Run a computation where the rows lie.
    Compute = 4,
}

impl Message for Grant {
    fn struct_hash(&self) -> B256 {
        typed::Grant {
            datanet: self.datanet.into(),
            version: self.version,
            scope: self.scope as u8,
            purpose: self.purpose,
            grantee: self.grantee,
            notBefore: self.not_before,
            notAfter: self.not_after,
            owner: self.owner,
            nonce: self.nonce,
            deadline: self.deadline,
        }
        .eip712_hash_struct()
    }

    fn signer(&self) -> Address {
        self.owner
    }

    fn nonce(&self) -> U256 {
        self.nonce
    }

    fn deadline(&self) -> u64 {
        self.deadline
    }
}
