//! The file of an index: the state before the last blocks, and what those logged.
//!
//! ```text
//! magic(8)  keccak-256 of the body(32)  body
//! body      chain id, contracts, first block; a block and the state after it; later blocks' logs
//! ```
//!
//! The later blocks are taken in again when the file is read, so that they can be taken back. The
//! file is replaced whole: whoever is killed finds the one before or the one after.

use std::path::Path;

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Address, Error, ErrorKind, Result, file, keccak256};

use super::window::{Base, Block, Window};
use crate::Contracts;

const MAGIC: &[u8; 8] = b"OLINDEX1";
const HEADER: usize = 40;
/// Bytes of a file at the most: some ten million entries.
const LIMIT: u64 = 4 << 30;

/// What an index is of.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub(super) struct Identity {
    chain_id: u64,
    contracts: Vec<Address>,
    start: u64,
}

impl Identity {
    pub(super) fn new(chain_id: u64, contracts: &Contracts, start: u64) -> Self {
        Self { chain_id, contracts: contracts.named().map(|(_, at)| at).collect(), start }
    }
}

#[derive(BorshDeserialize)]
struct Body {
    identity: Identity,
    base: Base,
    blocks: Vec<Block>,
}

/// Reads the file at `path`; nothing if there is none.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if it is no index; [`ErrorKind::Conflict`] if it is of other contracts;
/// [`ErrorKind::Limit`]; [`ErrorKind::Unavailable`].
pub(super) fn load(
    path: &Path,
    identity: &Identity,
    contracts: Contracts,
    depth: usize,
) -> Result<Option<Window>> {
    let bytes = match file::read(path, LIMIT) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let read = open(&bytes).and_then(|body| {
        let (found, window) = parse(body, contracts, depth)?;
        check(&found, identity)?;
        Ok(window)
    });
    read.map(Some).map_err(|e| {
        let message = format!("cannot resume from `{}`", path.display());
        Error::new(e.kind(), message).with_source(e)
    })
}

/// Writes the file at `path`, whole or not at all.
///
/// # Errors
/// [`ErrorKind::Limit`] if it would be too large to read; [`ErrorKind::Unavailable`].
pub(super) fn save(path: &Path, identity: &Identity, window: &Window) -> Result<()> {
    let bytes = seal(identity, window)?;
    if bytes.len() as u64 > LIMIT {
        let message = format!("an index of {} bytes, {LIMIT} allowed", bytes.len());
        return Err(Error::new(ErrorKind::Limit, message));
    }
    file::write(path, &bytes)
}

/// Reads a file's body as opening it does; returns the body that saving writes then.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if it is none.
#[cfg(feature = "testing")]
pub fn read_index(body: &[u8], contracts: &Contracts) -> Result<Vec<u8>> {
    let (identity, window) = parse(body, *contracts, usize::MAX)?;
    seal(&identity, &window).map(|bytes| bytes[HEADER..].to_vec())
}

fn open(bytes: &[u8]) -> Result<&[u8]> {
    let (header, body) = bytes
        .split_at_checked(HEADER)
        .filter(|(header, _)| header.starts_with(MAGIC))
        .ok_or_else(|| Error::corrupt("not the file of an index"))?;
    match header[MAGIC.len()..] == keccak256(body)[..] {
        true => Ok(body),
        false => Err(Error::corrupt("the bytes are not those that were written")),
    }
}

fn parse(body: &[u8], contracts: Contracts, depth: usize) -> Result<(Identity, Window)> {
    let Body { identity, base, blocks } =
        borsh::from_slice(body).map_err(|e| Error::corrupt("not an index").with_source(e))?;
    let mut last = base.mark;
    for block in &blocks {
        if last.is_some_and(|last| last.number.checked_add(1) != Some(block.mark.number)) {
            let number = block.mark.number;
            return Err(Error::corrupt(format!("block {number} is not the next")));
        }
        last = Some(block.mark);
    }
    Ok((identity, Window::again(contracts, depth, base, blocks)?))
}

fn check(found: &Identity, expected: &Identity) -> Result<()> {
    let conflict = |message: String| Err(Error::new(ErrorKind::Conflict, message));
    let Identity { chain_id, contracts, start } = expected;
    if found.chain_id != *chain_id {
        return conflict(format!("an index of chain {}, not {chain_id}", found.chain_id));
    }
    if found.contracts != *contracts {
        return conflict("an index of other contracts of this chain".to_owned());
    }
    if found.start != *start {
        return conflict(format!("an index from block {} on, not {start}", found.start));
    }
    Ok(())
}

fn seal(identity: &Identity, window: &Window) -> Result<Vec<u8>> {
    let mut bytes = [MAGIC.as_slice(), &[0; 32]].concat();
    let blocks: Vec<&Block> = window.blocks().collect();
    borsh::to_writer(&mut bytes, &(identity, window.base(), blocks))
        .map_err(|e| Error::invalid("cannot encode the index").with_source(e))?;
    let check = keccak256(&bytes[HEADER..]);
    bytes[MAGIC.len()..HEADER].copy_from_slice(check.as_slice());
    Ok(bytes)
}
