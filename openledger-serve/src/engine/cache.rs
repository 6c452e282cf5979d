//! What sequences have computed: pages they hold, pages kept for those that begin alike.

use openledger_core::Result;
use openledger_kernels::{PAGE, PageLayout};

use super::{
    pages::{PageId, Pool, pages_for},
    prefix::{Chain, Prefixes},
};

/// The pages of one sequence, in order.
///
/// Give it back by [`Cache::close`]: dropping one loses its pages.
#[derive(Debug)]
pub(super) struct Table {
    pages: Vec<PageId>,
    len: usize,
    /// Pages that are kept under what they hold, from the first; the others are the sequence's own.
    kept: usize,
    /// Names the text up to the last page kept.
    chain: Chain,
}

impl Table {
    /// Begins a sequence of nothing.
    pub(super) const fn new(chain: Chain) -> Self {
        Self { pages: Vec::new(), len: 0, kept: 0, chain }
    }

    /// Returns how many tokens' keys and values there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn pages(&self) -> &[PageId] {
        &self.pages
    }

    /// Returns the chain up to the last whole page.
    pub(super) const fn chain(&self) -> Chain {
        self.chain
    }
}

/// The pages of an engine, shared by sequences that begin alike.
#[derive(Debug)]
pub(super) struct Cache {
    pool: Pool,
    prefixes: Prefixes,
    /// Whether anything is kept when its sequence ends.
    keeps: bool,
    now: u64,
}

impl Cache {
    /// # Errors
    /// Those of [`Pool::new`].
    pub(super) fn new(
        layers: impl IntoIterator<Item = PageLayout>,
        bytes: usize,
        keeps: bool,
    ) -> Result<Self> {
        let pool = Pool::new(layers, bytes)?;
        Ok(Self { pool, prefixes: Prefixes::default(), keeps, now: 0 })
    }

    pub(super) const fn pool_mut(&mut self) -> &mut Pool {
        &mut self.pool
    }

    pub(super) const fn total(&self) -> usize {
        self.pool.total()
    }

    /// Returns how many pages a sequence could have: free ones, and those kept for nobody now.
    pub(super) fn available(&self) -> usize {
        self.pool.free() + self.prefixes.idle()
    }

    /// Returns how many pages are kept for nobody now.
    pub(super) fn idle(&self) -> usize {
        self.prefixes.idle()
    }

    /// Returns how many of the pages a text needs are not there for it: those that are not kept, and those
    /// that nobody uses now, which it would use. Nothing is taken, so asking changes nothing.
    ///
    /// A table that then [`find`](Self::find)s the text leaves as many fewer pages available as it needs on
    /// top of what it found.
    pub(super) fn lacks(&self, mut chain: Chain, tokens: &[u32]) -> usize {
        let mut lacks = pages_for(tokens.len());
        let (known, _) = tokens.split_at(tokens.len().saturating_sub(1));
        for rest in known.chunks(PAGE) {
            let Some((page, shared)) = self.prefixes.longest(chain, rest) else { break };
            lacks -= usize::from(!self.prefixes.is_idle(page));
            if shared < PAGE {
                break;
            }
            chain = chain.then(rest);
        }
        lacks
    }

    /// Goes on with pages that hold the next of `tokens`, the whole text; returns how many tokens
    /// that spares. The last token is never found, because what follows it is asked for.
    ///
    /// A page of which only the beginning fits is shared all the same, and copied when the sequence
    /// first writes to it.
    pub(super) fn find(&mut self, table: &mut Table, tokens: &[u32]) -> usize {
        let before = table.len;
        while table.len == table.pages.len() * PAGE {
            let rest = &tokens[table.len..tokens.len().saturating_sub(1).max(table.len)];
            let rest = &rest[..rest.len().min(PAGE)];
            let Some((page, shared)) = self.prefixes.longest(table.chain, rest) else { break };
            self.pool.share(page);
            self.prefixes.used(page);
            table.pages.push(page);
            table.len += shared;
            if shared == PAGE {
                table.chain = table.chain.then(rest);
                table.kept += 1;
            }
        }
        self.now += u64::from(table.len > before);
        table.len - before
    }

    /// Makes room for `more` tokens, in pages that nobody else reads. `false` if there are too few
    /// pages; those there were are the table's all the same.
    pub(super) fn grow(&mut self, table: &mut Table, more: usize) -> bool {
        if !table.len.is_multiple_of(PAGE) && !self.own_last(table) {
            return false;
        }
        while table.pages.len() < pages_for(table.len + more) {
            let Some(page) = self.allocate() else { return false };
            table.pages.push(page);
        }
        true
    }

    /// Copies the page that is half full if others hold it.
    fn own_last(&mut self, table: &mut Table) -> bool {
        let place = table.len / PAGE;
        let page = table.pages[place];
        if self.pool.held(page) == 1 {
            return true;
        }
        if let Some(copy) = self.allocate() {
            self.pool.copy(page, copy);
            self.release(page);
            table.pages[place] = copy;
            return true;
        }
        // There is no page to copy to: if only the cache holds this one, it goes without.
        let ours = self.pool.held(page) == 2 && self.prefixes.holds(page);
        if ours {
            self.prefixes.forget(page);
            self.pool.release(page);
        }
        ours
    }

    /// Counts tokens that were written; pages that became full with them can be found from now on.
    pub(super) fn wrote(&mut self, table: &mut Table, count: usize, tokens: &[u32]) {
        table.len += count;
        while (table.kept + 1) * PAGE <= table.len {
            let full = &tokens[table.kept * PAGE..(table.kept + 1) * PAGE];
            if self.keeps {
                self.keep(table, full);
            }
            table.chain = table.chain.then(full);
            table.kept += 1;
        }
    }

    /// Keeps the page after those kept; if another has the same content, takes that one instead.
    fn keep(&mut self, table: &mut Table, tokens: &[u32]) {
        let own = table.pages[table.kept];
        match self.prefixes.get(table.chain, tokens) {
            Some(other) if other == own => {}
            Some(other) => {
                self.pool.share(other);
                self.prefixes.used(other);
                table.pages[table.kept] = other;
                self.release(own);
            }
            None => {
                self.pool.share(own);
                let shorter = self.prefixes.insert(table.chain, tokens, own, table.kept);
                if let Some(shorter) = shorter {
                    self.pool.release(shorter);
                }
            }
        }
    }

    /// Ends a sequence; `tokens` is its text.
    pub(super) fn close(&mut self, mut table: Table, tokens: &[u32]) {
        let rest = &tokens[table.kept * PAGE..table.len];
        if self.keeps && !rest.is_empty() && !self.known(table.chain, rest) {
            self.keep(&mut table, rest);
        }
        self.now += 1;
        for page in table.pages {
            self.release(page);
        }
    }

    /// Whether some page holds these tokens, and perhaps more.
    fn known(&self, after: Chain, tokens: &[u32]) -> bool {
        self.prefixes.longest(after, tokens).is_some_and(|(_, shared)| shared == tokens.len())
    }

    fn allocate(&mut self) -> Option<PageId> {
        if let Some(page) = self.pool.allocate() {
            return Some(page);
        }
        let page = self.prefixes.evict()?;
        self.pool.release(page);
        self.pool.allocate()
    }

    fn release(&mut self, page: PageId) {
        self.pool.release(page);
        if self.pool.held(page) == 1 && self.prefixes.holds(page) {
            self.prefixes.unused(page, self.now);
        }
    }
}

#[cfg(test)]
mod tests;
