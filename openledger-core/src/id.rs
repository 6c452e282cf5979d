//! Names of things: 32 bytes each, typed by what they name.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::message::Domain;

/// The text is not `0x` and 64 hexadecimal digits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseIdError(String);

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an id: give `0x` and 64 hexadecimal digits", self.0)
    }
}

impl std::error::Error for ParseIdError {}

impl From<ParseIdError> for crate::Error {
    fn from(error: ParseIdError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// Declares 32-byte id types. `ids! { /// Docs. RowId }` expands to
/// `pub struct RowId(B256)` with `From<B256>`, `From<RowId> for B256`, hex `Display`, `Debug`,
/// `FromStr` and serde, and the canonical encoding of its 32 bytes.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(
            BorshDeserialize, BorshSerialize, Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq,
            PartialOrd, Serialize,
        )]
        #[serde(transparent)]
        pub struct $name(B256);

        impl $name {
            /// Returns the 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0.0
            }
        }

        impl From<B256> for $name {
            fn from(bytes: B256) -> Self {
                Self(bytes)
            }
        }

        impl From<$name> for B256 {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// Names a Datanet: fixed by its registry, its owner and its name, so that it cannot be squatted.
    DatanetId
    /// Names a row wherever it leaves its Datanet: a salted commitment to its text, see [`Row::id`](crate::Row::id).
    RowId
    /// The unsalted digest of a row's text: the key for finding exact duplicates. It never leaves
    /// the Datanet, because the digest of a short private text can be guessed.
    Fingerprint
    /// Names a signed contribution: the EIP-712 struct hash of its message.
    ContributionId
    /// Names a base model: the hash of its files.
    ModelId
    /// Names an adapter: the hash of its configuration and weights.
    AdapterId
    /// Names a receipt: the EIP-712 struct hash of its message, and its leaf in the epoch's tree.
    ReceiptId
    /// BLAKE3 of some bytes: the name of a stored blob or of a model's file.
    ContentHash
}

impl DatanetId {
    /// Returns the id that `registry` gives to the Datanet called `name` of `owner`.
    ///
    /// It is `keccak256(abi.encode(chainId, registry, owner, name))`, so nobody else can take it.
    pub fn derive(registry: &Domain, owner: Address, name: &str) -> Self {
        let chain_id = U256::from(registry.chain_id);
        Self(keccak256((chain_id, registry.contract, owner, name).abi_encode_params()))
    }
}

impl ContentHash {
    /// Hashes `bytes`.
    ///
    /// # Examples
    /// ```
    /// use openledger_core::ContentHash;
    ///
    /// let empty = "0xaf1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    /// assert_eq!(ContentHash::of(b"").to_string(), empty); // BLAKE3's own test vector
    /// ```
    pub fn of(bytes: &[u8]) -> Self {
        Self(B256::from(*blake3::hash(bytes).as_bytes()))
    }

    /// Hashes named files: BLAKE3 of the canonical list of (name, hash), sorted by name, so the
    /// result does not depend on the order in which they were found.
    pub fn of_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut list: Vec<(&str, Self)> =
            files.into_iter().map(|(name, bytes)| (name, Self::of(bytes))).collect();
        list.sort_unstable();
        Self::of(&crate::encode(&list))
    }
}

fn parse(text: &str) -> Result<B256, ParseIdError> {
    let error = || ParseIdError(text.chars().take(80).collect());
    let digits = text.strip_prefix("0x").ok_or_else(error)?;
    if digits.len() != 64 {
        return Err(error());
    }
    B256::from_str(digits).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        let id = RowId::from(B256::repeat_byte(0xab));
        assert_eq!(id.to_string().parse::<RowId>().unwrap(), id);
        for bad in ["", "0x", "ab", &id.to_string()[2..], &format!("{id}0"), "0xzz"] {
            assert!(bad.parse::<RowId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn files_are_named_by_content_and_name_and_not_by_order() {
        let one = ContentHash::of_files([("a", &b"1"[..]), ("b", b"2")]);
        assert_eq!(one, ContentHash::of_files([("b", &b"2"[..]), ("a", b"1")]));
        assert_ne!(one, ContentHash::of_files([("a", &b"2"[..]), ("b", b"1")]));
        assert_ne!(one, ContentHash::of_files([("a", &b"1"[..]), ("c", b"2")]));
    }
}
