use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolStruct;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::{Message, typed};
use crate::{ContributionId, DatanetId};

/// "I contribute these rows to this Datanet under these terms." Signed by the contributor.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize,
)]
#[expect(clippy::exhaustive_structs, reason = "the typed struct is fixed by deployed contracts")]
pub struct Contribution {
    /// The Datanet that takes the rows.
    pub datanet: DatanetId,
    /// Merkle root over the rows, leaves `(bytes32 row, address contributor)`.
    pub root: B256,
    /// The number of rows.
    pub rows: u64,
    /// The bytes of text in all rows.
    pub size: u64,
    /// Digest of licence, intended use and the rest of the terms.
    pub terms: B256,
    /// Who contributes, and is paid.
    pub contributor: Address,
    /// Never used before by this contributor.
    pub nonce: U256,
    /// The last second (Unix time) at which the contribution may be recorded.
    pub deadline: u64,
}

impl Contribution {
    /// Returns the contribution's name.
    pub fn id(&self) -> ContributionId {
        ContributionId::from(self.struct_hash())
    }
}

impl Message for Contribution {
    fn struct_hash(&self) -> B256 {
        typed::Contribution {
            datanet: self.datanet.into(),
            root: self.root,
            rows: self.rows,
            size: self.size,
            terms: self.terms,
            contributor: self.contributor,
            nonce: self.nonce,
            deadline: self.deadline,
        }
        .eip712_hash_struct()
    }

    fn signer(&self) -> Address {
        self.contributor
    }

    fn nonce(&self) -> U256 {
        self.nonce
    }

    fn deadline(&self) -> u64 {
        self.deadline
    }
}
