//! Batches of receipts.

use async_trait::async_trait;
use openledger_core::{Address, B256, Error, ErrorKind, ReceiptId, Result};
use serde::{Deserialize, Serialize};

use super::super::narrow::fit;
use crate::{EvmChain, Sent, abi::attribution_log::AttributionLog};

/// Batches of receipts: a root on chain, the receipts where anybody can fetch them.
///
/// # Contract
/// - A batch is named by node and root: nobody can take another's name.
/// - It is final once its window has passed, no challenge is open and none succeeded.
#[async_trait]
pub trait Attributions: Send + Sync {
    /// Logs a batch of the sender's receipts.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for more receipts than the contract counts; [`ErrorKind::Denied`] if
    /// the sender is no node, the batch is empty or was logged before; [`ErrorKind::Unavailable`].
    async fn log_batch(&self, batch: &Batch) -> Result<Sent<BatchName>>;

    /// Returns what became of a batch.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none such; [`ErrorKind::Unavailable`].
    async fn batch(&self, name: BatchName) -> Result<BatchStatus>;

    /// Returns whether a receipt is in a batch.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if there is no such batch or the proof is longer than any tree;
    /// [`ErrorKind::Unavailable`].
    async fn contains_receipt(
        &self,
        name: BatchName,
        receipt: ReceiptId,
        proof: &[B256],
    ) -> Result<bool>;
}

/// A batch of receipts to log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract takes exactly these")]
pub struct Batch {
    /// The epoch.
    pub epoch: u64,
    /// The model that answered, or zero for several.
    pub model: B256,
    /// The root over the receipts' ids, leaves `(bytes32 receipt)`.
    pub root: B256,
    /// The keccak-256 of their published encoding.
    pub body: B256,
    /// How many they are.
    pub receipts: u64,
}

/// What names a batch on chain.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the contract's key")]
pub struct BatchName {
    /// Who logged it.
    pub node: Address,
    /// The root over its receipts.
    pub root: B256,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BatchStatus {
    /// How many receipts it has.
    pub receipts: u64,
    /// The second (Unix time) from which it is final unless challenged.
    pub final_at: u64,
    /// Challenges that are not decided.
    pub open_challenges: u64,
    /// Whether a challenge succeeded.
    pub rejected: bool,
}

impl BatchStatus {
    /// Returns whether nothing can happen to it any more and it stands, at `now`.
    pub const fn is_final(&self, now: u64) -> bool {
        !self.rejected && self.open_challenges == 0 && now >= self.final_at
    }
}

/// `Status.Rejected` of the contract.
const REJECTED: u8 = 2;

#[async_trait]
impl Attributions for EvmChain {
    async fn log_batch(&self, batch: &Batch) -> Result<Sent<BatchName>> {
        let Batch { epoch, model, root, body, receipts } = *batch;
        let log = AttributionLog::new(self.contracts.attributions, &self.provider);
        let receipts = fit(receipts, "a batch's receipts")?;
        let call = log.log(epoch, model, root, body, receipts);
        let sent = self.send("log a batch of receipts", call).await?;
        Ok(sent.map(|()| BatchName { node: self.sender, root }))
    }

    async fn batch(&self, BatchName { node, root }: BatchName) -> Result<BatchStatus> {
        let log = AttributionLog::new(self.contracts.attributions, &self.provider);
        let entry = self.ask("ask for a batch", log.entries(node, root)).await?;
        if entry.status == 0 {
            let message = format!("no batch {root} of {node}");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Ok(BatchStatus {
            receipts: entry.receipts.to(),
            final_at: entry.finalAt.to(),
            open_challenges: entry.openChallenges.into(),
            rejected: entry.status == REJECTED,
        })
    }

    async fn contains_receipt(
        &self,
        BatchName { node, root }: BatchName,
        receipt: ReceiptId,
        proof: &[B256],
    ) -> Result<bool> {
        let log = AttributionLog::new(self.contracts.attributions, &self.provider);
        let call = log.contains(node, root, receipt.into(), proof.to_vec());
        self.ask("check a receipt's proof", call).await
    }
}
