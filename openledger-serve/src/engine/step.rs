//! Runs the decoder over one step: rows of many sequences and adapters at once.

use std::ops::Range;

use openledger_core::Result;
use openledger_kernels::{
    Causal, Into, Mat, add_assign, attend_one, gemm_packed, rms_norm, swiglu,
};
use openledger_model::{Attention, Linear, Network, Ops, Param};

use super::cache::Cache;
use crate::Lease;

/// One sequence's part of a step.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// New tokens: a prompt, or the one written last.
    pub(super) tokens: &'a [u32],
    /// Tokens the cache holds already.
    pub(super) seen: usize,
    pub(super) cache: &'a mut Cache,
    pub(super) adapter: Option<&'a Lease>,
}

/// A pass over the parts of a step. Parts with the same adapter should lie together: their rows
/// are multiplied by it at once.
#[derive(Debug)]
pub(super) struct Step<'a> {
    network: &'a Network,
    parts: Vec<Part<'a>>,
    /// Rows of each part.
    rows: Vec<Range<usize>>,
    positions: Vec<u32>,
    /// Rows that share an adapter, for those that have one.
    groups: Vec<(&'a Lease, Range<usize>)>,
    scores: Vec<f32>,
}

impl<'a> Step<'a> {
    pub(super) fn new(network: &'a Network, parts: Vec<Part<'a>>) -> Self {
        let mut step = Self {
            network,
            parts: Vec::new(),
            rows: Vec::new(),
            positions: Vec::new(),
            groups: Vec::new(),
            scores: Vec::new(),
        };
        for part in &parts {
            let start = step.positions.len();
            let end = start + part.tokens.len();
            step.positions.extend((part.seen as u32..).take(part.tokens.len()));
            step.rows.push(start..end);
            let Some(lease) = part.adapter else { continue };
            match step.groups.last_mut() {
                Some((last, rows)) if last.id() == lease.id() && rows.end == start => {
                    rows.end = end
                }
                _ => step.groups.push((lease, start..end)),
            }
        }
        step.parts = parts;
        step
    }

    /// Runs the decoder; returns the logits of each part's last token, `[parts, vocabulary]`.
    pub(super) fn run(mut self) -> Result<Vec<f32>> {
        let hidden = self.network.decoder().hidden(&mut self)?;
        let width = hidden.len() / self.positions.len();
        let last: Vec<f32> = self
            .rows
            .iter()
            .flat_map(|rows| &hidden[(rows.end - 1) * width..rows.end * width])
            .copied()
            .collect();
        let head = self.network.weights().packed(self.network.decoder().head().weight);
        let mut logits = vec![0.0; self.parts.len() * head.cols()];
        gemm_packed(Into::Set(&mut logits), Mat::new(&last, self.parts.len(), width), head);
        Ok(logits)
    }

    fn tokens(&self) -> usize {
        self.positions.len()
    }
}

impl Ops for Step<'_> {
    type Rows = Vec<f32>;

    fn embed(&mut self, table: Param) -> Result<Vec<f32>> {
        let width = self.network.weights().shape(table)[1];
        let data = self.network.weights().data(table);
        let tokens = self.parts.iter().flat_map(|part| part.tokens);
        let row = |&token: &u32| &data[token as usize * width..(token as usize + 1) * width];
        Ok(tokens.flat_map(row).copied().collect())
    }

    fn norm(&mut self, x: &Vec<f32>, gain: Param, eps: f32) -> Result<Vec<f32>> {
        let mut out = vec![0.0; x.len()];
        rms_norm(&mut out, x, self.network.weights().data(gain), eps);
        Ok(out)
    }

    fn project(&mut self, x: &Vec<f32>, linear: &Linear) -> Result<Vec<f32>> {
        let weight = self.network.weights().packed(linear.weight);
        let (inputs, outputs) = (weight.rows(), weight.cols());
        let mut y = vec![0.0; self.tokens() * outputs];
        gemm_packed(Into::Set(&mut y), Mat::new(x, self.tokens(), inputs), weight);
        if let Some(bias) = linear.bias {
            let bias = self.network.weights().data(bias);
            y.chunks_exact_mut(outputs).for_each(|row| add_assign(row, bias));
        }
        for (lease, rows) in &self.groups {
            let Some(pair) = lease.at(linear.weight) else { continue };
            let x = Mat::new(&x[rows.start * inputs..rows.end * inputs], rows.len(), inputs);
            let mut lowered = vec![0.0; rows.len() * pair.down.cols()];
            gemm_packed(Into::Set(&mut lowered), x, &pair.down);
            lowered.iter_mut().for_each(|u| *u *= pair.scale);
            let lowered = Mat::new(&lowered, rows.len(), pair.down.cols());
            gemm_packed(
                Into::Add(&mut y[rows.start * outputs..rows.end * outputs]),
                lowered,
                &pair.up,
            );
        }
        Ok(y)
    }

    fn attend(&mut self, layer: &Attention, [mut q, mut k, v]: [Vec<f32>; 3]) -> Result<Vec<f32>> {
        layer.rope.apply(&mut q, &self.positions);
        layer.rope.apply(&mut k, &self.positions);
        let heads = layer.heads;
        let (wide, narrow) = (heads.query * heads.dim, heads.key_value * heads.dim);
        let mut out = vec![0.0; q.len()];
        for (part, rows) in self.parts.iter_mut().zip(&self.rows) {
            let (w, n) =
                (rows.start * wide..rows.end * wide, rows.start * narrow..rows.end * narrow);
            let cached = part.cache.extend(layer.layer, &k[n.clone()], &v[n]);
            if part.seen == 0 {
                Causal::forward(&mut out[w.clone()], &q[w], &cached.keys, &cached.values, heads);
                continue;
            }
            let (out, q) = (out[w.clone()].chunks_exact_mut(wide), q[w].chunks_exact(wide));
            for (row, (out, q)) in out.zip(q).enumerate() {
                let seen = (part.seen + row + 1) * narrow;
                let (keys, values) = (&cached.keys[..seen], &cached.values[..seen]);
                attend_one(out, q, keys, values, heads, &mut self.scores);
            }
        }
        Ok(out)
    }

    fn gate(&mut self, gate: Vec<f32>, up: Vec<f32>) -> Result<Vec<f32>> {
        let mut out = vec![0.0; gate.len()];
        swiglu(&mut out, &gate, &up);
        Ok(out)
    }

    fn add(&mut self, mut x: Vec<f32>, y: Vec<f32>) -> Result<Vec<f32>> {
        add_assign(&mut x, &y);
        Ok(x)
    }
}
