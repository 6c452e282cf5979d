//! The Llama decoder (Touvron et al., 2023): Llama 2 and 3 and whatever has their shape.

use std::sync::Arc;

use openledger_core::Result;
use openledger_kernels::{Heads, Rope};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use crate::{
    config::LlamaConfig,
    ops::{Attention, Linear, Ops},
    random::symmetric,
    weights::{NamedTensor, Param, Weights},
};

/// A stack of pre-norm blocks: grouped-query attention, then a gated feed-forward layer.
#[derive(Clone, Debug)]
pub struct Llama {
    config: LlamaConfig,
    embedding: Param,
    blocks: Vec<Block>,
    norm: Param,
    head: Linear,
}

#[derive(Clone, Debug)]
struct Block {
    attention_norm: Param,
    qkv: [Linear; 3],
    attention: Attention,
    output: Linear,
    mlp_norm: Param,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Llama {
    /// Finds the decoder's tensors in `weights`, by the names of Hugging Face checkpoints.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](openledger_core::ErrorKind::NotFound) or
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) naming the tensor that is
    /// missing or of another shape.
    pub fn new(config: LlamaConfig, weights: &Weights) -> Result<Self> {
        let c = &config;
        let (query, key) = (c.heads * c.head_dim, c.key_value_heads * c.head_dim);
        let linear = |name: &str, [out, width]: [usize; 2], bias: bool| -> Result<Linear> {
            let weight = weights.find(&format!("{name}.weight"), &[out, width])?;
            let bias = bias.then(|| weights.find(&format!("{name}.bias"), &[out])).transpose()?;
            Ok(Linear { weight, bias })
        };
        let rope = Arc::new(Rope::new(c.rope_frequencies()));
        let blocks = (0..c.layers)
            .map(|layer| {
                let prefix = format!("model.layers.{layer}");
                let gain =
                    |name: &str| weights.find(&format!("{prefix}.{name}.weight"), &[c.hidden]);
                let attention = |name: &str, shape: [usize; 2]| {
                    linear(&format!("{prefix}.self_attn.{name}"), shape, c.attention_bias)
                };
                let mlp = |name: &str, shape: [usize; 2]| {
                    linear(&format!("{prefix}.mlp.{name}"), shape, c.mlp_bias)
                };
                Ok(Block {
                    attention_norm: gain("input_layernorm")?,
                    qkv: [
                        attention("q_proj", [query, c.hidden])?,
                        attention("k_proj", [key, c.hidden])?,
                        attention("v_proj", [key, c.hidden])?,
                    ],
                    attention: Attention {
                        layer,
                        heads: Heads {
                            query: c.heads,
                            key_value: c.key_value_heads,
                            dim: c.head_dim,
                        },
                        rope: Arc::clone(&rope),
                    },
                    output: attention("o_proj", [c.hidden, query])?,
                    mlp_norm: gain("post_attention_layernorm")?,
                    gate: mlp("gate_proj", [c.intermediate, c.hidden])?,
                    up: mlp("up_proj", [c.intermediate, c.hidden])?,
                    down: mlp("down_proj", [c.hidden, c.intermediate])?,
                })
            })
            .collect::<Result<_>>()?;
        let embedding = weights.find("model.embed_tokens.weight", &[c.vocabulary, c.hidden])?;
        let head = match c.tied_embeddings {
            true => Linear { weight: embedding, bias: None },
            false => linear("lm_head", [c.vocabulary, c.hidden], false)?,
        };
        let norm = weights.find("model.norm.weight", &[c.hidden])?;
        Ok(Self { config, embedding, blocks, norm, head })
    }

    /// Makes the weights training from nothing starts with: norms one, biases zero, all other
    /// tensors uniform with a standard deviation of 0.02, those that write to the residual stream
    /// divided by the root of twice the number of layers (Radford et al., 2019).
    ///
    /// # Errors
    /// Never for a configuration that was checked.
    pub fn init(config: &LlamaConfig, seed: u64) -> Result<Weights> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let residual = 1.0 / (2.0 * config.layers as f32).sqrt();
        let tensors = tensors(config).into_iter().map(|(name, shape)| {
            let len = shape.iter().product();
            let data = if name.ends_with("norm.weight") {
                vec![1.0; len]
            } else if name.ends_with(".bias") {
                vec![0.0; len]
            } else {
                let writes = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
                let bound = 0.02 * 3f32.sqrt() * if writes { residual } else { 1.0 };
                (0..len).map(|_| bound * symmetric(&mut random)).collect()
            };
            NamedTensor { name, shape, data }
        });
        Weights::from_tensors(tensors)
    }

    /// Returns the shape.
    pub const fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Returns the projection from hidden states to the vocabulary.
    pub const fn head(&self) -> &Linear {
        &self.head
    }

    /// Returns the linear layers that can carry an adapter, block by block.
    pub fn linears(&self) -> impl Iterator<Item = Linear> {
        self.blocks.iter().flat_map(|block| {
            let [q, k, v] = block.qkv;
            [q, k, v, block.output, block.gate, block.up, block.down]
        })
    }

    /// Runs the blocks over the step's tokens; returns the hidden states before the head.
    ///
    /// # Errors
    /// Those of `ops`.
    pub fn hidden<O: Ops>(&self, ops: &mut O) -> Result<O::Rows> {
        let mut x = ops.embed(self.embedding)?;
        for block in &self.blocks {
            x = self.block(ops, block, x)?;
        }
        ops.norm(&x, self.norm, self.config.norm_eps)
    }

    fn block<O: Ops>(&self, ops: &mut O, block: &Block, x: O::Rows) -> Result<O::Rows> {
        let eps = self.config.norm_eps;
        let normed = ops.norm(&x, block.attention_norm, eps)?;
        let [q, k, v] = &block.qkv;
        let qkv = [ops.project(&normed, q)?, ops.project(&normed, k)?, ops.project(&normed, v)?];
        let attended = ops.attend(&block.attention, qkv)?;
        let projected = ops.project(&attended, &block.output)?;
        let x = ops.add(x, projected)?;

        let normed = ops.norm(&x, block.mlp_norm, eps)?;
        let gate = ops.project(&normed, &block.gate)?;
        let up = ops.project(&normed, &block.up)?;
        let gated = ops.gate(gate, up)?;
        let projected = ops.project(&gated, &block.down)?;
        ops.add(x, projected)
    }
}

/// Names and shapes of all tensors of a checkpoint.
fn tensors(c: &LlamaConfig) -> Vec<(String, Vec<usize>)> {
    let (query, key) = (c.heads * c.head_dim, c.key_value_heads * c.head_dim);
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![c.vocabulary, c.hidden])];
    for layer in 0..c.layers {
        let mut add = |name: &str, shape: Vec<usize>| {
            tensors.push((format!("model.layers.{layer}.{name}"), shape));
        };
        for (name, out, width, bias) in [
            ("self_attn.q_proj", query, c.hidden, c.attention_bias),
            ("self_attn.k_proj", key, c.hidden, c.attention_bias),
            ("self_attn.v_proj", key, c.hidden, c.attention_bias),
            ("self_attn.o_proj", c.hidden, query, c.attention_bias),
            ("mlp.gate_proj", c.intermediate, c.hidden, c.mlp_bias),
            ("mlp.up_proj", c.intermediate, c.hidden, c.mlp_bias),
            ("mlp.down_proj", c.hidden, c.intermediate, c.mlp_bias),
        ] {
            add(&format!("{name}.weight"), vec![out, width]);
            if bias {
                add(&format!("{name}.bias"), vec![out]);
            }
        }
        add("input_layernorm.weight", vec![c.hidden]);
        add("post_attention_layernorm.weight", vec![c.hidden]);
    }
    tensors.push(("model.norm.weight".to_owned(), vec![c.hidden]));
    if !c.tied_embeddings {
        tensors.push(("lm_head.weight".to_owned(), vec![c.vocabulary, c.hidden]));
    }
    tensors
}
