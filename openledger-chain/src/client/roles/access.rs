//! Who may use a Datanet.

use async_trait::async_trait;
use openledger_core::{
    Address, B256, DatanetId, Result,
    message::{Grant, Scope, Verified},
};

use super::signature;
use crate::{EvmChain, Sent, abi::access_grants::AccessGrants};

/// Grants of access to Datanets.
///
/// # Contract
/// - Only the Datanet's owner grants, denies, and revokes what is in force.
/// - A grant that was revoked stays revoked, even one that was signed and not recorded yet.
#[async_trait]
pub trait Access: Send + Sync {
    /// Asks, as the sender, to use a Datanet for a stated purpose.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if there is no such Datanet or the
    /// sender asked before; [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn request_access(&self, datanet: DatanetId, purpose: B256) -> Result<Sent>;

    /// Denies a request, as the Datanet's owner.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender does not own the
    /// Datanet or nothing is asked;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn deny_access(&self, datanet: DatanetId, who: Address, purpose: B256) -> Result<Sent>;

    /// Records a grant that the Datanet's owner signed; anybody may.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the signature is not the
    /// owner's, its deadline has passed, the grant is recorded, revoked or of a scope unknown to
    /// the contract, or the grantee has as many as the contract keeps;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn grant_access(&self, grant: &Verified<Grant>) -> Result<Sent>;

    /// Revokes a grant, as the Datanet's owner.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender does not own the
    /// Datanet or the grant is revoked;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn revoke_access(&self, grant: &Grant) -> Result<Sent>;

    /// Returns whether `who` may do `scope` with a version of a Datanet at `time` (Unix).
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn may(&self, use_: &Use, time: u64) -> Result<bool>;
}

/// A use of a Datanet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract asks for exactly these")]
pub struct Use {
    /// The Datanet.
    pub datanet: DatanetId,
    /// Its version.
    pub version: u64,
    /// What is done.
    pub scope: Scope,
    /// By whom.
    pub who: Address,
}

#[async_trait]
impl Access for EvmChain {
    async fn request_access(&self, datanet: DatanetId, purpose: B256) -> Result<Sent> {
        let grants = AccessGrants::new(self.contracts.grants, &self.provider);
        self.send("ask for access", grants.request(datanet.into(), purpose)).await
    }

    async fn deny_access(&self, datanet: DatanetId, who: Address, purpose: B256) -> Result<Sent> {
        let grants = AccessGrants::new(self.contracts.grants, &self.provider);
        self.send("deny access", grants.deny(datanet.into(), who, purpose)).await
    }

    async fn grant_access(&self, grant: &Verified<Grant>) -> Result<Sent> {
        let grants = AccessGrants::new(self.contracts.grants, &self.provider);
        let call = grants.grantBySig(typed(grant.message()), signature(grant.signature()));
        self.send("grant access", call).await
    }

    async fn revoke_access(&self, grant: &Grant) -> Result<Sent> {
        let grants = AccessGrants::new(self.contracts.grants, &self.provider);
        self.send("revoke access", grants.revoke(typed(grant))).await
    }

    async fn may(&self, use_: &Use, time: u64) -> Result<bool> {
        let grants = AccessGrants::new(self.contracts.grants, &self.provider);
        let Use { datanet, version, scope, who } = *use_;
        let call = grants.allowed(datanet.into(), version, scope as u8, who, time);
        self.ask("ask for access rights", call).await
    }
}

fn typed(grant: &Grant) -> AccessGrants::Grant {
    AccessGrants::Grant {
        datanet: grant.datanet.into(),
        version: grant.version,
        scope: grant.scope as u8,
        purpose: grant.purpose,
        grantee: grant.grantee,
        notBefore: grant.not_before,
        notAfter: grant.not_after,
        owner: grant.owner,
        nonce: grant.nonce,
        deadline: grant.deadline,
    }
}
