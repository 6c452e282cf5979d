//! Memory for keys and values, in pages.
//!
//! ```text
//!  Table of a sequence      Pool                  layer 0        layer 1
//!  [ 7 | 2 | 9 ] len 37 ──▶ held: 2 ─ page 2 ──▶ 16 tokens      16 tokens
//! ```
//!
//! How tokens lie in a page is the kernels' business ([`PageLayout`]).

use std::fmt;

use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::{NewRows, PAGE, PageLayout, write_pages};

/// How many pages so many tokens need.
pub(super) const fn pages_for(tokens: usize) -> usize {
    tokens.div_ceil(PAGE)
}

/// A page, in every layer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct PageId(u32);

impl PageId {
    /// Returns its place in each layer's memory.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Keys and values of some tokens, for rows `slot` and following of a page.
pub(super) struct Rows<'a> {
    pub(super) page: PageId,
    pub(super) slot: usize,
    pub(super) keys: &'a [f32],
    pub(super) values: &'a [f32],
}

/// One layer's memory, page after page.
pub(super) struct Layer {
    layout: PageLayout,
    memory: Vec<f32>,
}

impl Layer {
    pub(super) const fn layout(&self) -> PageLayout {
        self.layout
    }

    /// Returns what a page holds of this layer.
    pub(super) fn page(&self, page: PageId) -> &[f32] {
        let size = self.layout.len();
        &self.memory[page.index() * size..][..size]
    }

    /// Writes rows to pages.
    ///
    /// # Panics
    /// If one page is named twice, or as [`PageLayout::write`] does.
    pub(super) fn write(&mut self, mut rows: Vec<Rows<'_>>) {
        rows.sort_unstable_by_key(|rows| rows.page);
        let size = self.layout.len();
        let (mut memory, mut first) = (&mut self.memory[..], 0);
        let rows = rows.into_iter().map(|Rows { page, slot, keys, values }| {
            let from = (page.index() - first) * size;
            let (before, after) = std::mem::take(&mut memory).split_at_mut(from + size);
            (memory, first) = (after, page.index() + 1);
            NewRows { page: &mut before[from..], slot, keys, values }
        });
        write_pages(rows.collect(), self.layout);
    }

    fn copy(&mut self, from: PageId, to: PageId) {
        let size = self.layout.len();
        let start = from.index() * size;
        self.memory.copy_within(start..start + size, to.index() * size);
    }
}

/// All pages of an engine, and how often each is held.
///
/// Its memory is one allocation a layer that the system commits as pages are written; a page given
/// back is the first to be handed out again.
pub(super) struct Pool {
    layers: Vec<Layer>,
    /// How often each page that was ever handed out is held.
    held: Vec<u32>,
    free: Vec<PageId>,
    total: usize,
}

impl Pool {
    /// Makes as many pages of these layers as `bytes` hold.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if the system has no such memory.
    pub(super) fn new(layers: impl IntoIterator<Item = PageLayout>, bytes: usize) -> Result<Self> {
        let layouts: Vec<PageLayout> = layers.into_iter().collect();
        let page: usize = layouts.iter().map(|layout| layout.len() * size_of::<f32>()).sum();
        let total = (bytes / page.max(1)).min(u32::MAX as usize);
        let layers = layouts
            .into_iter()
            .map(|layout| Ok(Layer { layout, memory: zeros(total * layout.len())? }))
            .collect::<Result<_>>()?;
        Ok(Self { layers, held: Vec::new(), free: Vec::new(), total })
    }

    pub(super) const fn total(&self) -> usize {
        self.total
    }

    /// Returns how many pages nobody holds.
    pub(super) const fn free(&self) -> usize {
        self.total - self.held.len() + self.free.len()
    }

    /// Hands out a page, held once; its content is whatever it was.
    pub(super) fn allocate(&mut self) -> Option<PageId> {
        if let Some(page) = self.free.pop() {
            self.held[page.index()] = 1;
            return Some(page);
        }
        if self.held.len() == self.total {
            return None;
        }
        let page = PageId(u32::try_from(self.held.len()).ok()?);
        self.held.push(1);
        Some(page)
    }

    /// Returns how often a page is held.
    pub(super) fn held(&self, page: PageId) -> u32 {
        self.held[page.index()]
    }

    /// Holds a page once more.
    ///
    /// # Panics
    /// If nobody holds it.
    pub(super) fn share(&mut self, page: PageId) {
        let held = &mut self.held[page.index()];
        assert!(*held > 0, "{page:?} is free");
        *held += 1;
    }

    /// Holds a page once less; at none it is free.
    ///
    /// # Panics
    /// If nobody holds it.
    pub(super) fn release(&mut self, page: PageId) {
        let held = &mut self.held[page.index()];
        assert!(*held > 0, "{page:?} is free");
        *held -= 1;
        if *held == 0 {
            self.free.push(page);
        }
    }

    pub(super) fn copy(&mut self, from: PageId, to: PageId) {
        self.layers.iter_mut().for_each(|layer| layer.copy(from, to));
    }

    #[cfg(test)]
    pub(super) fn layer(&self, layer: usize) -> &Layer {
        &self.layers[layer]
    }

    pub(super) fn layer_mut(&mut self, layer: usize) -> &mut Layer {
        &mut self.layers[layer]
    }
}

/// Memory that the system commits as it is written, asked for in a way that may fail.
fn zeros(count: usize) -> Result<Vec<f32>> {
    let mut probe: Vec<f32> = Vec::new();
    probe.try_reserve_exact(count).map_err(|e| {
        let message = format!("no memory for {count} numbers of cache: lower `cache_bytes`");
        Error::new(ErrorKind::Limit, message).with_source(e)
    })?;
    drop(probe);
    Ok(vec![0.0; count])
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("free", &self.free())
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use openledger_kernels::Heads;
    use proptest::prelude::*;

    use super::*;

    fn pool(pages: usize) -> Pool {
        let heads = [Heads::new(1, 1, 2).with_value_dim(3), Heads::new(1, 1, 1)];
        let layouts = heads.map(|heads| PageLayout::new(&heads));
        let page: usize = layouts.iter().map(|layout| layout.len() * 4).sum();
        Pool::new(layouts, pages * page + page / 2).unwrap()
    }

    #[test]
    fn a_page_keeps_what_is_written_and_copies_it() {
        let mut pool = pool(3);
        let [first, second] = [pool.allocate().unwrap(), pool.allocate().unwrap()];
        pool.layer_mut(0).write(vec![
            Rows { page: second, slot: 0, keys: &[6.0, 7.0], values: &[8.0, 9.0, 10.0] },
            Rows { page: first, slot: 15, keys: &[1.0, 2.0], values: &[3.0, 4.0, 5.0] },
        ]);
        for x in [1.0, 2.0, 3.0, 4.0, 5.0] {
            assert!(pool.layer(0).page(first).contains(&x));
            assert!(!pool.layer(0).page(second).contains(&x));
        }
        pool.copy(first, second);
        assert_eq!(pool.layer(0).page(first), pool.layer(0).page(second));
        assert!(pool.layer(1).page(first).iter().all(|&x| x == 0.0));
    }

    #[test]
    fn memory_that_no_system_has_is_an_error() {
        assert_eq!(zeros(usize::MAX).unwrap_err().kind(), ErrorKind::Limit);
    }

    proptest! {
        /// Against a list of who holds what.
        #[test]
        fn pages_are_neither_lost_nor_given_twice(
            pages in 0..6usize,
            turns in proptest::collection::vec((0..3u8, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut pool = pool(pages);
            let mut holds: Vec<PageId> = Vec::new();
            for (what, which) in turns {
                match what {
                    0 => match pool.allocate() {
                        Some(page) => {
                            prop_assert!(!holds.contains(&page));
                            holds.push(page);
                        }
                        None => prop_assert_eq!(pool.free(), 0),
                    },
                    _ if holds.is_empty() => {}
                    1 => {
                        let page = *which.get(&holds);
                        pool.share(page);
                        holds.push(page);
                    }
                    _ => pool.release(holds.swap_remove(which.index(holds.len()))),
                }
                let mut distinct = holds.clone();
                distinct.sort();
                distinct.dedup();
                prop_assert_eq!(pool.free(), pages - distinct.len());
                for &page in &distinct {
                    let count = holds.iter().filter(|&&held| held == page).count();
                    prop_assert_eq!(pool.held(page) as usize, count);
                }
            }
        }
    }
}
