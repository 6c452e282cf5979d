//! Logs by filter, found by the blooms of their blocks.

use alloy::{
    eips::BlockNumberOrTag,
    rpc::types::{Filter, FilterBlockOption, Log},
};

use super::{chain::Chain, failure::Failure};

/// Logs given at once at the most.
const LOGS: usize = 50_000;

/// Blocks from the first to the last, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Range {
    /// Returns the blocks a filter asks for; without any, it asks for the latest.
    pub(super) fn of(filter: &Filter, chain: &Chain) -> Result<Self, Failure> {
        let number = |tag: Option<BlockNumberOrTag>| match tag {
            Some(BlockNumberOrTag::Number(number)) => number,
            Some(BlockNumberOrTag::Earliest) => 0,
            _ => chain.head(),
        };
        Ok(match filter.block_option {
            FilterBlockOption::AtBlockHash(hash) => {
                let block = chain
                    .block_by_hash(hash)
                    .ok_or_else(|| Failure::Refused(format!("there is no block {hash}")))?;
                Self { from: block.header.number, to: block.header.number }
            }
            FilterBlockOption::Range { from_block, to_block } => {
                Self { from: number(from_block), to: number(to_block) }
            }
        })
    }

    /// Returns the blocks for which somebody follows a chain: all but those that numbers exclude.
    pub(super) fn followed(filter: &Filter) -> Self {
        let (from, to) = filter.extract_block_range();
        Self { from: from.unwrap_or(0), to: to.unwrap_or(u64::MAX) }
    }
}

/// Returns the logs in `range` that match, whatever blocks the filter itself names.
pub(super) fn find<'a>(
    chain: &'a Chain,
    filter: &Filter,
    range: Range,
) -> Result<Vec<&'a Log>, Failure> {
    let mut found = Vec::new();
    for number in range.from..=range.to.min(chain.head()) {
        let Some(block) = chain.block(number) else { break };
        if block.logs().is_empty() || !filter.matches_bloom(block.header.logs_bloom) {
            continue;
        }
        found.extend(block.logs().iter().filter(|log| filter.matches(&log.inner)));
        if found.len() > LOGS {
            return Err(Failure::Limit(format!("more than {LOGS} logs; ask for fewer blocks")));
        }
    }
    Ok(found)
}
