//! From receipts to claims: the fee rule, the credits of an epoch, the tree of cumulative claims.
//!
//! ```text
//! receipts ─ fee split ─▶ credits ─ + what was earned Before ─▶ claims ─▶ tree      EpochBuilder
//!                                                                 │
//!                   root ◀─ submit ─ Published ◀─ data layer ◀────┘               Settlement
//!                                        │
//!                    anybody: load ──────┴─▶ claim and proof of an account
//! ```
//!
//! All of it is integers and largest remainders, so every node gets the same root.
//!
//! # Cost
//! Receipts are added one by one and not kept: an epoch holds 32 bytes for each (its name, so that
//! it counts once) and a few hundred for each account. Signatures are not part of it. They are
//! checked when a receipt arrives ([`Signed::verify`](openledger_core::message::Signed::verify)),
//! which recovers a public key and costs more than all the rest together; a [`Verified`] receipt
//! brings the hash that was computed there.
//!
//! [`Verified`]: openledger_core::message::Verified

mod claim;
mod epoch;
mod fee;
mod publish;

pub use claim::{Claim, ClaimLeaf, Distributor};
pub use epoch::{Before, EpochBuilder, Settlement};
pub use fee::{FeeSplit, Parts};
pub use publish::Published;
