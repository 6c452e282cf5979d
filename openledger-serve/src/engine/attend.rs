//! Attention of a step's rows to the pages of their sequences.

use openledger_kernels::{Heads, PAGE, Paged, attend_pages};
use openledger_model::{Buffer, Buffers};

use super::pages::{Layer, PageId};

/// The rows of one sequence that attend: the last of `seen`, whose keys and values lie in `pages`.
pub(super) struct Attending<'a> {
    pub(super) q: &'a [f32],
    pub(super) pages: &'a [PageId],
    pub(super) seen: usize,
}

/// Returns what rows of some sequences find, one after another.
pub(super) fn attend(
    layer: &Layer,
    buffers: &Buffers,
    sequences: &[Attending<'_>],
    heads: Heads,
) -> Buffer {
    let mut rows = 0;
    let sequences = sequences.iter().map(|&Attending { q, pages, seen }| {
        rows += q.len() / heads.query_width();
        let pages = &pages[..seen.div_ceil(PAGE)];
        Paged { q, pages: pages.iter().map(|&page| layer.page(page)).collect(), seen }
    });
    let sequences: Vec<Paged<'_>> = sequences.collect();
    let mut out = buffers.room(rows * heads.out_width());
    attend_pages(&mut out, &sequences, heads, layer.layout());
    out
}
