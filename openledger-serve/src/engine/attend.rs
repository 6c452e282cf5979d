//! Attention to the pages of a sequence.

use openledger_kernels::{Causal, Heads, attend_one};

use super::pages::{Layer, PAGE, PageId};

/// Scratch space, kept between calls.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

/// Attends with the last rows of a sequence, whose keys and values lie in `pages`, theirs among them;
/// `seen` is how many rows came before.
///
/// The bits are those of [`Causal::forward`] over the whole sequence.
pub(super) fn attend(
    out: &mut [f32],
    q: &[f32],
    layer: &Layer,
    pages: &[PageId],
    seen: usize,
    heads: Heads,
    scratch: &mut Scratch,
) {
    let rows = q.len() / heads.query_width();
    let Scratch { keys, values, scores } = scratch;
    keys.clear();
    values.clear();
    for (index, &page) in pages.iter().enumerate() {
        let count = PAGE.min((seen + rows).saturating_sub(index * PAGE));
        let (page_keys, page_values) = layer.page(page);
        keys.extend_from_slice(&page_keys[..count * heads.key_width()]);
        values.extend_from_slice(&page_values[..count * heads.value_width()]);
    }
    if seen == 0 {
        Causal::forward(out, q, keys, values, heads);
        return;
    }
    let each = out.chunks_exact_mut(heads.out_width()).zip(q.chunks_exact(heads.query_width()));
    for (row, (out, q)) in each.enumerate() {
        let keys = &keys[..(seen + row + 1) * heads.key_width()];
        let values = &values[..(seen + row + 1) * heads.value_width()];
        attend_one(out, q, keys, values, heads, scores);
    }
}
