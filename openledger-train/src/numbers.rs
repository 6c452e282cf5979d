//! Numbers as bytes and back, to the bit.

use openledger_core::{Error, Result};

/// Writes the elements one after another, little-endian.
pub(crate) fn to_bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Reads `len` elements.
pub(crate) fn from_bytes(bytes: &[u8], len: usize) -> Result<Vec<f32>> {
    let (words, rest) = bytes.as_chunks::<4>();
    if words.len() != len || !rest.is_empty() {
        let found = bytes.len();
        return Err(Error::corrupt(format!("{found} bytes where {len} numbers should be")));
    }
    Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}
