//! Files of ours: sixteen bytes that say what it is, BLAKE3 of the rest, and the rest.

use openledger_core::{ContentHash, Error, Result};

/// Puts in front of `body` what makes it a file.
pub(crate) fn seal(magic: &[u8; 16], body: &[u8]) -> Vec<u8> {
    [&magic[..], ContentHash::of(body).as_bytes(), body].concat()
}

/// Returns the body of a file, called `what` in errors.
///
/// # Errors
/// `Corrupt` if it is another file, or not as it was written.
pub(crate) fn open<'a>(magic: &[u8; 16], what: &str, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let rest = bytes
        .strip_prefix(magic)
        .ok_or_else(|| Error::corrupt(format!("not {what}, or of another version")))?;
    let (hash, body) = rest
        .split_first_chunk::<32>()
        .ok_or_else(|| Error::corrupt(format!("{what} cut short")))?;
    match ContentHash::of(body).as_bytes() == hash {
        true => Ok(body),
        false => Err(Error::corrupt(format!("{what} whose bytes have changed"))),
    }
}
