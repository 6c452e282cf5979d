//! `DeepSeek` V2 (2024) and V3 (2024): latent attention, and experts in all but the first blocks.
//!
//! The two differ in how tokens are given to experts.

use std::sync::Arc;

use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::{Heads, Pairs};

use super::dense::{gated, head};
use crate::{
    config::{Fields, MAX_HEAD, RopeConfig},
    decoder::{Block, Decoder, FeedForward, LatentAttention, LowRank, Mixer, Tensors},
    ops::{Latent, Linear, Mixture},
    router::{Groups, Router, Scoring},
};

/// The eps of the norms inside attention, which no configuration changes.
const LATENT_EPS: f32 = 1e-6;

#[derive(Clone, Debug)]
pub(crate) struct DeepSeek {
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// Elements of a query or key that do not turn, and those that do.
    pub(crate) own: usize,
    pub(crate) turning: usize,
    pub(crate) value: usize,
    pub(crate) latent: usize,
    pub(crate) query_rank: Option<usize>,
    pub(crate) attention_bias: bool,
    pub(crate) pairs: Pairs,
    pub(crate) rope: RopeConfig,
    /// Blocks before those with experts.
    pub(crate) dense_layers: usize,
    pub(crate) experts: Experts,
    pub(crate) vocabulary: usize,
    pub(crate) max_positions: usize,
    pub(crate) norm_eps: f32,
    pub(crate) tied_embeddings: bool,
    pub(crate) eos: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Experts {
    pub(crate) count: usize,
    pub(crate) intermediate: usize,
    /// How many times as wide the expert is that sees all tokens.
    pub(crate) shared: usize,
    pub(crate) scoring: Scoring,
    pub(crate) corrected: bool,
    pub(crate) groups: Option<Groups>,
    pub(crate) top: usize,
    pub(crate) normalise: bool,
    pub(crate) factor: f32,
}

/// Reads V2: softmax scores, and groups judged by their best expert, if `topk_method` asks for them.
pub(super) fn read_2(fields: &Fields) -> Result<DeepSeek> {
    let best = match fields.text("topk_method")? {
        None | Some("greedy") => None,
        Some("group_limited_greedy") => Some(1),
        Some(other) => {
            let message = format!("`topk_method` `{other}`; known: greedy, group_limited_greedy");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    // transformers has no `norm_topk_prob` in V2.
    DeepSeek::read(fields, Scoring::Softmax, best, false, Pairs::Neighbours)
}

/// Reads V3: logistic scores, a correction for the choice, groups judged by their best two.
pub(super) fn read_3(fields: &Fields) -> Result<DeepSeek> {
    let normalise = fields.flag_or("norm_topk_prob", true)?;
    let pairs = match fields.flag_or("rope_interleave", true)? {
        true => Pairs::Neighbours,
        false => Pairs::Halves,
    };
    DeepSeek::read(fields, Scoring::Sigmoid, Some(2), normalise, pairs)
}

impl DeepSeek {
    fn read(
        fields: &Fields,
        scoring: Scoring,
        best: Option<usize>,
        normalise: bool,
        pairs: Pairs,
    ) -> Result<Self> {
        let max_positions = fields.size_or("max_position_embeddings", 2048)?;
        let layers = fields.parts("num_hidden_layers")?;
        let count = fields.parts("n_routed_experts")?;
        let groups = match best {
            Some(best) => Some(Groups {
                count: fields.size_or("n_group", 1)?,
                keep: fields.size_or("topk_group", 1)?,
                best,
            }),
            None => None,
        };
        let config = Self {
            hidden: fields.size("hidden_size")?,
            intermediate: fields.size("intermediate_size")?,
            layers,
            heads: fields.size("num_attention_heads")?,
            own: fields.size_or("qk_nope_head_dim", 128)?,
            turning: fields.size_or("qk_rope_head_dim", 64)?,
            value: fields.size_or("v_head_dim", 128)?,
            latent: fields.size_or("kv_lora_rank", 512)?,
            query_rank: fields.some_size("q_lora_rank")?,
            attention_bias: fields.flag_or("attention_bias", false)?,
            pairs,
            rope: RopeConfig::read(fields, max_positions)?,
            dense_layers: fields.count_or("first_k_dense_replace", 0)?.min(layers),
            experts: Experts {
                count,
                intermediate: fields.size("moe_intermediate_size")?,
                shared: fields.count_or("n_shared_experts", 0)?,
                scoring,
                corrected: scoring == Scoring::Sigmoid,
                groups,
                top: fields.size("num_experts_per_tok")?,
                normalise,
                factor: fields.positive("routed_scaling_factor")?.unwrap_or(1.0) as f32,
            },
            vocabulary: fields.size("vocab_size")?,
            max_positions,
            norm_eps: fields.eps_or(1e-6)?,
            tied_embeddings: fields.flag_or("tie_word_embeddings", false)?,
            eos: fields.eos()?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let Experts { count, top, groups, .. } = self.experts;
        if !self.turning.is_multiple_of(2) || self.turning > MAX_HEAD {
            return Err(Error::invalid(format!(
                "`qk_rope_head_dim` is {}, not even and to {MAX_HEAD}",
                self.turning
            )));
        }
        let left = match groups {
            Some(Groups { count: groups, keep, best }) => {
                let sound = count.is_multiple_of(groups) && keep <= groups;
                if !sound || count / groups < best {
                    return Err(Error::invalid(format!(
                        "{count} experts in {groups} groups, of which {keep} are kept"
                    )));
                }
                count / groups * keep
            }
            None => count,
        };
        if top > left {
            return Err(Error::invalid(format!(
                "`num_experts_per_tok` is {top} of {left} experts"
            )));
        }
        Ok(())
    }

    pub(super) fn build(self, family: &'static str, tensors: &mut impl Tensors) -> Result<Decoder> {
        let rope = Arc::new(self.rope.rope(self.turning, self.pairs)?);
        let heads = Heads::new(self.heads, self.heads, self.own + self.turning);
        let scale = heads.scale * self.rope.softmax_scale() as f32;
        let heads = heads.with_value_dim(self.value).with_scale(scale);
        let vocabulary = [self.vocabulary, self.hidden];
        let embedding = tensors.find("model.embed_tokens.weight", &vocabulary)?;
        let mut blocks = Vec::new();
        for layer in 0..self.layers {
            let prefix = format!("model.layers.{layer}");
            let attention = self.attention(&format!("{prefix}.self_attn"), tensors, |expand| {
                Latent { layer, heads, rope: Arc::clone(&rope), expand }
            })?;
            let mlp = format!("{prefix}.mlp");
            let mlp = match layer < self.dense_layers {
                true => {
                    let sizes = [self.hidden, self.intermediate];
                    FeedForward::Gated(gated(tensors, &mlp, sizes, false)?)
                }
                false => self.mixture(&mlp, tensors)?,
            };
            blocks.push(Block {
                mixer_norm: tensors.gain(&format!("{prefix}.input_layernorm"), self.hidden)?,
                mixer: Mixer::Latent(attention),
                mlp_norm: tensors
                    .gain(&format!("{prefix}.post_attention_layernorm"), self.hidden)?,
                mlp,
            });
        }
        Ok(Decoder {
            family,
            vocabulary: self.vocabulary,
            max_positions: self.rope.holds(self.max_positions),
            norm_eps: self.norm_eps,
            embedding,
            blocks,
            norm: tensors.gain("model.norm", self.hidden)?,
            head: head(tensors, embedding, vocabulary, self.tied_embeddings)?,
            eos: self.eos,
        })
    }

    fn attention<T: Tensors>(
        &self,
        name: &str,
        tensors: &mut T,
        latent: impl FnOnce(Linear) -> Latent,
    ) -> Result<LatentAttention> {
        let queries = self.heads * (self.own + self.turning);
        let bias = self.attention_bias;
        let query = match self.query_rank {
            None => LowRank::Whole(tensors.linear(
                &format!("{name}.q_proj"),
                [queries, self.hidden],
                false,
            )?),
            Some(rank) => LowRank::Through {
                down: tensors.linear(&format!("{name}.q_a_proj"), [rank, self.hidden], bias)?,
                norm: tensors.gain(&format!("{name}.q_a_layernorm"), rank)?,
                up: tensors.linear(&format!("{name}.q_b_proj"), [queries, rank], false)?,
            },
        };
        let shape = [self.latent + self.turning, self.hidden];
        let down = tensors.linear(&format!("{name}.kv_a_proj_with_mqa"), shape, bias)?;
        let latent_norm = tensors.gain(&format!("{name}.kv_a_layernorm"), self.latent)?;
        let shape = [self.heads * (self.own + self.value), self.latent];
        let expand = tensors.linear(&format!("{name}.kv_b_proj"), shape, false)?;
        let shape = [self.hidden, self.heads * self.value];
        Ok(LatentAttention {
            query,
            down,
            latent_norm,
            latent: self.latent,
            eps: LATENT_EPS,
            attention: latent(expand),
            output: tensors.linear(&format!("{name}.o_proj"), shape, bias)?,
        })
    }

    fn mixture(&self, name: &str, tensors: &mut impl Tensors) -> Result<FeedForward> {
        let Experts { count, intermediate, shared, .. } = self.experts;
        let router = Router {
            weight: tensors.find(&format!("{name}.gate.weight"), &[count, self.hidden])?,
            correction: match self.experts.corrected {
                true => {
                    Some(tensors.find(&format!("{name}.gate.e_score_correction_bias"), &[count])?)
                }
                false => None,
            },
            scoring: self.experts.scoring,
            groups: self.experts.groups,
            top: self.experts.top,
            normalise: self.experts.normalise,
            factor: self.experts.factor,
        };
        let mut expert = |name: String, width| gated(tensors, &name, [self.hidden, width], false);
        let experts = (0..count)
            .map(|index| expert(format!("{name}.experts.{index}"), intermediate))
            .collect::<Result<_>>()?;
        let shared = match shared {
            0 => None,
            times => Some(expert(format!("{name}.shared_experts"), times * intermediate)?),
        };
        Ok(FeedForward::Mixture { mixture: Mixture { router, experts }, shared })
    }
}
