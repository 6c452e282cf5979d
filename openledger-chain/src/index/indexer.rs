//! Keeps an index at the head of a chain.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use openledger_core::{Error, ErrorKind, Result};

use super::{
    Index, Mark,
    file::{self, Identity},
    source::Source,
    state::sources,
    window::Window,
};
use crate::EvmChain;

/// Blocks taken in between two writings of the file, on a long way to the head.
const SAVE_EVERY: u64 = 100_000;
/// How often the chain may change under one reading of a block.
const TURNS: u32 = 16;

/// Where an index begins and how it reads.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct IndexOptions {
    /// The first block that is read: one before the contracts were deployed, or that one.
    pub start: u64,
    /// How many blocks can be taken back.
    pub window: usize,
    /// How many blocks' logs are asked for at once.
    pub range: u64,
}

impl Default for IndexOptions {
    /// From the beginning; 256 blocks can be taken back; 10,000 are asked for at once.
    fn default() -> Self {
        Self { start: 0, window: 256, range: 10_000 }
    }
}

impl IndexOptions {
    /// Returns this with another first block.
    #[must_use]
    pub const fn with_start(mut self, start: u64) -> Self {
        self.start = start;
        self
    }

    /// Returns this with another number of blocks that can be taken back.
    #[must_use]
    pub const fn with_window(mut self, window: usize) -> Self {
        self.window = window;
        self
    }

    /// Returns this with another number of blocks asked for at once.
    #[must_use]
    pub const fn with_range(mut self, range: u64) -> Self {
        self.range = range;
        self
    }
}

/// What [`Indexer::sync`] did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Synced {
    /// Blocks that were taken back, because the chain has others in their place.
    pub undone: u64,
    /// Blocks that were taken in.
    pub done: u64,
}

/// Reads a chain's events into an [`Index`], and goes back when the chain does.
///
/// After [`sync`](Self::sync) the index is that of the chain as the node told it, whatever there
/// was before: the same as one that was begun anew. Of the last blocks, the
/// [window](IndexOptions::window), it asks one by one, by hash, and keeps the state after each; what
/// lies deeper is asked for in ranges and never taken back. Ask one node, not several behind one
/// address: the index follows each as it comes.
#[derive(Debug)]
pub struct Indexer {
    source: Source,
    window: Window,
    options: IndexOptions,
    identity: Identity,
    path: Option<PathBuf>,
    /// The last block in the file, if the file is of what was read since the beginning.
    saved: Option<Mark>,
}

impl Indexer {
    /// Begins an index of the contracts of `chain`, in memory.
    pub fn new(chain: &EvmChain, options: IndexOptions) -> Self {
        let contracts = *chain.contracts();
        Self {
            source: Source::new(chain.provider().clone(), sources(&contracts), options.range),
            window: Window::new(contracts, options.window),
            options,
            identity: Identity::new(chain.chain_id(), &contracts, options.start),
            path: None,
            saved: None,
        }
    }

    /// Resumes the index whose file is at `path`, or begins one there.
    ///
    /// Each [`sync`](Self::sync) replaces the file, at a cost in proportion to the whole index: one
    /// that is killed resumes where the last ended, and nothing counts twice. The file is not
    /// locked: of two processes that write it, the last wins, and both are right.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the file is of another chain, other contracts or another start;
    /// [`ErrorKind::Corrupt`] if it is not what was written: remove it to begin anew;
    /// [`ErrorKind::Limit`] over 4 GiB; [`ErrorKind::Unavailable`] if it cannot be read.
    pub fn open(path: impl AsRef<Path>, chain: &EvmChain, options: IndexOptions) -> Result<Self> {
        let path = path.as_ref();
        let mut this = Self::new(chain, options);
        if let Some(window) = file::load(path, &this.identity, *chain.contracts(), options.window)?
        {
            this.saved = window.tip();
            this.window = window;
        }
        this.path = Some(path.to_owned());
        Ok(this)
    }

    /// Returns what the events until [`tip`](Self::tip) tell.
    pub fn index(&self) -> &Index {
        self.window.state()
    }

    /// Returns the last block that was taken in.
    pub fn tip(&self) -> Option<Mark> {
        self.window.tip()
    }

    /// Forgets everything, to begin anew. The file stays until a block is taken in.
    pub fn reset(&mut self) {
        self.window = self.window.empty();
        self.saved = None;
    }

    /// Takes in what the chain has until now.
    ///
    /// Dropped at any point, the index is that of an earlier block, and the next call goes on.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the chain has other blocks deeper than the window reaches:
    /// [`reset`](Self::reset), or remove the file. [`ErrorKind::Corrupt`], naming block and log, if
    /// an event contradicts those before it; then the index stays at the block before.
    /// [`ErrorKind::Unavailable`] if the node or the file fails; what was taken in stays.
    pub async fn sync(&mut self) -> Result<Synced> {
        let synced = self.advance().await;
        let saved = self.save();
        synced.and_then(|synced| saved.map(|()| synced))
    }

    /// Syncs again and again, `every` so often, and tells `told` what came of each, until that
    /// breaks off: also of errors, after which it may go on.
    pub async fn follow<B>(
        &mut self,
        every: Duration,
        mut told: impl FnMut(&Index, Result<Synced>) -> ControlFlow<B>,
    ) -> B {
        loop {
            let synced = self.sync().await;
            if let ControlFlow::Break(value) = told(self.index(), synced) {
                return value;
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn advance(&mut self) -> Result<Synced> {
        let mut synced = Synced { undone: self.retreat().await?, done: 0 };
        let mut head = self.source.head().await?;
        let mut turns = 0;
        loop {
            let next = self.next();
            if next > head {
                return Ok(synced);
            }
            let depth = u64::try_from(self.options.window).unwrap_or(u64::MAX);
            if head - next >= depth {
                synced.done += self.leap(next, head - depth).await?;
                continue;
            }
            if self.step(next).await? {
                synced.done += 1;
                turns = 0;
                continue;
            }
            turns += 1;
            if turns > TURNS {
                let message = format!("the chain changes at block {next} whenever it is read");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            synced.undone += self.retreat().await?;
            head = self.source.head().await?;
        }
    }

    fn next(&self) -> u64 {
        self.window.tip().map_or(self.options.start, |tip| tip.number.saturating_add(1))
    }

    /// Takes back the blocks that the chain has no more; returns how many.
    async fn retreat(&mut self) -> Result<u64> {
        let mut undone = 0;
        while let Some(tip) = self.window.tip() {
            let now = self.source.header(tip.number).await?;
            if now.as_ref().is_some_and(|now| now.hash == tip.hash) {
                break;
            }
            if now.is_none() && !self.window.can_pop() {
                let message = format!("the node does not have block {} yet", tip.number);
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            if !self.window.pop() {
                let Mark { number, hash } = tip;
                let message = format!(
                    "block {number} is not {hash} any more, and no state before it is kept: index again from the start"
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            undone += 1;
        }
        Ok(undone)
    }

    /// Takes in blocks that are never taken back, at the most until `last`; returns how many.
    async fn leap(&mut self, next: u64, last: u64) -> Result<u64> {
        let (to, blocks) = self.source.between(next, last).await?;
        let missing = || {
            let message = format!("the node has no block {to}, though it has later ones");
            Error::new(ErrorKind::Unavailable, message)
        };
        let header = self.source.header(to).await?.ok_or_else(missing)?;
        self.window.fold(Mark { number: to, hash: header.hash }, blocks)?;
        if to - self.saved.map_or(self.options.start, |saved| saved.number.min(to)) >= SAVE_EVERY {
            self.save()?;
        }
        Ok((to - next).saturating_add(1))
    }

    /// Takes in the next block; returns whether it was there and followed the last.
    async fn step(&mut self, next: u64) -> Result<bool> {
        let Some(header) = self.source.header(next).await? else { return Ok(false) };
        if self.window.tip().is_some_and(|tip| tip.hash != header.parent_hash) {
            return Ok(false);
        }
        let Some(block) = self.source.block(&header).await? else { return Ok(false) };
        self.window.push(block)?;
        Ok(true)
    }

    fn save(&mut self) -> Result<()> {
        let tip = self.window.tip();
        if let Some(path) = &self.path
            && tip != self.saved
        {
            file::save(path, &self.identity, &self.window)?;
            self.saved = tip;
        }
        Ok(())
    }
}
