//! Causal attention with grouped heads, forward and backward, without storing the scores.
//!
//! Queries are taken a block at a time; the scores of a block live only while it is worked on, and
//! the backward pass computes them again from the row maxima and sums kept by the forward pass
//! (the recomputation of `FlashAttention`, Dao et al. 2022, without its online softmax).

use std::ops::Range;

use rayon::prelude::*;

use crate::{
    activation::softmax_of,
    exp::exp,
    gemm::{Into, Mat, PackedOf, WIDEST, gemm_strided},
    isa::{Isa, vectorised},
    reduce::{dot, scale},
    scratch,
};

/// The shape of an attention layer's rows, and what a row sees.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Key and value heads; each serves `query / key_value` query heads that lie together.
    pub key_value: usize,
    /// Elements of a query or a key.
    pub dim: usize,
    /// Elements of a value, and of what a head returns.
    pub value_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// How many rows a row sees, itself among them; all before it if there is none.
    pub window: Option<usize>,
}

impl Heads {
    /// Takes heads of `dim` elements, whose scores are divided by the root of it.
    pub fn new(query: usize, key_value: usize, dim: usize) -> Self {
        let scale = 1.0 / (dim as f32).sqrt();
        Self { query, key_value, dim, value_dim: dim, scale, window: None }
    }

    /// Returns these with values of another size than keys.
    #[must_use]
    pub const fn with_value_dim(mut self, value_dim: usize) -> Self {
        self.value_dim = value_dim;
        self
    }

    /// Returns these with scores multiplied by something else.
    #[must_use]
    pub const fn with_scale(mut self, scale: f32) -> Self {
        self.scale = scale;
        self
    }

    /// Returns these with rows that see at most so many, which must be one at the least.
    #[must_use]
    pub const fn with_window(mut self, window: Option<usize>) -> Self {
        self.window = window;
        self
    }

    /// Returns the width of a row of queries.
    pub const fn query_width(&self) -> usize {
        self.query * self.dim
    }

    /// Returns the width of a row of keys.
    pub const fn key_width(&self) -> usize {
        self.key_value * self.dim
    }

    /// Returns the width of a row of values.
    pub const fn value_width(&self) -> usize {
        self.key_value * self.value_dim
    }

    /// Returns the width of a row of results.
    pub const fn out_width(&self) -> usize {
        self.query * self.value_dim
    }

    /// The first row that `row` sees.
    pub(crate) const fn sees_from(&self, row: usize) -> usize {
        match self.window {
            Some(window) => (row + 1).saturating_sub(window),
            None => 0,
        }
    }

    pub(crate) const fn key_of(&self, query: usize) -> usize {
        query / (self.query / self.key_value)
    }
}

/// Queries worked on at a time.
const BLOCK: usize = 64;

/// What the forward pass of causal attention over one sequence keeps for the backward pass: the
/// maximum and the sum of exponentials of each score row, `[heads, rows]`.
#[derive(Clone, Debug, Default)]
pub struct Causal {
    largest: Vec<f32>,
    sum: Vec<f32>,
}

impl Causal {
    /// Writes `softmax(scale q k' + causal mask) v` to `out`, for one sequence.
    ///
    /// `q` is `[rows, query * dim]`, `out` `[rows, query * value_dim]`, `k` and `v` have as many rows
    /// of their widths; row `i` sees rows `0..=i`, or the last of them that the window holds. Memory
    /// beyond the result: keys and values once more, and one block of scores a thread.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub fn forward(out: &mut [f32], q: &[f32], k: &[f32], v: &[f32], heads: Heads) -> Self {
        let rows = q.len() / heads.query_width();
        check(heads, rows, [q, k, v, out]);
        let keys = packed_heads(heads, |head| key_rows(k, heads, head, 0..rows).t());
        let values = packed_heads(heads, |head| value_rows(v, heads, head, 0..rows));
        let done: Vec<_> = tasks(heads.query, rows)
            .into_par_iter()
            .map(|(head, first)| {
                let last = rows.min(first + BLOCK);
                let (seen, of_keys) = (seen(heads, first..last), heads.key_of(head));
                scratch::with((last - first) * seen.len(), |scores: &mut [f32]| {
                    score(scores, q, &keys[of_keys], heads, head, first..last);
                    let (largest, sum): (Vec<f32>, Vec<f32>) = scores
                        .chunks_exact_mut(seen.len())
                        .zip(first..last)
                        .map(|(scores, row)| softmax_row(scores, visible(heads, row, &seen)))
                        .unzip();
                    let mut block = vec![0.0; (last - first) * heads.value_dim];
                    let weights = Mat::new(scores, last - first, seen.len());
                    let wanted = [seen, 0..heads.value_dim];
                    let out = Into::Set(&mut block);
                    values[of_keys].multiply_part(out, weights, wanted, heads.value_dim);
                    (block, largest, sum)
                })
            })
            .collect();
        let mut kept = Self::default();
        for ((head, first), (block, largest, sum)) in tasks(heads.query, rows).into_iter().zip(done)
        {
            for (row, values) in block.chunks_exact(heads.value_dim).enumerate() {
                let at = (first + row) * heads.out_width() + head * heads.value_dim;
                out[at..at + heads.value_dim].copy_from_slice(values);
            }
            kept.largest.extend(largest);
            kept.sum.extend(sum);
        }
        kept
    }

    /// Adds the gradients with respect to `q`, `k` and `v`, given that of the output.
    ///
    /// # Panics
    /// If the sizes do not match those of the forward pass.
    pub fn backward(
        &self,
        [dq, dk, dv]: [&mut [f32]; 3],
        dout: &[f32],
        out: &[f32],
        [q, k, v]: [&[f32]; 3],
        heads: Heads,
    ) {
        let rows = q.len() / heads.query_width();
        check(heads, rows, [q, k, v, out]);
        check(heads, rows, [dq, dk, dv, dout]);
        assert_eq!(self.sum.len(), heads.query * rows, "kept by the forward pass");
        let keys = packed_heads(heads, |head| key_rows(k, heads, head, 0..rows));
        let turned_keys = packed_heads(heads, |head| key_rows(k, heads, head, 0..rows).t());
        let turned_values = packed_heads(heads, |head| value_rows(v, heads, head, 0..rows).t());
        let done: Vec<_> = (0..heads.query)
            .into_par_iter()
            .map(|head| {
                let of_keys = heads.key_of(head);
                let packed = [&keys[of_keys], &turned_keys[of_keys], &turned_values[of_keys]];
                self.backward_head(head, [dout, out, q], packed, heads)
            })
            .collect();
        for (head, [head_q, head_k, head_v]) in done.into_iter().enumerate() {
            add_head(dq, &head_q, heads.query_width(), head, heads.dim);
            add_head(dk, &head_k, heads.key_width(), heads.key_of(head), heads.dim);
            add_head(dv, &head_v, heads.value_width(), heads.key_of(head), heads.value_dim);
        }
    }

    /// Returns one query head's gradients with respect to its queries, keys and values. `packed` are its
    /// keys, and its keys and values turned.
    fn backward_head(
        &self,
        head: usize,
        [dout, out, q]: [&[f32]; 3],
        packed: [&PackedOf<f32>; 3],
        heads: Heads,
    ) -> [Vec<f32>; 3] {
        let (dim, value_dim) = (heads.dim, heads.value_dim);
        let rows = q.len() / heads.query_width();
        let [mut dq, mut dk] = std::array::from_fn(|_| vec![0.0; rows * dim]);
        let mut dv = vec![0.0; rows * value_dim];
        let [keys, turned_keys, turned_values] = packed;
        for first in (0..rows).step_by(BLOCK) {
            let last = rows.min(first + BLOCK);
            let (block, seen) = (last - first, seen(heads, first..last));
            scratch::with(2 * block * seen.len(), |both: &mut [f32]| {
                let (weights, dscores) = both.split_at_mut(block * seen.len());
                score(weights, q, turned_keys, heads, head, first..last);
                let dout_block = out_rows(dout, heads, head, first..last);
                let wanted = [0..value_dim, seen.clone()];
                turned_values.multiply_part(Into::Set(dscores), dout_block, wanted, seen.len());
                self.block_gradients([weights, dscores], [dout, out], heads, head, first..last);
                let (weights, dscores) =
                    (Mat::new(weights, block, seen.len()), Mat::new(dscores, block, seen.len()));
                let dv = &mut dv[seen.start * value_dim..last * value_dim];
                gemm_strided(Into::Add(dv), weights.t(), dout_block, value_dim);
                let queries = query_rows(q, heads, head, first..last);
                let dk = &mut dk[seen.start * dim..last * dim];
                gemm_strided(Into::Add(dk), dscores.t(), queries, dim);
                let dq = Into::Set(&mut dq[first * dim..last * dim]);
                keys.multiply_part(dq, dscores, [seen, 0..dim], dim);
            });
        }
        [dq, dk, dv]
    }

    /// Turns a block's scores into weights, and the gradients with respect to those into gradients with
    /// respect to the scores.
    fn block_gradients(
        &self,
        [weights, dscores]: [&mut [f32]; 2],
        [dout, out]: [&[f32]; 2],
        heads: Heads,
        head: usize,
        rows: Range<usize>,
    ) {
        let (isa, all) = (Isa::best(), self.sum.len() / heads.query);
        let seen = seen(heads, rows.clone());
        let both = weights.chunks_exact_mut(seen.len()).zip(dscores.chunks_exact_mut(seen.len()));
        for ((weights, dscores), row) in both.zip(rows) {
            let at = row * heads.out_width() + head * heads.value_dim;
            let kept = head * all + row;
            let mean = dot(&dout[at..at + heads.value_dim], &out[at..at + heads.value_dim]);
            let (largest, sum) = (self.largest[kept], self.sum[kept]);
            let visible = visible(heads, row, &seen);
            let [shown, dshown] = [&mut weights[visible.clone()], &mut dscores[visible.clone()]];
            score_gradients(isa, shown, dshown, mean, largest, sum, heads.scale);
            hide(weights, visible.clone());
            hide(dscores, visible);
        }
    }
}

/// Packs each key head.
fn packed_heads<'a>(heads: Heads, rows: impl Fn(usize) -> Mat<'a> + Sync) -> Vec<PackedOf<f32>> {
    // The first query head that it serves stands for it.
    let served = heads.query / heads.key_value;
    let all = (0..heads.key_value).into_par_iter();
    all.map(|head| PackedOf::wide(rows(head * served).into())).collect()
}

/// The keys that scores of some queries are computed with: all that any of them sees, and a few before
/// and after them.
fn seen(heads: Heads, rows: Range<usize>) -> Range<usize> {
    heads.sees_from(rows.start) / WIDEST * WIDEST..rows.end
}

/// The scaled scores of some queries with the keys [`seen`].
fn score(
    scores: &mut [f32],
    q: &[f32],
    keys: &PackedOf<f32>,
    heads: Heads,
    head: usize,
    rows: Range<usize>,
) {
    let seen = seen(heads, rows.clone());
    let (queries, stride) = (query_rows(q, heads, head, rows), seen.len());
    keys.multiply_part(Into::Set(scores), queries, [0..heads.dim, seen], stride);
    scale(Isa::best(), scores, heads.scale);
}

/// Which of the scores with the keys `seen` are of keys that `row` sees.
fn visible(heads: Heads, row: usize, seen: &Range<usize>) -> Range<usize> {
    heads.sees_from(row) - seen.start..row + 1 - seen.start
}

/// Makes everything outside `visible` zero.
fn hide(row: &mut [f32], visible: Range<usize>) {
    row[..visible.start].fill(0.0);
    row[visible.end..].fill(0.0);
}

/// Turns the visible scores of a row into weights and the rest into zeros; returns what the
/// backward pass needs to do it again.
pub(crate) fn softmax_row(scores: &mut [f32], visible: Range<usize>) -> (f32, f32) {
    hide(scores, visible.clone());
    softmax_of(Isa::best(), &mut scores[visible])
}

vectorised! {
    /// Turns a row of scores into weights, and the gradient with respect to the weights into that
    /// with respect to the unscaled scores.
    fn score_gradients(
        scores: &mut [f32],
        gradients: &mut [f32],
        mean: f32,
        largest: f32,
        sum: f32,
        scale: f32,
    ) {
        let inverse = 1.0 / sum;
        for (score, gradient) in scores.iter_mut().zip(gradients) {
            *score = exp(*score - largest) * inverse;
            *gradient = *score * (*gradient - mean) * scale;
        }
    }
}

/// `rows` of one head of a matrix whose rows hold `heads` of `dim` elements each.
fn head_rows(x: &[f32], head: usize, [heads, dim]: [usize; 2], rows: Range<usize>) -> Mat<'_> {
    let width = heads * dim;
    Mat::strided(&x[rows.start * width + head * dim..], rows.len(), dim, width)
}

fn query_rows(x: &[f32], heads: Heads, head: usize, rows: Range<usize>) -> Mat<'_> {
    head_rows(x, head, [heads.query, heads.dim], rows)
}

fn out_rows(x: &[f32], heads: Heads, head: usize, rows: Range<usize>) -> Mat<'_> {
    head_rows(x, head, [heads.query, heads.value_dim], rows)
}

/// Rows of the key head that serves query head `head`.
fn key_rows(x: &[f32], heads: Heads, head: usize, rows: Range<usize>) -> Mat<'_> {
    head_rows(x, heads.key_of(head), [heads.key_value, heads.dim], rows)
}

/// Rows of the value head that serves query head `head`.
fn value_rows(x: &[f32], heads: Heads, head: usize, rows: Range<usize>) -> Mat<'_> {
    head_rows(x, heads.key_of(head), [heads.key_value, heads.value_dim], rows)
}

fn add_head(to: &mut [f32], from: &[f32], width: usize, head: usize, dim: usize) {
    for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(dim)) {
        for (to, from) in to[head * dim..(head + 1) * dim].iter_mut().zip(from) {
            *to += from;
        }
    }
}

fn tasks(heads: usize, rows: usize) -> Vec<(usize, usize)> {
    (0..heads).flat_map(|head| (0..rows).step_by(BLOCK).map(move |first| (head, first))).collect()
}

fn check(heads: Heads, rows: usize, qkv_and_out: [&[f32]; 4]) {
    assert!(heads.key_value > 0 && heads.query.is_multiple_of(heads.key_value), "{heads:?}");
    assert!(heads.window != Some(0), "a row sees itself");
    let widths = [heads.query_width(), heads.key_width(), heads.value_width(), heads.out_width()];
    for ((x, width), name) in
        qkv_and_out.iter().zip(widths).zip(["query", "key", "value", "result"])
    {
        assert_eq!(x.len(), rows * width, "{name} rows");
    }
}
