//! Decoders with grouped-query attention and one feed-forward layer a block.

use std::sync::Arc;

use openledger_core::Result;
use openledger_kernels::{Heads, Pairs};

use super::LlamaConfig;
use crate::{
    config::Fields,
    decoder::{Block, Decoder, FeedForward, GroupedAttention, Mixer, Tensors},
    ops::{Attention, Gated, Linear},
    weights::Param,
};

/// What distinguishes the relatives of Llama.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    pub(crate) llama: LlamaConfig,
    /// Whether the output projection has a bias.
    pub(super) output_bias: bool,
    /// Whether queries and keys are normalised, head by head.
    pub(super) head_norms: bool,
    /// How many rows a row sees, layer by layer.
    pub(crate) windows: Vec<Option<usize>>,
}

impl Dense {
    /// Takes a Llama: the output has a bias where queries have one, and rows see all before them.
    pub(super) fn llama(llama: LlamaConfig) -> Self {
        let windows = vec![None; llama.layers];
        Self { output_bias: llama.attention_bias, llama, head_norms: false, windows }
    }

    /// Returns this with sliding windows in the layers that `layer_types` calls so, or, where that is
    /// not said, in those for which `slides` is true.
    pub(super) fn with_window(
        mut self,
        fields: &Fields,
        window: Option<usize>,
        slides: impl Fn(usize) -> bool,
    ) -> Result<Self> {
        let types = fields.texts("layer_types")?;
        for (layer, sees) in self.windows.iter_mut().enumerate() {
            let slides = match types.as_ref().and_then(|types| types.get(layer)) {
                Some(&kind) => kind == "sliding_attention",
                None => slides(layer),
            };
            *sees = window.filter(|_| slides);
        }
        Ok(self)
    }

    pub(super) fn build(self, family: &'static str, tensors: &mut impl Tensors) -> Result<Decoder> {
        let c = &self.llama;
        let (query, key) = (c.heads * c.head_dim, c.key_value_heads * c.head_dim);
        let rope = Arc::new(c.rope.rope(c.head_dim, Pairs::Halves)?);
        let heads = Heads::new(c.heads, c.key_value_heads, c.head_dim);
        let scale = heads.scale * c.rope.softmax_scale() as f32;
        let embedding = tensors.find("model.embed_tokens.weight", &[c.vocabulary, c.hidden])?;
        let mut blocks = Vec::new();
        for (layer, &window) in self.windows.iter().enumerate() {
            let prefix = format!("model.layers.{layer}");
            let attention = format!("{prefix}.self_attn");
            let mut projection = |name: &str, shape: [usize; 2], bias: bool| {
                tensors.linear(&format!("{attention}.{name}"), shape, bias)
            };
            let qkv = [
                projection("q_proj", [query, c.hidden], c.attention_bias)?,
                projection("k_proj", [key, c.hidden], c.attention_bias)?,
                projection("v_proj", [key, c.hidden], c.attention_bias)?,
            ];
            let output = projection("o_proj", [c.hidden, query], self.output_bias)?;
            let head_norms = match self.head_norms {
                true => Some([
                    tensors.gain(&format!("{attention}.q_norm"), c.head_dim)?,
                    tensors.gain(&format!("{attention}.k_norm"), c.head_dim)?,
                ]),
                false => None,
            };
            let mlp = format!("{prefix}.mlp");
            let mlp = gated(tensors, &mlp, [c.hidden, c.intermediate], c.mlp_bias)?;
            let heads = heads.with_window(window).with_scale(scale);
            let attention = Attention { layer, heads, rope: Arc::clone(&rope) };
            blocks.push(Block {
                mixer_norm: tensors.gain(&format!("{prefix}.input_layernorm"), c.hidden)?,
                mixer: Mixer::Grouped(GroupedAttention { qkv, head_norms, attention, output }),
                mlp_norm: tensors.gain(&format!("{prefix}.post_attention_layernorm"), c.hidden)?,
                mlp: FeedForward::Gated(mlp),
            });
        }
        Ok(Decoder {
            family,
            vocabulary: c.vocabulary,
            max_positions: c.rope.holds(c.max_positions),
            eos: self.llama.eos.clone(),
            norm_eps: c.norm_eps,
            embedding,
            blocks,
            norm: tensors.gain("model.norm", c.hidden)?,
            head: head(tensors, embedding, [c.vocabulary, c.hidden], c.tied_embeddings)?,
        })
    }
}

/// Finds the projection to the vocabulary, which may be the embedding table.
pub(super) fn head(
    tensors: &mut impl Tensors,
    embedding: Param,
    shape: [usize; 2],
    tied: bool,
) -> Result<Linear> {
    match tied {
        true => Ok(Linear { weight: embedding, bias: None }),
        false => tensors.linear("lm_head", shape, false),
    }
}

/// Finds a gated feed-forward layer.
pub(super) fn gated(
    tensors: &mut impl Tensors,
    name: &str,
    [hidden, inner]: [usize; 2],
    bias: bool,
) -> Result<Gated> {
    let mut linear = |part: &str, shape| tensors.linear(&format!("{name}.{part}"), shape, bias);
    Ok(Gated {
        gate: linear("gate_proj", [inner, hidden])?,
        up: linear("up_proj", [inner, hidden])?,
        down: linear("down_proj", [hidden, inner])?,
    })
}
