use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolStruct;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::{Message, typed};
use crate::ContributionId;

/// "I judged this contribution by this policy, and this is the result." Signed by a validator.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize,
)]
#[expect(clippy::exhaustive_structs, reason = "the typed struct is fixed by deployed contracts")]
pub struct Verdict {
    /// What was judged.
    pub contribution: ContributionId,
    /// Digest of the policy: which checks, in which version, with which thresholds.
    pub policy: B256,
    /// Digest of what the checks found.
    pub findings: B256,
    /// The result.
    pub decision: Decision,
    /// Quality in thousandths, 0 to 1000.
    pub score: u32,
    /// Who judged.
    pub validator: Address,
    /// Never used before by this validator.
    pub nonce: U256,
    /// The last second (Unix time) at which the verdict may be recorded.
    pub deadline: u64,
}

/// The result of a review.
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
pub enum Decision {
    /// The rows join the next version.
    Accept = 1,
    /// The rows stay out.
    Reject = 2,
}

impl Message for Verdict {
    fn struct_hash(&self) -> B256 {
        typed::Verdict {
            contribution: self.contribution.into(),
            policy: self.policy,
            findings: self.findings,
            decision: self.decision as u8,
            score: self.score,
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
