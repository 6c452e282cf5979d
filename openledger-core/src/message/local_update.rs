use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolStruct;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::{Message, typed};

/// "I trained the shared matrices for one round on my own data, and this is by how much they changed." Signed
/// by a worker of a decentralised training run.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize,
)]
#[expect(clippy::exhaustive_structs, reason = "the typed struct is what wallets show")]
pub struct LocalUpdate {
    /// The run.
    pub run: B256,
    /// The round, from 0.
    pub round: u64,
    /// Digest of the matrices the worker started from.
    pub start: B256,
    /// Digest of the update's bytes.
    pub update: B256,
    /// Steps taken.
    pub steps: u64,
    /// Label tokens learned in them: the worker's share of the computation, as it says.
    pub labels: u64,
    /// Who trained.
    pub worker: Address,
    /// Never used before by this worker.
    pub nonce: U256,
    /// The last second (Unix time) at which the update may be taken.
    pub deadline: u64,
}

impl Message for LocalUpdate {
    fn struct_hash(&self) -> B256 {
        typed::LocalUpdate {
            run: self.run,
            round: self.round,
            start: self.start,
            update: self.update,
            steps: self.steps,
            labels: self.labels,
            worker: self.worker,
            nonce: self.nonce,
            deadline: self.deadline,
        }
        .eip712_hash_struct()
    }

    fn signer(&self) -> Address {
        self.worker
    }

    fn nonce(&self) -> U256 {
        self.nonce
    }

    fn deadline(&self) -> u64 {
        self.deadline
    }
}
