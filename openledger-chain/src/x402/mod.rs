//! HTTP services that are paid per request: [x402](https://github.com/coinbase/x402) version 2, scheme
//! `exact` on EVM chains, over the escrow.
//!
//! ```text
//! client ── request ─────────────────▶ PaymentLayer ── 402, PAYMENT-REQUIRED: what it costs
//!        ── PAYMENT-SIGNATURE ───────▶ verify ─▶ your service ─▶ settle ─▶ 200, PAYMENT-RESPONSE
//!                                                                  │
//!                         EIP-3009 transfer from the client to the node's till in the escrow
//! ```
//!
//! Clients are those that exist: they sign an [EIP-3009](https://eips.ethereum.org/EIPS/eip-3009)
//! transfer and need neither coins for gas nor any code of ours. The money goes to the node's *till*, an
//! address whose balance only the escrow can take ([`Payments::collect`](crate::Payments::collect)), so
//! that it is divided among contributors like any other fee.

mod facilitator;
mod layer;
mod wire;

pub use facilitator::{Facilitator, Refusal};
pub use layer::{PaymentLayer, PaymentService};
pub use wire::{
    Authorization, Extra, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, Payment,
    PaymentRequired, Requirements, Resource, Settlement, Transfer,
};
