//! A recoverable secp256k1 signature in the 65 bytes contracts take.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B256, hex};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::SignatureError;

/// `r`, `s` and `v` (27 or 28), as `ecrecover` and OpenZeppelin's `ECDSA` take them.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Deserialize, Eq, Hash, PartialEq, Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Signature([u8; 65]);

impl Signature {
    /// Takes 65 bytes as they are; [`recover`](Self::recover) judges them.
    pub const fn from_bytes(bytes: [u8; 65]) -> Self {
        Self(bytes)
    }

    /// Returns the 65 bytes.
    pub const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    /// Returns the account whose key signed `digest`.
    ///
    /// # Errors
    /// [`SignatureError::HighS`]; [`SignatureError::Malformed`] if `v` is neither 27 nor 28 or no
    /// key fits.
    pub fn recover(&self, digest: B256) -> Result<Address, SignatureError> {
        let parity = match self.0[64] {
            27 => false,
            28 => true,
            _ => return Err(SignatureError::Malformed),
        };
        let signature = alloy_primitives::Signature::from_bytes_and_parity(&self.0[..64], parity);
        if signature.normalize_s().is_some() {
            return Err(SignatureError::HighS);
        }
        signature.recover_address_from_prehash(&digest).map_err(|_| SignatureError::Malformed)
    }
}

impl From<alloy_primitives::Signature> for Signature {
    fn from(signature: alloy_primitives::Signature) -> Self {
        Self(signature.as_bytes())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_prefixed(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::decode_to_array(text).map(Self).map_err(|_| SignatureError::Malformed)
    }
}

impl TryFrom<String> for Signature {
    type Error = SignatureError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        signature.to_string()
    }
}
