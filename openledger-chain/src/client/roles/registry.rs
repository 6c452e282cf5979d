//! Datanets, contributions, versions.

use async_trait::async_trait;
use openledger_core::{
    Address, B256, ContributionId, DatanetId, DatanetVersion, Error, ErrorKind, Result, RowId,
    message::{Contribution, Message, Verified, Withdrawal},
};
use serde::{Deserialize, Serialize};

use super::signature;
use crate::{
    EvmChain, Sent,
    abi::{
        contribution_registry::ContributionRegistry,
        datanet_registry::{DatanetRegistry, DatanetRegistry::DatanetCreated},
    },
};

/// Datanets and what is contributed to them.
///
/// # Contract
/// - An id belongs to who created it; a name that is taken is [`ErrorKind::Denied`].
/// - A contribution is named by Datanet, contributor and root: nobody can block another's.
/// - What was revoked stays revoked.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Creates a Datanet of the sender's.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the name is empty or the sender has a Datanet of that name;
    /// [`ErrorKind::Unavailable`].
    async fn create_datanet(&self, entry: &DatanetEntry) -> Result<Sent<DatanetId>>;

    /// Offers the rows under `root` to a Datanet, whose owner accepts or rejects them; `da` is the
    /// keccak-256 of their published bodies.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the Datanet does not take contributions of the sender, the same was
    /// contributed before, or there are no rows; [`ErrorKind::Unavailable`].
    async fn contribute(&self, offer: &Offer) -> Result<Sent>;

    /// Records a contribution that the sender, as the Datanet's owner, accepts. The contributor signed
    /// and pays nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the sender does not own the Datanet, the signature is not the
    /// contributor's, its deadline has passed, or the same was contributed before;
    /// [`ErrorKind::Unavailable`].
    async fn record(&self, contribution: &Verified<Contribution>) -> Result<Sent<ContributionId>>;

    /// Accepts or rejects, as the Datanet's owner, what was offered.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the sender does not own the Datanet or nothing waits for a
    /// decision; [`ErrorKind::Unavailable`].
    async fn decide(&self, name: &ContributionName, accept: bool) -> Result<Sent>;

    /// Takes back a contributor's consent, with the contributor's signature.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the signature is not the contributor's, its deadline has passed, or
    /// consent was taken back; [`ErrorKind::Unavailable`].
    async fn withdraw_consent(&self, withdrawal: &Verified<Withdrawal>) -> Result<Sent>;

    /// Returns what became of a contribution.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a status this client does not know;
    /// [`ErrorKind::Unavailable`].
    async fn contribution(&self, name: &ContributionName) -> Result<ContributionStatus>;

    /// Publishes the next version of the sender's Datanet.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the sender does not own the Datanet, it is closed, or the root is
    /// zero; [`ErrorKind::Unavailable`].
    async fn publish(&self, version: &DatanetVersion, rows: u64) -> Result<Sent>;

    /// Returns whether a row of a contributor is in a published version.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the proof is longer than any tree; [`ErrorKind::Unavailable`].
    async fn contains_row(
        &self,
        version: &DatanetVersion,
        row: RowId,
        contributor: Address,
        proof: &[B256],
    ) -> Result<bool>;
}

/// A Datanet to create.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DatanetEntry {
    /// Its name, unique among its creator's.
    pub name: String,
    /// The digest of its description.
    pub metadata: B256,
    /// What its rows are, for good.
    pub kind: Kind,
    /// Whether only those whom the owner approves contribute.
    pub is_private: bool,
}

impl DatanetEntry {
    /// A public Datanet of texts.
    pub fn new(name: impl Into<String>, metadata: B256) -> Self {
        Self { name: name.into(), metadata, kind: Kind::Text, is_private: false }
    }

    /// Returns this with rows of another kind.
    #[must_use]
    pub fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Returns this open only to contributors whom the owner approves.
    #[must_use]
    pub fn with_approval(self) -> Self {
        Self { is_private: true, ..self }
    }
}

/// What rows are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
#[repr(u8)]
pub enum Kind {
    /// Text.
    Text = 0,
    /// Pictures.
    Image = 1,
    /// Sound.
    Audio = 2,
}

/// Rows offered to a Datanet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract takes exactly these")]
pub struct Offer {
    /// The Datanet.
    pub datanet: DatanetId,
    /// The root over the rows, leaves `(bytes32 row, address contributor)`.
    pub root: B256,
    /// How many rows.
    pub rows: u64,
    /// The keccak-256 of their published bodies.
    pub da: B256,
}

/// What names a contribution on chain.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the contract's key")]
pub struct ContributionName {
    /// The Datanet.
    pub datanet: DatanetId,
    /// Who contributed.
    pub contributor: Address,
    /// The root over the rows.
    pub root: B256,
}

/// What became of a contribution.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
#[repr(u8)]
pub enum ContributionStatus {
    /// There is none such.
    None = 0,
    /// Offered, not decided.
    Pending = 1,
    /// In the Datanet.
    Accepted = 2,
    /// Not taken.
    Rejected = 3,
    /// Consent taken back, or a dispute lost.
    Revoked = 4,
}

#[async_trait]
impl Registry for EvmChain {
    async fn create_datanet(&self, entry: &DatanetEntry) -> Result<Sent<DatanetId>> {
        let datanets = DatanetRegistry::new(self.contracts.datanets, &self.provider);
        let DatanetEntry { name, metadata, kind, is_private } = entry;
        let call = datanets.create(name.clone(), *metadata, *kind as u8, *is_private);
        let sent = self.send("create a Datanet", call).await?;
        sent.told(self.contracts.datanets, |event: DatanetCreated| Ok(event.datanet.into()))
    }

    async fn contribute(&self, offer: &Offer) -> Result<Sent> {
        let contributions = ContributionRegistry::new(self.contracts.contributions, &self.provider);
        let Offer { datanet, root, rows, da } = *offer;
        match rows {
            1 => {
                let call = contributions.contribute(datanet.into(), root, da);
                self.send("contribute a row", call).await
            }
            _ => {
                let call = contributions.contributeBatch(datanet.into(), root, rows, da);
                self.send("contribute rows", call).await
            }
        }
    }

    async fn record(&self, contribution: &Verified<Contribution>) -> Result<Sent<ContributionId>> {
        let said = contribution.message();
        let typed = ContributionRegistry::Contribution {
            datanet: said.datanet.into(),
            root: said.root,
            rows: said.rows,
            size: said.size,
            terms: said.terms,
            contributor: said.contributor,
            nonce: said.nonce,
            deadline: said.deadline,
        };
        let contributions = ContributionRegistry::new(self.contracts.contributions, &self.provider);
        let call = contributions.record(typed, signature(contribution.signature()));
        let sent = self.send("record a contribution", call).await?;
        Ok(sent.map(|()| ContributionId::from(said.struct_hash())))
    }

    async fn decide(&self, name: &ContributionName, accept: bool) -> Result<Sent> {
        let contributions = ContributionRegistry::new(self.contracts.contributions, &self.provider);
        let ContributionName { datanet, contributor, root } = *name;
        match accept {
            true => {
                let call = contributions.accept(datanet.into(), contributor, root);
                self.send("accept a contribution", call).await
            }
            false => {
                let call = contributions.reject(datanet.into(), contributor, root);
                self.send("reject a contribution", call).await
            }
        }
    }

    async fn withdraw_consent(&self, withdrawal: &Verified<Withdrawal>) -> Result<Sent> {
        let said = withdrawal.message();
        let typed = ContributionRegistry::Withdrawal {
            datanet: said.datanet.into(),
            root: said.root,
            rows: said.rows,
            contributor: said.contributor,
            nonce: said.nonce,
            deadline: said.deadline,
        };
        let contributions = ContributionRegistry::new(self.contracts.contributions, &self.provider);
        let call = contributions.revokeBySig(typed, signature(withdrawal.signature()));
        self.send("withdraw consent", call).await
    }

    async fn contribution(&self, name: &ContributionName) -> Result<ContributionStatus> {
        let contributions = ContributionRegistry::new(self.contracts.contributions, &self.provider);
        let ContributionName { datanet, contributor, root } = *name;
        let call = contributions.statusOf(datanet.into(), contributor, root);
        Ok(match self.ask("ask for a contribution", call).await? {
            0 => ContributionStatus::None,
            1 => ContributionStatus::Pending,
            2 => ContributionStatus::Accepted,
            3 => ContributionStatus::Rejected,
            4 => ContributionStatus::Revoked,
            other => {
                let message = format!("the registry knows a status {other}, this client does not");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        })
    }

    async fn publish(&self, version: &DatanetVersion, rows: u64) -> Result<Sent> {
        let datanets = DatanetRegistry::new(self.contracts.datanets, &self.provider);
        let call = datanets.publish(version.datanet.into(), version.root, rows);
        self.send("publish a version", call).await
    }

    async fn contains_row(
        &self,
        version: &DatanetVersion,
        row: RowId,
        contributor: Address,
        proof: &[B256],
    ) -> Result<bool> {
        let DatanetVersion { datanet, version, .. } = *version;
        let datanets = DatanetRegistry::new(self.contracts.datanets, &self.provider);
        let proof = proof.to_vec();
        let call = datanets.contains(datanet.into(), version, row.into(), contributor, proof);
        self.ask("check a row's proof", call).await
    }
}
