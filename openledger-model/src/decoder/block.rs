//! Pre-norm blocks: attention, then a feed-forward layer, each added to the stream.

use openledger_core::Result;
use openledger_kernels::Heads;

use crate::{
    ops::{Attention, Gated, Latent, Linear, Mixture, Ops},
    weights::Param,
};

#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) mixer_norm: Param,
    pub(crate) mixer: Mixer,
    pub(crate) mlp_norm: Param,
    pub(crate) mlp: FeedForward,
}

/// What mixes the tokens of a sequence.
#[derive(Clone, Debug)]
pub(crate) enum Mixer {
    Grouped(GroupedAttention),
    Latent(LatentAttention),
}

/// GroupedAttention-query attention (Ainslie et al., 2023), with a norm of queries and keys in some families.
#[derive(Clone, Debug)]
pub(crate) struct GroupedAttention {
    pub(crate) qkv: [Linear; 3],
    pub(crate) head_norms: Option<[Param; 2]>,
    pub(crate) attention: Attention,
    pub(crate) output: Linear,
}

/// Multi-head latent attention.
#[derive(Clone, Debug)]
pub(crate) struct LatentAttention {
    pub(crate) query: LowRank,
    /// To the latent row and the part of the key that all heads share.
    pub(crate) down: Linear,
    pub(crate) latent_norm: Param,
    pub(crate) latent: usize,
    pub(crate) eps: f32,
    pub(crate) attention: Latent,
    pub(crate) output: Linear,
}

/// A projection, in one step or by way of a smaller width.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LowRank {
    Whole(Linear),
    Through { down: Linear, norm: Param, up: Linear },
}

#[derive(Clone, Debug)]
pub(crate) enum FeedForward {
    Gated(Gated),
    /// Experts chosen for each token, and one that sees all.
    Mixture {
        mixture: Mixture,
        shared: Option<Gated>,
    },
}

impl Block {
    pub(super) fn run<O: Ops>(&self, ops: &mut O, x: O::Rows, eps: f32) -> Result<O::Rows> {
        let normed = ops.norm(&x, self.mixer_norm, eps)?;
        let mixed = match &self.mixer {
            Mixer::Grouped(attention) => attention.run(ops, &normed, eps)?,
            Mixer::Latent(attention) => attention.run(ops, &normed)?,
        };
        let x = ops.add(x, mixed)?;
        let normed = ops.norm(&x, self.mlp_norm, eps)?;
        let fed = match &self.mlp {
            FeedForward::Gated(gated) => gated.run(ops, &normed)?,
            FeedForward::Mixture { mixture, shared } => {
                let mixed = ops.mix(&normed, mixture)?;
                match shared {
                    Some(shared) => {
                        let shared = shared.run(ops, &normed)?;
                        ops.add(mixed, shared)?
                    }
                    None => mixed,
                }
            }
        };
        ops.add(x, fed)
    }

    /// The heads of the attention.
    pub(super) const fn heads(&self) -> Heads {
        match &self.mixer {
            Mixer::Grouped(mixer) => mixer.attention.heads,
            Mixer::Latent(mixer) => mixer.attention.heads,
        }
    }

    /// The linear layers, in the order in which they are run; those that read the same rows together.
    pub(super) fn linears(&self) -> Vec<Vec<Linear>> {
        let mut linears = match &self.mixer {
            Mixer::Grouped(GroupedAttention { qkv, output, .. }) => {
                vec![qkv.to_vec(), vec![*output]]
            }
            Mixer::Latent(LatentAttention { query, down, attention, output, .. }) => {
                let query = match *query {
                    LowRank::Whole(whole) => vec![whole],
                    LowRank::Through { down, up, .. } => vec![down, up],
                };
                [query, vec![*down, attention.expand, *output]]
                    .concat()
                    .chunks(1)
                    .map(<[_]>::to_vec)
                    .collect()
            }
        };
        let mut add = |gated: &Gated| {
            linears.extend([vec![gated.gate, gated.up], vec![gated.down]]);
        };
        match &self.mlp {
            FeedForward::Gated(gated) => add(gated),
            FeedForward::Mixture { mixture, shared } => {
                mixture.experts.iter().chain(shared).for_each(add);
            }
        }
        linears
    }
}

impl GroupedAttention {
    fn run<O: Ops>(&self, ops: &mut O, x: &O::Rows, eps: f32) -> Result<O::Rows> {
        let [mut q, mut k, v] = ops.project_all(x, self.qkv.each_ref())?;
        if let Some([of_queries, of_keys]) = self.head_norms {
            (q, k) = (ops.norm(&q, of_queries, eps)?, ops.norm(&k, of_keys, eps)?);
        }
        let attended = ops.attend(&self.attention, [q, k, v])?;
        ops.project(&attended, &self.output)
    }
}

impl LatentAttention {
    fn run<O: Ops>(&self, ops: &mut O, x: &O::Rows) -> Result<O::Rows> {
        let q = match &self.query {
            LowRank::Whole(whole) => ops.project(x, whole)?,
            LowRank::Through { down, norm, up } => {
                let low = ops.project(x, down)?;
                let low = ops.norm(&low, *norm, self.eps)?;
                ops.project(&low, up)?
            }
        };
        let low = ops.project(x, &self.down)?;
        let [latent, key] = ops.split(low, self.latent)?;
        let latent = ops.norm(&latent, self.latent_norm, self.eps)?;
        let attended = ops.attend_latent(&self.attention, q, latent, key)?;
        ops.project(&attended, &self.output)
    }
}
