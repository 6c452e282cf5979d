//! A contribution as its contributor prepares it.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{
    Address, B256, DatanetId, Error, Key, Result, Row, RowId, Salt, U256, digest,
    merkle::StandardTree,
    message::{Contribution, Domain, Signed},
};
use serde::{Deserialize, Serialize};

/// Under which terms rows are given, and what their contributor says of them.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Terms {
    /// SPDX identifier of the licence.
    pub licence: String,
    /// What the rows are meant for.
    pub intended_use: String,
    /// The field of knowledge.
    pub field: String,
    /// What was done to the rows before.
    pub preprocessing: String,
    /// The contributor's own estimate of quality in thousandths.
    pub quality: u16,
    /// When the contribution was written (Unix time).
    pub written_at: u64,
}

impl Terms {
    /// Makes terms that say no more than the licence and the time.
    pub fn new(licence: impl Into<String>, written_at: u64) -> Self {
        Self {
            licence: licence.into(),
            intended_use: "training and retrieval".to_owned(),
            field: "general".to_owned(),
            preprocessing: "none".to_owned(),
            quality: 1000,
            written_at,
        }
    }

    /// Returns this with the field of knowledge.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Returns the digest that a contribution's signature covers.
    pub fn digest(&self) -> B256 {
        digest("openledger.terms.v1", self)
    }
}

/// Rows with their salts and terms, and the contributor's signature over all of it.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Submission {
    rows: Vec<(Row, Salt)>,
    terms: Terms,
    signed: Signed<Contribution>,
}

impl Submission {
    /// Prepares and signs a contribution.
    ///
    /// `secret` blinds the rows' public names; whoever has it can link names to texts, so it stays
    /// with the contributor and the Datanet. `nonce` must be new for this contributor; after
    /// `deadline` (Unix time) the signature counts no more.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without rows.
    pub fn sign(
        datanet: DatanetId,
        rows: impl IntoIterator<Item = Row>,
        terms: Terms,
        stamp: Stamp,
        key: &Key,
    ) -> Result<Self> {
        let Stamp { domain, secret, nonce, deadline } = stamp;
        let rows: Vec<(Row, Salt)> = rows
            .into_iter()
            .map(|row| {
                let salt = Salt::derive(secret, row.fingerprint());
                (row, salt)
            })
            .collect();
        let contribution = Contribution {
            datanet,
            root: root(&rows, key.address())?,
            rows: rows.len() as u64,
            size: size(&rows),
            terms: terms.digest(),
            contributor: key.address(),
            nonce,
            deadline,
        };
        Ok(Self { rows, terms, signed: Signed::sign(contribution, domain, key) })
    }

    /// Joins the parts of a contribution signed elsewhere.
    pub const fn from_parts(
        rows: Vec<(Row, Salt)>,
        terms: Terms,
        signed: Signed<Contribution>,
    ) -> Self {
        Self { rows, terms, signed }
    }

    /// Returns the rows with their salts.
    pub fn rows(&self) -> &[(Row, Salt)] {
        &self.rows
    }

    /// Returns the terms.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Returns the signed message.
    pub const fn signed(&self) -> &Signed<Contribution> {
        &self.signed
    }

    /// Checks that the message is about these rows and terms.
    pub(crate) fn check_contents(&self) -> Result<()> {
        let said = self.signed.unverified();
        let mismatch =
            |what: &str| Err(Error::invalid(format!("the signature covers other {what}")));
        if said.rows != self.rows.len() as u64 || said.size != size(&self.rows) {
            return mismatch("rows");
        }
        if said.root != root(&self.rows, said.contributor)? {
            return mismatch("rows");
        }
        if said.terms != self.terms.digest() {
            return mismatch("terms");
        }
        Ok(())
    }
}

/// What every signed message needs beside its subject.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a signature needs exactly these")]
pub struct Stamp {
    /// The contract and chain the signature is for.
    pub domain: Domain,
    /// 32 secret bytes that blind the rows' names.
    pub secret: B256,
    /// Never used before by this contributor.
    pub nonce: U256,
    /// The last second (Unix time) at which the signature counts.
    pub deadline: u64,
}

/// A row's leaf in the trees of contributions and versions.
pub(crate) fn leaf(row: RowId, contributor: Address) -> (B256, Address) {
    (row.into(), contributor)
}

fn root(rows: &[(Row, Salt)], contributor: Address) -> Result<B256> {
    let leaves = rows.iter().map(|(row, salt)| leaf(row.id(salt), contributor));
    Ok(StandardTree::new(leaves.collect())?.root())
}

fn size(rows: &[(Row, Salt)]) -> u64 {
    rows.iter().map(|(row, _)| row.len() as u64).sum()
}
