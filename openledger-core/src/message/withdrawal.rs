use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolStruct;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::{Message, typed};
use crate::DatanetId;

/// "I take back my consent for these rows." Signed by the contributor.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize,
)]
#[expect(clippy::exhaustive_structs, reason = "the typed struct is fixed by deployed contracts")]
pub struct Withdrawal {
    /// The Datanet that holds the rows.
    pub datanet: DatanetId,
    /// Merkle root over the rows, leaves `(bytes32 row, address contributor)`.
    pub root: B256,
    /// The number of rows.
    pub rows: u64,
    /// Whose rows they are.
    pub contributor: Address,
    /// Never used before by this contributor.
    pub nonce: U256,
    /// The last second (Unix time) at which the withdrawal may be recorded.
    pub deadline: u64,
}

impl Message for Withdrawal {
    fn struct_hash(&self) -> B256 {
        typed::Withdrawal {
            datanet: self.datanet.into(),
            root: self.root,
            rows: self.rows,
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
