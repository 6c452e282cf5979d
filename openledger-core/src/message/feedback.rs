use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolStruct;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::{Message, typed};

/// "This answer of that adapter is worth so much." Signed by a validator, who is weighed by the stake behind
/// the account.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize,
)]
#[expect(clippy::exhaustive_structs, reason = "the typed struct is what wallets show")]
pub struct Feedback {
    /// The adapter that answered; zero for the base model.
    pub adapter: B256,
    /// The prompt, by the hash it has in a [`Receipt`](super::Receipt).
    pub prompt: B256,
    /// The answer, by the same hash.
    pub output: B256,
    /// What the answer is worth in millionths, from -[`WHOLE`](Self::WHOLE) to [`WHOLE`](Self::WHOLE).
    pub value: i32,
    /// Who judged.
    pub validator: Address,
    /// Never used before by this validator.
    pub nonce: U256,
    /// The last second (Unix time) at which the feedback may be taken.
    pub deadline: u64,
}

impl Feedback {
    /// The largest value: one, in millionths.
    pub const WHOLE: i32 = 1_000_000;
}

impl Message for Feedback {
    fn struct_hash(&self) -> B256 {
        typed::Feedback {
            adapter: self.adapter,
            prompt: self.prompt,
            output: self.output,
            value: self.value,
            validator: self.validator,
            nonce: self.nonce,
            deadline: self.deadline,
        }
        .eip712_hash_struct()
    }

    fn signer(&self) -> Address {
        self.validator
    }

    fn nonce(&self) -> U256 {
        self.nonce
    }

    fn deadline(&self) -> u64 {
        self.deadline
    }
}
