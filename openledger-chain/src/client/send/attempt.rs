//! A call, and what was signed for it.

use alloy::{network::TransactionBuilder, primitives::keccak256, rpc::types::TransactionRequest};
use async_trait::async_trait;
use openledger_core::{Address, B256, Bytes, Result};
use serde::{Deserialize, Serialize};

/// A call, and what is kept of it until its outcome is known.
pub(in crate::client) struct Outgoing {
    /// Names the call: while one with this name is open, it is the same call again.
    pub(in crate::client) key: B256,
    pub(in crate::client) request: TransactionRequest,
    /// Whether the caller wants what the call returns.
    pub(in crate::client) wants_output: bool,
}

impl Outgoing {
    pub(in crate::client) fn new(
        request: &TransactionRequest,
        chain_id: u64,
        from: Address,
        wants_output: bool,
    ) -> Self {
        let request = request.clone().with_from(from);
        let to = request.to.and_then(|to| to.into_to()).unwrap_or_default();
        let value = request.value.unwrap_or_default();
        let input = request.input.input().cloned().unwrap_or_default();
        // Accounts and contracts may have the same addresses on several chains.
        let chain_id = chain_id.to_be_bytes();
        let value = value.to_be_bytes::<32>();
        let parts = [&chain_id, from.as_slice(), to.as_slice(), &value, &input].concat();
        Self { key: keccak256(parts), request, wants_output }
    }
}

/// What was signed for a call.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::client) struct Attempt {
    pub(super) key: B256,
    pub(super) nonce: u64,
    /// The latest block when it was signed.
    pub(super) since: u64,
    /// Every transaction signed for it, the newest last.
    pub(super) hashes: Vec<B256>,
    /// The newest.
    pub(super) raw: Bytes,
    /// What the call returned when it was tried.
    pub(super) output: Bytes,
}

impl Attempt {
    pub(in crate::client) const fn key(&self) -> B256 {
        self.key
    }

    pub(super) fn hash(&self) -> B256 {
        self.hashes.last().copied().unwrap_or_default()
    }
}

/// Keeps what was signed, before anybody else sees it.
#[async_trait]
pub(in crate::client) trait Record: Send {
    async fn record(&mut self, attempt: &Attempt) -> Result<()>;

    /// Drops what was recorded: it came to nothing, for certain.
    async fn forget(&mut self) -> Result<()>;
}

/// Keeps it nowhere but on the desk.
pub(in crate::client) struct Unrecorded;

#[async_trait]
impl Record for Unrecorded {
    async fn record(&mut self, _: &Attempt) -> Result<()> {
        Ok(())
    }

    async fn forget(&mut self) -> Result<()> {
        Ok(())
    }
}
