//! A secret key that signs digests.

use std::fmt;

use alloy_primitives::{Address, B256};
use k256::ecdsa::SigningKey;

use crate::{Error, Result, message::Signature};

/// A secp256k1 secret key, as Ethereum accounts have.
///
/// For keys that live elsewhere (a wallet, an HSM) sign
/// [`Message::digest`](crate::message::Message::digest) there and build
/// [`Signed::from_parts`](crate::message::Signed::from_parts).
///
/// # Examples
/// ```
/// use openledger_core::{B256, Key};
///
/// // The first account of the test mnemonic every development node uses.
/// let key = Key::from_bytes("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80".parse()?)?;
/// assert_eq!(key.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
/// assert_eq!(key.sign(B256::ZERO).recover(B256::ZERO)?, key.address());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Key {
    secret: SigningKey,
    address: Address,
}

impl Key {
    /// Takes the 32 secret bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for zero and for numbers at or past the curve's order.
    pub fn from_bytes(secret: B256) -> Result<Self> {
        let secret = SigningKey::from_slice(secret.as_slice())
            .map_err(|_| Error::invalid("32 bytes that are not a secp256k1 secret key"))?;
        let address = Address::from_public_key(secret.verifying_key());
        Ok(Self { secret, address })
    }

    /// Returns the account this key signs for.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs a 32-byte digest, deterministically (RFC 6979) and with the low `s`.
    pub fn sign(&self, digest: B256) -> Signature {
        let (signature, recovery) = self
            .secret
            .sign_prehash_recoverable(digest.as_slice())
            .expect("a 32-byte digest can always be signed");
        Signature::from(alloy_primitives::Signature::from((signature, recovery)))
    }

    /// Returns the secret bytes, for handing the key to another library.
    pub fn to_bytes(&self) -> B256 {
        B256::from_slice(&self.secret.to_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("address", &self.address).finish_non_exhaustive()
    }
}
