//! Attention to the pages of a sequence.

use openledger_kernels::{Heads, PAGE, attend_pages};

use super::pages::{Layer, PageId};

/// Attends with the last rows of a sequence of `seen` rows, whose keys and values lie in `pages`.
pub(super) fn attend(
    out: &mut [f32],
    q: &[f32],
    layer: &Layer,
    pages: &[PageId],
    seen: usize,
    heads: Heads,
) {
    let pages = &pages[..seen.div_ceil(PAGE)];
    let pages: Vec<&[f32]> = pages.iter().map(|&page| layer.page(page)).collect();
    attend_pages(out, q, &pages, seen, heads);
}
