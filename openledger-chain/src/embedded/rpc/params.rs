//! Positional parameters, read where they are used.

use std::sync::Arc;

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{B256, U64, U256},
    serde::JsonStorageKey,
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::embedded::{
    block::Block,
    chain::{Chain, Moment},
    failure::Failure,
};

/// How a method names a block.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    Hash,
    Number,
    Either,
}

impl At {
    /// Returns how the method with this name does.
    pub(super) fn of(method: &str) -> Self {
        if method.contains("Hash") { Self::Hash } else { Self::Number }
    }
}

pub(super) struct Params<'a>(Vec<&'a RawValue>);

impl<'a> Params<'a> {
    pub(super) fn parse(params: Option<&'a RawValue>) -> Result<Self, Failure> {
        let Some(params) = params.filter(|params| params.get() != "null") else {
            return Ok(Self(Vec::new()));
        };
        serde_json::from_str(params.get())
            .map(Self)
            .map_err(|_| Failure::Invalid("parameters are an array".to_owned()))
    }

    /// Reads the parameter at `index`, counted from zero.
    pub(super) fn at<T: DeserializeOwned>(&self, index: usize) -> Result<T, Failure> {
        serde_json::from_str(self.raw(index))
            .map_err(|e| Failure::Invalid(format!("parameter {}: {e}", index + 1)))
    }

    /// Reads the parameter at `index`, or takes `default` if there is none.
    pub(super) fn or<T: DeserializeOwned>(&self, index: usize, default: T) -> Result<T, Failure> {
        if self.has(index) { self.at(index) } else { Ok(default) }
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.raw(index) != "null"
    }

    /// Reads a number, plain or as a hexadecimal quantity: development nodes take both.
    pub(super) fn quantity(&self, index: usize) -> Result<u64, Failure> {
        match self.raw(index).parse() {
            Ok(number) => Ok(number),
            Err(_) => self.at::<U64>(index).map(|number| number.to()),
        }
    }

    /// Reads the place of a slot: a quantity or 32 bytes.
    pub(super) fn slot(&self, index: usize) -> Result<U256, Failure> {
        Ok(U256::from_be_bytes(self.at::<JsonStorageKey>(index)?.as_b256().0))
    }

    /// Reads which block is meant; `None` if there is no such block.
    pub(super) fn block<'c>(
        &self,
        chain: &'c Chain,
        index: usize,
        at: At,
    ) -> Result<Option<&'c Arc<Block>>, Failure> {
        let id = match at {
            At::Hash => BlockId::from(self.at::<B256>(index)?),
            At::Number => BlockId::from(self.at::<BlockNumberOrTag>(index)?),
            At::Either => self.at(index)?,
        };
        Ok(match id {
            BlockId::Hash(hash) => chain.block_by_hash(hash.block_hash),
            BlockId::Number(BlockNumberOrTag::Number(number)) => chain.block(number),
            BlockId::Number(BlockNumberOrTag::Earliest) => chain.block(0),
            BlockId::Number(_) => Some(chain.latest()),
        })
    }

    /// Reads at which moment a question is asked; the latest unless it says so.
    pub(super) fn moment<'c>(&self, chain: &'c Chain, index: usize) -> Result<Moment<'c>, Failure> {
        let id = self.or(index, BlockId::latest())?;
        if id == BlockId::pending() {
            return Ok(chain.pending());
        }
        let block = self
            .or_latest(chain, index)?
            .ok_or_else(|| Failure::Refused(format!("there is no block {id}")))?;
        chain.at(block.header.number)
    }

    fn or_latest<'c>(
        &self,
        chain: &'c Chain,
        index: usize,
    ) -> Result<Option<&'c Arc<Block>>, Failure> {
        match self.has(index) {
            true => self.block(chain, index, At::Either),
            false => Ok(Some(chain.latest())),
        }
    }

    fn raw(&self, index: usize) -> &str {
        self.0.get(index).map_or("null", |raw| raw.get())
    }
}
