//! What a node tells of blocks and their logs.

use alloy::{
    providers::{DynProvider, Provider},
    rpc::types::{Filter, Header, Log},
    transports::TransportError,
};
use openledger_core::{Address, Error, ErrorKind, Result};

use super::{
    line::Line,
    window::{Block, Mark},
};
use crate::client::node_error;

/// A node, asked for the logs of some contracts.
#[derive(Debug)]
pub(super) struct Source {
    provider: DynProvider,
    filter: Filter,
    /// Blocks asked for at once the next time.
    range: u64,
    /// Blocks asked for at once at the most.
    most: u64,
}

/// Blocks with logs, by number, ascending.
type Logged = Vec<(u64, Vec<Line>)>;

impl Source {
    pub(super) fn new(provider: DynProvider, contracts: Vec<Address>, range: u64) -> Self {
        let most = range.max(1);
        Self { provider, filter: Filter::new().address(contracts), range: most, most }
    }

    /// Returns the number of the last block.
    pub(super) async fn head(&self) -> Result<u64> {
        self.provider.get_block_number().await.map_err(node_error("ask for the latest block"))
    }

    /// Returns the header of a block, if the chain has one of this number.
    pub(super) async fn header(&self, number: u64) -> Result<Option<Header>> {
        let asked = self.provider.get_block_by_number(number.into()).await;
        let block = asked.map_err(node_error(&format!("ask for block {number}")))?;
        match block.map(|block| block.header) {
            Some(header) if header.number != number => {
                Err(lie(format!("block {} in place of block {number}", header.number)))
            }
            header => Ok(header),
        }
    }

    /// Returns what contracts logged in a block, or nothing if the chain has lost the block
    /// meanwhile.
    ///
    /// It is asked for by its hash, so that no other block's logs come, and only if its bloom
    /// filter says that there may be some: that errs on one side.
    pub(super) async fn block(&self, header: &Header) -> Result<Option<Block>> {
        let mark = Mark { number: header.number, hash: header.hash };
        if !self.filter.matches_bloom(header.logs_bloom) {
            return Ok(Some(Block { mark, lines: Vec::new() }));
        }
        let filter = self.filter.clone().at_block_hash(mark.hash);
        let logs = match self.provider.get_logs(&filter).await {
            Ok(logs) => logs,
            Err(e) => match self.header(mark.number).await? {
                Some(now) if now.hash == mark.hash => {
                    let what = format!("ask for the logs of block {}", mark.number);
                    return Err(node_error(&what)(e));
                }
                _ => return Ok(None),
            },
        };
        if let Some(log) = logs.iter().find(|log| log.block_hash != Some(mark.hash)) {
            return Err(lie(format!("a log of block {:?} for {}", log.block_hash, mark.hash)));
        }
        let mut blocks = self.sorted(&logs, mark.number..=mark.number)?;
        let lines = blocks.pop().map(|(_, lines)| lines).unwrap_or_default();
        Ok(Some(Block { mark, lines }))
    }

    /// Returns what contracts logged from block `from` on, at the most until `last`: the block
    /// that was reached, and the blocks with logs.
    ///
    /// Nodes limit the blocks or the logs of an answer and refuse in their own words, so whatever
    /// is refused is asked for again by halves, until one block is.
    pub(super) async fn between(&mut self, from: u64, last: u64) -> Result<(u64, Logged)> {
        loop {
            let to = last.min(from.saturating_add(self.range - 1));
            let filter = self.filter.clone().from_block(from).to_block(to);
            match self.provider.get_logs(&filter).await {
                Ok(logs) => {
                    // A little more the next time: where little is logged, more blocks fit.
                    self.range = self.most.min(self.range.saturating_add(self.range.div_ceil(8)));
                    return Ok((to, self.sorted(&logs, from..=to)?));
                }
                Err(e) if to > from && is_refusal(&e) => self.range = (to - from) / 2 + 1,
                Err(e) => {
                    let what = format!("ask for the logs of blocks {from} to {to}");
                    return Err(node_error(&what)(e));
                }
            }
        }
    }

    fn sorted(&self, logs: &[Log], blocks: std::ops::RangeInclusive<u64>) -> Result<Logged> {
        let mut found = Vec::with_capacity(logs.len());
        for log in logs.iter().filter(|log| !log.removed) {
            let place = log.block_number.zip(log.log_index);
            let (number, index) = place.ok_or_else(|| lie("a log of no block"))?;
            if !blocks.contains(&number) || !self.filter.matches_address(log.address()) {
                return Err(lie(format!("log {index} of block {number}, not asked for")));
            }
            found.push((number, Line::new(index, log.address(), &log.inner.data)));
        }
        found.sort_by_key(|(number, line)| (*number, line.index));
        let mut sorted: Logged = Vec::new();
        for (number, line) in found {
            match sorted.last_mut() {
                Some((last, lines)) if *last == number => {
                    if lines.last().is_some_and(|before| before.index == line.index) {
                        return Err(lie(format!("log {} of block {number} twice", line.index)));
                    }
                    lines.push(line);
                }
                _ => sorted.push((number, vec![line])),
            }
        }
        Ok(sorted)
    }
}

/// Whether a node answered that it will not, which another question may change.
fn is_refusal(error: &TransportError) -> bool {
    let http = error.as_transport_err().and_then(|kind| kind.as_http_error());
    error.as_error_resp().is_some() || http.is_some_and(|e| matches!(e.status, 400 | 413 | 422))
}

fn lie(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the node gave {}", what.into()))
}
