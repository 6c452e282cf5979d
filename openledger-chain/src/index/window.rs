//! The last blocks with the state after each, so that blocks can be taken back.

use std::collections::VecDeque;

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{B256, Result};

use super::{Index, line::Line};
use crate::Contracts;

/// A block, by what names it.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Mark {
    /// How many came before it.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

/// A block and what our contracts logged in it.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub(super) struct Block {
    pub(super) mark: Mark,
    pub(super) lines: Vec<Line>,
}

/// The state after each of the last blocks. States share what did not change between them, so one
/// more costs what its block changed, and taking blocks back is forgetting: nothing is undone.
#[derive(Clone, Debug)]
pub(super) struct Window {
    contracts: Contracts,
    depth: usize,
    base: Base,
    recent: VecDeque<(Block, Index)>,
}

/// The last block that cannot be taken back, if there is one, and the state after it.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default)]
pub(super) struct Base {
    pub(super) mark: Option<Mark>,
    pub(super) state: Index,
}

impl Window {
    /// Begins with nothing, to keep `depth` blocks.
    pub(super) fn new(contracts: Contracts, depth: usize) -> Self {
        Self { contracts, depth, base: Base::default(), recent: VecDeque::new() }
    }

    /// Makes the window that was once `base` and these blocks.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(super) fn again(
        contracts: Contracts,
        depth: usize,
        base: Base,
        blocks: Vec<Block>,
    ) -> Result<Self> {
        let mut window = Self { base, ..Self::new(contracts, depth) };
        blocks.into_iter().try_for_each(|block| window.push(block))?;
        Ok(window)
    }

    pub(super) fn state(&self) -> &Index {
        self.recent.back().map_or(&self.base.state, |(_, state)| state)
    }

    pub(super) fn tip(&self) -> Option<Mark> {
        self.recent.back().map(|(block, _)| block.mark).or(self.base.mark)
    }

    pub(super) const fn base(&self) -> &Base {
        &self.base
    }

    pub(super) fn blocks(&self) -> impl ExactSizeIterator<Item = &Block> {
        self.recent.iter().map(|(block, _)| block)
    }

    /// Takes in the next block.
    ///
    /// # Errors
    /// As [`Index::with`]; then nothing changed.
    pub(super) fn push(&mut self, block: Block) -> Result<()> {
        let state = self.state().with(&self.contracts, block.mark.number, &block.lines)?;
        self.recent.push_back((block, state));
        if self.recent.len() > self.depth
            && let Some((block, state)) = self.recent.pop_front()
        {
            self.base = Base { mark: Some(block.mark), state };
        }
        Ok(())
    }

    /// Takes in blocks up to `last` that are never taken back, and none before them any more.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(super) fn fold(
        &mut self,
        last: Mark,
        blocks: impl IntoIterator<Item = (u64, Vec<Line>)>,
    ) -> Result<()> {
        let mut state = self.state().clone();
        for (number, lines) in blocks {
            state = state.with(&self.contracts, number, &lines)?;
        }
        self.base = Base { mark: Some(last), state };
        self.recent.clear();
        Ok(())
    }

    /// Returns a window like this with nothing in it.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.contracts, self.depth)
    }

    /// Whether the last block can be taken back.
    pub(super) fn can_pop(&self) -> bool {
        !self.recent.is_empty()
    }

    /// Takes the last block back; returns whether it was one that can be.
    pub(super) fn pop(&mut self) -> bool {
        self.recent.pop_back().is_some()
    }
}
