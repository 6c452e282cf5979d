//! Canonical encoding: one value, one byte string, and back.
//!
//! The format is [Borsh](https://borsh.io): little-endian integers, `u32` lengths, fields in the
//! order of their declaration. Whatever is hashed, stored or sent between nodes is encoded here.

use alloy_primitives::{B256, Keccak256};
use borsh::{BorshDeserialize, BorshSerialize};

use crate::{Error, ErrorKind, Result};

/// The largest encoding [`decode`] accepts: 64 MiB.
pub const MAX_ENCODED_BYTES: usize = 64 << 20;

/// Encodes `value`. Equal values have equal encodings, different values different ones.
pub fn encode<T: BorshSerialize + ?Sized>(value: &T) -> Vec<u8> {
    borsh::to_vec(value).expect("writing to memory fails only for collections over u32::MAX items")
}

/// Decodes what [`encode`] wrote, and nothing else.
///
/// # Errors
/// [`ErrorKind::Limit`] over [`MAX_ENCODED_BYTES`]; [`ErrorKind::Corrupt`] if the bytes are not
/// one whole value in its only encoding.
///
/// # Examples
/// ```
/// use openledger_core::{decode, encode};
///
/// let bytes = encode(&("row", 7u32));
/// assert_eq!(decode::<(String, u32)>(&bytes)?, ("row".to_owned(), 7));
/// assert!(decode::<(String, u32)>(&bytes[..5]).is_err());
/// # Ok::<(), openledger_core::Error>(())
/// ```
pub fn decode<T: BorshDeserialize + BorshSerialize>(bytes: &[u8]) -> Result<T> {
    if bytes.len() > MAX_ENCODED_BYTES {
        return Err(Error::new(
            ErrorKind::Limit,
            format!("{} bytes to decode, {MAX_ENCODED_BYTES} allowed", bytes.len()),
        ));
    }
    let value: T = borsh::from_slice(bytes)
        .map_err(|e| Error::corrupt("bytes do not decode").with_source(e))?;
    if encode(&value) != bytes {
        return Err(Error::corrupt("bytes are not the canonical encoding of their value"));
    }
    Ok(value)
}

/// Returns keccak-256 of `domain`, a zero byte and the encoding of `value`.
///
/// The domain keeps digests of different kinds of things apart: two types with the same fields
/// never share a digest.
pub fn digest<T: BorshSerialize + ?Sized>(domain: &str, value: &T) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(domain.as_bytes());
    hasher.update([0]);
    hasher.update(encode(value));
    hasher.finalize()
}
