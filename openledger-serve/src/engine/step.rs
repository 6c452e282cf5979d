//! Runs the decoder over one step: rows of many sequences and adapters at once.

use std::ops::Range;

use openledger_core::Result;
use openledger_kernels::{Arithmetic, Heads, Into, Mat, PAGE, add_assign, axpy, rms_norm, swiglu};
use openledger_model::{
    Attention, Buffer, Buffers, Gated, Latent, Linear, Mixture, Network, Ops, Param, Router, Saved,
};

use super::{
    attend::{Attending, attend},
    pages::{PageId, Pool, Rows},
    project::project,
};
use crate::Lease;

/// One sequence's part of a step.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// New tokens: some of a prompt, or those written last.
    pub(super) tokens: &'a [u32],
    /// Tokens the pages hold already.
    pub(super) seen: usize,
    /// Pages with room for the new tokens, which nobody else reads.
    pub(super) pages: &'a [PageId],
    pub(super) adapter: Option<&'a Lease>,
    /// Which of the new tokens are asked what follows them.
    pub(super) logits: Range<usize>,
    /// Which of the new tokens are asked for their hidden state.
    pub(super) hidden: Range<usize>,
}

/// What a step found, of those that were asked, part by part.
#[derive(Debug)]
pub(super) struct Found {
    /// `[rows asked, vocabulary]`.
    pub(super) logits: Buffer,
    /// `[rows asked, width]`.
    pub(super) hidden: Vec<f32>,
}

/// A pass over the parts of a step. Parts with the same adapter should lie together: their rows
/// are multiplied by it at once.
#[derive(Debug)]
pub(super) struct Step<'a> {
    network: &'a Network,
    pool: &'a mut Pool,
    /// Memory of earlier steps.
    buffers: &'a Buffers,
    parts: Vec<Part<'a>>,
    /// Rows of each part.
    rows: Vec<Range<usize>>,
    positions: Vec<u32>,
    /// Rows that share an adapter, for those that have one.
    groups: Vec<(&'a Lease, Range<usize>)>,
}

impl<'a> Step<'a> {
    pub(super) fn new(
        network: &'a Network,
        pool: &'a mut Pool,
        buffers: &'a Buffers,
        parts: Vec<Part<'a>>,
    ) -> Self {
        let mut step = Self {
            network,
            pool,
            buffers,
            parts: Vec::new(),
            rows: Vec::new(),
            positions: Vec::new(),
            groups: Vec::new(),
        };
        for part in &parts {
            let start = step.positions.len();
            let end = start + part.tokens.len();
            step.positions.extend((part.seen as u32..).take(part.tokens.len()));
            step.rows.push(start..end);
            let Some(lease) = part.adapter else { continue };
            match step.groups.last_mut() {
                Some((last, rows)) if last.numbers() == lease.numbers() && rows.end == start => {
                    rows.end = end
                }
                _ => step.groups.push((lease, start..end)),
            }
        }
        step.parts = parts;
        step
    }

    /// Runs the decoder.
    pub(super) fn run(mut self) -> Result<Found> {
        let hidden = self.network.decoder().hidden(&mut self)?;
        let width = hidden.len() / self.positions.len();
        let gather = |asked: for<'p> fn(&'p Part<'a>) -> &'p Range<usize>| -> Vec<f32> {
            let parts = self.parts.iter().zip(&self.rows);
            let asked = parts.map(|(part, rows)| {
                let asked = asked(part);
                &hidden[(rows.start + asked.start) * width..(rows.start + asked.end) * width]
            });
            asked.flatten().copied().collect()
        };
        let logits = self.logits(&gather(|part| &part.logits), width);
        Ok(Found { logits, hidden: gather(|part| &part.hidden) })
    }

    /// Multiplies the hidden states of those that are asked by the head, or by a part's own.
    fn logits(&self, asked: &[f32], width: usize) -> Buffer {
        let (head, weights) = (self.network.decoder().head().weight, self.network.weights());
        let [vocabulary, _] = self.network.sizes(head);
        let count = asked.len() / width;
        let mut logits = self.buffers.room(count * vocabulary);
        if count > 0 {
            weights.multiply(head, Into::Set(&mut logits), Mat::new(asked, count, width));
        }
        let mut first = 0;
        for part in &self.parts {
            let rows = first..first + part.logits.len();
            first = rows.end;
            let own = part.adapter.and_then(|lease| lease.table(Saved::Head));
            let Some(own) = own.filter(|_| !rows.is_empty()) else { continue };
            let asked = Mat::new(&asked[rows.start * width..rows.end * width], rows.len(), width);
            let logits = &mut logits[rows.start * vocabulary..rows.end * vocabulary];
            own.weight().multiply(Into::Set(logits), asked, weights.arithmetic());
        }
        logits
    }

    fn tokens(&self) -> usize {
        self.positions.len()
    }

    /// Runs an expert over the rows of some tokens, which ascend.
    fn expert(&self, expert: &Gated, x: &[f32], tokens: &[usize]) -> Buffer {
        let place = |token: usize| tokens.partition_point(|&other| other < token);
        let groups: Vec<(&Lease, Range<usize>)> = self
            .groups
            .iter()
            .map(|(lease, rows)| (*lease, place(rows.start)..place(rows.end)))
            .filter(|(_, rows)| !rows.is_empty())
            .collect();
        let [gate, up] =
            project(self.network, self.buffers, x, [&expert.gate, &expert.up], &groups);
        let gated = self.gated(&gate, &up);
        let [result] = project(self.network, self.buffers, &gated, [&expert.down], &groups);
        result
    }

    fn gated(&self, gate: &[f32], up: &[f32]) -> Buffer {
        let mut out = self.buffers.room(gate.len());
        swiglu(&mut out, gate, up);
        out
    }

    /// Calls `turn` with the rows of each part and their positions.
    fn each_part(&self, x: &mut [f32], turn: impl Fn(&mut [f32], &[u32])) {
        let width = x.len() / self.tokens();
        for rows in &self.rows {
            turn(&mut x[rows.start * width..rows.end * width], &self.positions[rows.clone()]);
        }
    }

    /// Writes to the pages and attends to them.
    fn attend_cached(
        &mut self,
        layer: usize,
        heads: Heads,
        q: &[f32],
        k: &[f32],
        v: &[f32],
    ) -> Buffer {
        let memory = self.pool.layer_mut(layer);
        let mut new = Vec::new();
        for (part, rows) in self.parts.iter().zip(&self.rows) {
            let (mut at, mut row) = (part.seen, rows.start);
            while row < rows.end {
                let (page, slot) = (part.pages[at / PAGE], at % PAGE);
                let count = (PAGE - slot).min(rows.end - row);
                let keys = &k[row * heads.key_width()..][..count * heads.key_width()];
                let values = &v[row * heads.value_width()..][..count * heads.value_width()];
                new.push(Rows { page, slot, keys, values });
                (at, row) = (at + count, row + count);
            }
        }
        memory.write(new);
        let memory = &*memory;
        let parts = self.parts.iter().zip(&self.rows).map(|(part, rows)| {
            let q = &q[rows.start * heads.query_width()..rows.end * heads.query_width()];
            Attending { q, pages: part.pages, seen: part.seen + rows.len() }
        });
        attend(memory, self.buffers, &parts.collect::<Vec<_>>(), heads)
    }
}

impl Ops for Step<'_> {
    type Rows = Buffer;

    fn embed(&mut self, table: Param) -> Result<Buffer> {
        let mut rows = Vec::new();
        for part in &self.parts {
            let tokens = part.tokens.iter().copied();
            rows.extend(match part.adapter.and_then(|lease| lease.table(Saved::Embedding)) {
                Some(own) => own.rows(tokens),
                None => self.network.weights().rows(table, tokens),
            });
        }
        Ok(rows.into())
    }

    fn norm(&mut self, x: &Buffer, gain: Param, eps: f32) -> Result<Buffer> {
        let mut out = self.buffers.room(x.len());
        rms_norm(&mut out, x, self.network.weights().vector(gain), eps);
        Ok(out)
    }

    fn project(&mut self, x: &Buffer, linear: &Linear) -> Result<Buffer> {
        let [result] = project(self.network, self.buffers, x, [linear], &self.groups);
        Ok(result)
    }

    fn project_all<const N: usize>(
        &mut self,
        x: &Buffer,
        linears: [&Linear; N],
    ) -> Result<[Buffer; N]> {
        Ok(project(self.network, self.buffers, x, linears, &self.groups))
    }

    fn split(&mut self, x: Buffer, width: usize) -> Result<[Buffer; 2]> {
        let whole = x.len() / self.tokens();
        let part = |columns: Range<usize>| {
            let mut part = self.buffers.room(self.tokens() * columns.len());
            for (to, row) in part.chunks_exact_mut(columns.len()).zip(x.chunks_exact(whole)) {
                to.copy_from_slice(&row[columns.clone()]);
            }
            part
        };
        Ok([part(0..width), part(width..whole)])
    }

    fn attend(&mut self, layer: &Attention, [mut q, mut k, v]: [Buffer; 3]) -> Result<Buffer> {
        self.each_part(&mut q, |x, positions| layer.rope.apply(x, positions));
        self.each_part(&mut k, |x, positions| layer.rope.apply(x, positions));
        Ok(self.attend_cached(layer.layer, layer.heads, &q, &k, &v))
    }

    fn attend_latent(
        &mut self,
        layer: &Latent,
        mut q: Buffer,
        latent: Buffer,
        mut key: Buffer,
    ) -> Result<Buffer> {
        let expanded = self.project(&latent, &layer.expand)?;
        let head = layer.heads.dim;
        self.each_part(&mut q, |x, positions| layer.rope.apply_to_ends(x, positions, head));
        self.each_part(&mut key, |x, positions| layer.rope.apply(x, positions));
        let [keys, values] = layer.keys_and_values(&expanded, &key);
        Ok(self.attend_cached(layer.layer, layer.heads, &q, &keys, &values))
    }

    fn mix(&mut self, x: &Buffer, mixture: &Mixture) -> Result<Buffer> {
        let (router, weights) = (&mixture.router, self.network.weights());
        let (experts, width) = (mixture.experts.len(), x.len() / self.tokens());
        let mut scores = self.buffers.room(self.tokens() * experts);
        let rows = Mat::new(x, self.tokens(), width);
        // In `f32` whatever else is rounded: a near tie decides which experts run.
        weights.matrix(router.weight).multiply(Into::Set(&mut scores), rows, Arithmetic::F32);
        let correction = router.correction.map(|correction| weights.vector(correction));
        let chosen: Vec<_> = scores
            .chunks_exact_mut(experts)
            .map(|scores| router.choose(scores, correction))
            .collect();
        let mut out = self.buffers.zeros(x.len());
        for (expert, sent) in Router::sent(&chosen, experts).into_iter().enumerate() {
            if sent.is_empty() {
                continue;
            }
            let tokens: Vec<usize> = sent.iter().map(|&[token, _]| token).collect();
            let row = |&token: &usize| &x[token * width..(token + 1) * width];
            let gathered: Vec<f32> = tokens.iter().flat_map(row).copied().collect();
            let result = self.expert(&mixture.experts[expert], &gathered, &tokens);
            for (&[token, place], result) in sent.iter().zip(result.chunks_exact(width)) {
                let weight = chosen[token][place].weight;
                axpy(&mut out[token * width..(token + 1) * width], weight, result);
            }
        }
        Ok(out)
    }

    fn gate(&mut self, gate: Buffer, up: Buffer) -> Result<Buffer> {
        Ok(self.gated(&gate, &up))
    }

    fn add(&mut self, mut x: Buffer, y: Buffer) -> Result<Buffer> {
        add_assign(&mut x, &y);
        Ok(x)
    }
}
