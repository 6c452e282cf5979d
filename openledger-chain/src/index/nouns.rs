//! What is attributed to somebody, and what became of it.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Address, Amount, B256, ContributionId, DatanetId, DatanetVersion, U256};

use super::numbered;
use crate::{ContributionStatus, Kind, ModelOffer};

/// A Datanet.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Datanet {
    /// Who decides about it.
    pub owner: Address,
    /// Whom the owner offered it.
    pub offered_to: Option<Address>,
    /// Its name, the first owner's choice.
    pub name: String,
    /// Digest of its description.
    pub metadata: B256,
    /// What its rows are.
    #[borsh(
        serialize_with = "numbered::kind::serialize",
        deserialize_with = "numbered::kind::deserialize"
    )]
    pub kind: Kind,
    /// Whether only approved accounts contribute.
    pub is_private: bool,
    /// Whether it takes nothing more.
    pub closed: bool,
    /// How many versions there are.
    pub versions: u64,
}

/// A version of a Datanet.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Version {
    /// The root of its rows.
    pub root: B256,
    /// How many they are.
    pub rows: u64,
}

/// A contribution: an edge from a contributor to a Datanet.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Contributed {
    /// What became of it.
    #[borsh(
        serialize_with = "numbered::contribution::serialize",
        deserialize_with = "numbered::contribution::deserialize"
    )]
    pub status: ContributionStatus,
    /// How many rows; nothing if it was withdrawn before it came.
    pub rows: Option<u64>,
    /// Where its rows are published; nothing if the owner recorded it.
    pub da: Option<B256>,
    /// What the contributor signed; nothing unless the owner recorded it.
    pub signed: Option<ContributionId>,
    /// Who withdrew it.
    pub revoked_by: Option<Address>,
    /// The block that it came in.
    pub block: u64,
}

/// A registered model, with the Datanets it was trained on.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// The model it builds on, perhaps one that is registered nowhere; zero for none.
    pub parent: B256,
    /// Digest of its training record.
    pub record: B256,
    /// What it was trained on, by its owner's word: the registry checks that these exist.
    pub datanets: Vec<DatanetVersion>,
    /// For 1,000 tokens in.
    pub price_in: Amount,
    /// For 1,000 tokens out.
    pub price_out: Amount,
    /// Whether it is offered.
    #[borsh(
        serialize_with = "numbered::offer::serialize",
        deserialize_with = "numbered::offer::deserialize"
    )]
    pub offer: ModelOffer,
    /// What its owner recommends in its place.
    pub successor: Option<B256>,
    /// The block that it came in.
    pub block: u64,
}

/// A batch of receipts of a model.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// The node's epoch.
    pub epoch: u64,
    /// The model.
    pub model: B256,
    /// Keccak-256 of the published receipts.
    pub body: B256,
    /// How many they are.
    pub receipts: u64,
    /// Challenges that are open.
    pub open_challenges: u64,
    /// A challenge succeeded: it is never final.
    pub rejected: bool,
    /// The block that it came in.
    pub block: u64,
}

/// A node that logs batches, or did.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// Whether it may log now.
    pub admitted: bool,
    /// Seconds in which its next batch can be challenged.
    pub window: u64,
    /// Batches, but those rejected.
    pub batches: u64,
    /// Receipts, but those of batches rejected.
    pub receipts: u64,
    /// Batches that were rejected.
    pub rejected: u64,
}

/// How contributions fared.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// They wait for the owner.
    pub pending: u64,
    /// They were taken and stand.
    pub accepted: u64,
    /// They were not taken.
    pub rejected: u64,
    /// They were withdrawn, by whomever.
    pub revoked: u64,
}

/// A grant of access.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Granted {
    /// The Datanet.
    pub datanet: DatanetId,
    /// Who may use it.
    pub grantee: Address,
    /// What was granted; nothing if it was revoked before it was brought.
    pub terms: Option<GrantTerms>,
    /// Whether the owner took it back.
    pub revoked: bool,
}

/// What a grant allows.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GrantTerms {
    /// The version, zero for all.
    pub version: u64,
    /// The use, see [`Scope`](openledger_core::message::Scope).
    pub scope: u8,
    /// Digest of the purpose.
    pub purpose: B256,
    /// From when.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
}

/// A request for access.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// It waits.
    Open,
    /// The owner refused.
    Denied,
    /// A grant for its purpose came.
    Granted,
}

/// An agent.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Agent {
    /// Whom it acts for.
    pub owner: Address,
    /// Its name.
    pub name: String,
    /// Digest of its description.
    pub card: B256,
    /// The account it acts by.
    pub wallet: Option<Address>,
    /// Its ERC-8004 identity: the registry and the token. Who holds that now, only the registry tells.
    pub identity: Option<(Address, U256)>,
    /// Whether it acts.
    pub standing: Standing,
}

/// Whether an agent acts.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// It does.
    Active,
    /// Its owner took it out of service.
    Retired,
    /// It was thrown out.
    Revoked,
}
