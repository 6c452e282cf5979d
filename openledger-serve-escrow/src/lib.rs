#![doc = include_str!("../README.md")]

mod books;
mod escrow;
mod hold;
mod options;
mod payer;
mod refusal;
mod settling;

pub use escrow::Escrow;
pub use options::EscrowOptions;
pub use payer::Standing;
