//! One query by keys and values in pages, in sums that do not wait for each other.

use super::PAGE;
use crate::isa::vectorised;

/// Elements of a value that are summed at a time.
pub(super) const WIDTH: usize = 64;

/// Pages whose keys are multiplied at a time.
const TOGETHER: usize = 4;
/// Elements of a value that are summed at a time where there are fewer than [`WIDTH`]: what the rows of
/// values are padded to.
const NARROW: usize = 8;

vectorised! {
    /// Writes the products of a query and the keys of `pages`, which begin at `offset` in each.
    pub(super) fn scores(scores: &mut [f32], q: &[f32], pages: &[&[f32]], offset: usize) {
        let (whole, rest) = pages.as_chunks::<TOGETHER>();
        let (first, last) = scores.split_at_mut(whole.len() * TOGETHER * PAGE);
        for (pages, scores) in whole.iter().zip(first.as_chunks_mut::<{ TOGETHER * PAGE }>().0) {
            some_scores(scores, q, pages, offset);
        }
        for (page, scores) in rest.iter().zip(last.as_chunks_mut::<PAGE>().0) {
            some_scores(scores, q, &[page], offset);
        }
    }

    /// Adds values of `pages` by their weights: `cols` elements from `offset` in each page on, in rows
    /// `stride` apart.
    pub(super) fn values(
        sums: &mut [f32; WIDTH],
        weights: &[f32],
        pages: &[&[f32]],
        offset: usize,
        stride: usize,
        cols: usize,
    ) {
        let pages = pages.iter().zip(weights.chunks(PAGE));
        if cols == WIDTH {
            let mut totals = *sums;
            for (page, weights) in pages {
                for (row, weight) in page[offset..].chunks(stride).zip(weights) {
                    add::<WIDTH>(&mut totals, *weight, row);
                }
            }
            *sums = totals;
            return;
        }
        for (part, sums) in sums.as_chunks_mut::<NARROW>().0[..cols.div_ceil(NARROW)]
            .iter_mut()
            .enumerate()
        {
            for (page, weights) in pages.clone() {
                let rows = page[offset + part * NARROW..].chunks(stride);
                for (row, weight) in rows.zip(weights) {
                    add::<NARROW>(sums, *weight, row);
                }
            }
        }
    }
}

#[inline(always)]
fn some_scores<const N: usize>(scores: &mut [f32], q: &[f32], pages: &[&[f32]; N], offset: usize) {
    let keys = pages.map(|page| &page[offset..][..q.len() * PAGE].as_chunks::<PAGE>().0[..q.len()]);
    let mut sums = [[0f32; PAGE]; N];
    for (step, q) in q.iter().enumerate() {
        for (sums, keys) in sums.iter_mut().zip(&keys) {
            for (sum, key) in sums.iter_mut().zip(&keys[step]) {
                *sum = q.mul_add(*key, *sum);
            }
        }
    }
    scores.copy_from_slice(sums.as_flattened());
}

#[inline(always)]
fn add<const N: usize>(sums: &mut [f32; N], weight: f32, row: &[f32]) {
    let row = row.first_chunk::<N>().expect("a row as wide as the sums");
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum = weight.mul_add(*value, *sum);
    }
}
