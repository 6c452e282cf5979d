#![doc = include_str!("../README.md")]

mod amount;
mod codec;
mod error;
pub mod file;
mod id;
mod key;
pub mod merkle;
pub mod message;
pub mod retrieve;
mod row;
pub mod share;
pub mod store;

pub use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

pub use amount::{Amount, ParseAmountError};
pub use codec::{MAX_ENCODED_BYTES, decode, digest, encode};
pub use error::{Error, ErrorKind, Result};
pub use id::{
    AdapterId, ContentHash, ContributionId, DatanetId, Fingerprint, ModelId, ParseIdError,
    ReceiptId, RowId,
};
pub use key::Key;
pub use message::{DatanetVersion, Receipt, RowShare, Shares};
pub use retrieve::{Passage, Retrieve};
pub use row::{Row, Salt};
pub use store::Store;
