//! Causal attention with grouped heads, forward and backward, without storing the scores.
//!
//! Queries are taken a block at a time; the scores of a block live only while it is worked on, and
//! the backward pass computes them again from the row maxima and sums kept by the forward pass
//! (the recomputation of `FlashAttention`, Dao et al. 2022, without its online softmax).

use rayon::prelude::*;

use crate::{
    exp::exp,
    gemm::{Into, Mat, gemm_strided},
    isa::{Isa, vectorised},
    loss::{exp_in_place, max},
    reduce::{dot, scale},
};

/// The shape of an attention layer's rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "attention has these three sizes")]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Key and value heads; each serves `query / key_value` query heads that lie together.
    pub key_value: usize,
    /// Elements of a head.
    pub dim: usize,
}

impl Heads {
    const fn query_width(&self) -> usize {
        self.query * self.dim
    }

    const fn key_width(&self) -> usize {
        self.key_value * self.dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    const fn key_of(&self, query: usize) -> usize {
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
    /// Writes `softmax(q k' / sqrt(dim) + causal mask) v` to `out`, for one sequence.
    ///
    /// `q` and `out` are `[rows, query * dim]`, `k` and `v` `[rows, key_value * dim]`; row `i` sees
    /// rows `0..=i`. Memory beyond the result: one block of scores a thread.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub fn forward(out: &mut [f32], q: &[f32], k: &[f32], v: &[f32], heads: Heads) -> Self {
        let rows = q.len() / heads.query_width();
        check(heads, rows, [q, out], [k, v]);
        let done: Vec<_> = tasks(heads.query, rows)
            .into_par_iter()
            .map(|(head, first)| {
                let last = rows.min(first + BLOCK);
                let mut scores = scores(q, k, heads, head, first, last);
                let (largest, sum): (Vec<f32>, Vec<f32>) = scores
                    .chunks_exact_mut(last)
                    .enumerate()
                    .map(|(row, scores)| softmax_row(scores, first + row + 1))
                    .unzip();
                let mut block = vec![0.0; (last - first) * heads.dim];
                let weights = Mat::new(&scores, last - first, last);
                gemm_strided(
                    Into::Set(&mut block),
                    weights,
                    key_rows(v, heads, head, last),
                    heads.dim,
                );
                (block, largest, sum)
            })
            .collect();
        let mut kept = Self::default();
        for ((head, first), (block, largest, sum)) in tasks(heads.query, rows).into_iter().zip(done)
        {
            for (row, values) in block.chunks_exact(heads.dim).enumerate() {
                let at = (first + row) * heads.query_width() + head * heads.dim;
                out[at..at + heads.dim].copy_from_slice(values);
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
        check(heads, rows, [q, out], [k, v]);
        check(heads, rows, [dq, dout], [dk, dv]);
        assert_eq!(self.sum.len(), heads.query * rows, "kept by the forward pass");
        let done: Vec<_> = (0..heads.query)
            .into_par_iter()
            .map(|head| self.backward_head(head, dout, out, [q, k, v], heads))
            .collect();
        for (head, [head_q, head_k, head_v]) in done.into_iter().enumerate() {
            add_head(dq, &head_q, heads.query_width(), head, heads.dim);
            add_head(dk, &head_k, heads.key_width(), heads.key_of(head), heads.dim);
            add_head(dv, &head_v, heads.key_width(), heads.key_of(head), heads.dim);
        }
    }

    /// Returns one query head's gradients with respect to its queries, keys and values.
    fn backward_head(
        &self,
        head: usize,
        dout: &[f32],
        out: &[f32],
        [q, k, v]: [&[f32]; 3],
        heads: Heads,
    ) -> [Vec<f32>; 3] {
        let (dim, width) = (heads.dim, heads.query_width());
        let rows = q.len() / width;
        let isa = Isa::best();
        let [mut dq, mut dk, mut dv] = std::array::from_fn(|_| vec![0.0; rows * dim]);
        for first in (0..rows).step_by(BLOCK) {
            let last = rows.min(first + BLOCK);
            let block = last - first;
            let mut weights = scores(q, k, heads, head, first, last);
            let mut dscores = vec![0.0; block * last];
            let dout_block = query_rows(dout, heads, head, first, last);
            gemm_strided(
                Into::Set(&mut dscores),
                dout_block,
                key_rows(v, heads, head, last).t(),
                last,
            );
            for row in 0..block {
                let at = (first + row) * width + head * dim;
                let kept = head * rows + first + row;
                let weights = &mut weights[row * last..(row + 1) * last];
                let dscores = &mut dscores[row * last..(row + 1) * last];
                let mean = dot(&dout[at..at + dim], &out[at..at + dim]);
                let (largest, sum) = (self.largest[kept], self.sum[kept]);
                score_gradients(isa, weights, dscores, mean, largest, sum, heads.scale());
                weights[first + row + 1..].fill(0.0);
                dscores[first + row + 1..].fill(0.0);
            }
            let (weights, dscores) =
                (Mat::new(&weights, block, last), Mat::new(&dscores, block, last));
            gemm_strided(Into::Add(&mut dv[..last * dim]), weights.t(), dout_block, dim);
            let queries = query_rows(q, heads, head, first, last);
            gemm_strided(Into::Add(&mut dk[..last * dim]), dscores.t(), queries, dim);
            let keys = key_rows(k, heads, head, last);
            gemm_strided(Into::Set(&mut dq[first * dim..last * dim]), dscores, keys, dim);
        }
        [dq, dk, dv]
    }
}

/// Attention of one new row over everything cached: writes to `out`, `[query * dim]`.
///
/// `k` and `v` hold `[rows, key_value * dim]`, the new row's last. The result has the bits of
/// [`Causal::forward`]'s last row. `scores` is scratch space, kept by the caller.
///
/// # Panics
/// If the sizes do not match.
pub fn attend_one(
    out: &mut [f32],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    heads: Heads,
    scores: &mut Vec<f32>,
) {
    let rows = k.len() / heads.key_width();
    check(heads, 1, [q, out], [&k[..heads.key_width()], &v[..heads.key_width()]]);
    assert!(k.len() == v.len() && k.len() == rows * heads.key_width(), "whole rows");
    for head in 0..heads.query {
        scores.clear();
        scores.resize(rows, 0.0);
        let query = Mat::new(&q[head * heads.dim..(head + 1) * heads.dim], 1, heads.dim);
        gemm_strided(Into::Set(scores), query, key_rows(k, heads, head, rows).t(), rows);
        scale(Isa::best(), scores, heads.scale());
        softmax_row(scores, rows);
        let out = &mut out[head * heads.dim..(head + 1) * heads.dim];
        let weights = Mat::new(scores, 1, rows);
        gemm_strided(Into::Set(out), weights, key_rows(v, heads, head, rows), heads.dim);
    }
}

/// The scaled scores of queries `first..last` with keys `0..last`, later keys included.
fn scores(q: &[f32], k: &[f32], heads: Heads, head: usize, first: usize, last: usize) -> Vec<f32> {
    let mut scores = vec![0.0; (last - first) * last];
    let queries = query_rows(q, heads, head, first, last);
    gemm_strided(Into::Set(&mut scores), queries, key_rows(k, heads, head, last).t(), last);
    scale(Isa::best(), &mut scores, heads.scale());
    scores
}

/// Turns the first `seen` scores of a row into weights and the rest into zeros; returns what the
/// backward pass needs to do it again.
fn softmax_row(scores: &mut [f32], seen: usize) -> (f32, f32) {
    let (visible, hidden) = scores.split_at_mut(seen);
    hidden.fill(0.0);
    softmax(Isa::best(), visible)
}

vectorised! {
    fn softmax(row: &mut [f32]) -> (f32, f32) {
        let largest = max(row);
        let sum = exp_in_place(row, largest);
        let inverse = 1.0 / sum;
        row.iter_mut().for_each(|weight| *weight *= inverse);
        (largest, sum)
    }

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

fn query_rows(x: &[f32], heads: Heads, head: usize, first: usize, last: usize) -> Mat<'_> {
    let width = heads.query_width();
    Mat::strided(&x[first * width + head * heads.dim..], last - first, heads.dim, width)
}

/// Rows `0..last` of the key or value head that serves query head `head`.
fn key_rows(x: &[f32], heads: Heads, head: usize, last: usize) -> Mat<'_> {
    Mat::strided(&x[heads.key_of(head) * heads.dim..], last, heads.dim, heads.key_width())
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

fn check(heads: Heads, rows: usize, queries: [&[f32]; 2], keys: [&[f32]; 2]) {
    assert!(heads.key_value > 0 && heads.query.is_multiple_of(heads.key_value), "{heads:?}");
    assert!(queries.iter().all(|x| x.len() == rows * heads.query_width()), "query rows");
    assert!(keys.iter().all(|x| x.len() == rows * heads.key_width()), "key and value rows");
}
