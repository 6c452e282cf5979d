//! Bridges: OPEN is locked on its own chain and minted on another, burnt there and released.
//!
//! ```text
//!  L1 (holds the token)                         L2 (mints it)
//!    deposit ── lock ───────────── land ──────────▶ mint
//!    finalise ◀── prove ◀───────────── burn ── withdraw
//! ```
//!
//! Two bridges do it, behind one trait: [`OpBridge`] by the OP Stack's standard bridge, where L1
//! believes proofs about L2 after a week in which they can be challenged, and [`MeshBridge`] by
//! [attestors](Attest), for any number of chains. A token of L2 takes one of them: what came over
//! one bridge is locked there, and the other would have nothing to release for it.

pub mod abi;
mod attestor;
mod deploy;
mod mesh;
mod op;
mod side;
#[cfg(feature = "testing")]
pub mod testing;

use std::fmt;

use async_trait::async_trait;
use openledger_core::{Address, Amount, B256, Bytes, Result};
use serde::{Deserialize, Serialize};

use crate::Tx;
pub use attestor::{Attest, Attestation, Attestor, Dispatch, Route};
pub use deploy::{MeshEnd, MeshOptions, deploy_home, deploy_remote, link};
pub use mesh::MeshBridge;
pub use op::{OpBridge, OpContracts};
pub use side::Side;

/// A way of OPEN to another chain and back.
///
/// # Contract
/// - What is minted on L2 is locked on L1 or on its way; a withdrawal is paid out once.
/// - [`deposit`](Self::deposit) and [`withdraw`](Self::withdraw) return once the tokens have left
///   the sender. What they return is all that the later steps need; it can be kept as text. The
///   later steps are for anybody: they pay whom the first step named.
/// - [`land`](Self::land) and [`prove`](Self::prove) may be repeated: what is done stays done.
///   [`finalise`](Self::finalise) of what is finalised is [`Denied`].
/// - A step that is too early is [`Unavailable`] and retryable where the other chain or the
///   attestors have yet to do their part, [`Denied`] where a contract says so.
///
/// # Errors
/// Of each step, besides those above: [`Unavailable`] if a node does not answer; [`Corrupt`] for a
/// message that is not the one its id names.
///
/// [`Corrupt`]: openledger_core::ErrorKind::Corrupt
/// [`Denied`]: openledger_core::ErrorKind::Denied
/// [`Unavailable`]: openledger_core::ErrorKind::Unavailable
#[async_trait]
pub trait Bridge: fmt::Debug + Send + Sync {
    /// Locks `amount` of the sender's on L1, to be minted for `to` on L2.
    async fn deposit(&self, to: Address, amount: Amount) -> Result<Step<Deposit>>;

    /// Sees to it that a deposit is minted; without error it is.
    async fn land(&self, deposit: &Deposit) -> Result<Step>;

    /// Burns `amount` of the sender's on L2, to be released to `to` on L1.
    async fn withdraw(&self, to: Address, amount: Amount) -> Result<Step<Withdrawal>>;

    /// Proves to L1 that a withdrawal was made.
    async fn prove(&self, withdrawal: &Withdrawal) -> Result<Step>;

    /// Releases a proven withdrawal.
    async fn finalise(&self, withdrawal: &Withdrawal) -> Result<Step>;

    /// Returns how far a withdrawal is.
    async fn status(&self, withdrawal: &Withdrawal) -> Result<WithdrawalStatus>;
}

/// What came of a step: a value, and the transactions it took, in order.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Step<T = ()> {
    /// What the next step needs.
    pub value: T,
    /// The transactions, on whichever chain.
    pub txs: Vec<Tx>,
}

/// Tokens locked on L1.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "kept by applications between two steps")]
pub struct Deposit {
    /// The name of the message, by which L2 knows it.
    pub id: B256,
    /// The block of L1 in which the tokens were locked.
    pub block: u64,
    /// The message, in the bridge's own encoding.
    pub message: Bytes,
}

/// Tokens burnt on L2.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "kept by applications between two steps")]
pub struct Withdrawal {
    /// The name of the message, by which L1 knows it.
    pub id: B256,
    /// The block of L2 in which the tokens were burnt.
    pub block: u64,
    /// The message, in the bridge's own encoding.
    pub message: Bytes,
}

/// How far a withdrawal is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub enum WithdrawalStatus {
    /// Burnt on L2; L1 cannot be shown yet.
    Initiated,
    /// It can be proven.
    Provable,
    /// Proven, and to be challenged until `until` (Unix time).
    Proven {
        /// The last second in which it cannot be finalised.
        until: u64,
    },
    /// It can be finalised.
    Finalisable,
    /// Released on L1.
    Finalised,
}
