//! `config.json` to metadata.

use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::{Pairs, ln};
use serde_json::Value as Json;

use super::{entries::Entries, llama3};
use crate::{
    RopeConfig, RopeScaling, Scoring,
    families::{self, DeepSeek, Dense, Parsed},
};

/// What the rest of a file depends on.
pub(super) struct Written {
    pub(super) architecture: &'static str,
    pub(super) heads: usize,
    pub(super) key_heads: usize,
    pub(super) vocabulary: usize,
    pub(super) bos: Option<u32>,
    pub(super) eos: Vec<u32>,
    /// What rotary frequencies are divided by, if that is a tensor.
    pub(super) rope_divisors: Option<Vec<f32>>,
}

pub(super) fn write(config: &[u8], entries: &mut Entries) -> Result<Written> {
    let fields: Json = serde_json::from_slice(config).unwrap_or_default();
    let bos = fields["bos_token_id"].as_u64().and_then(|id| u32::try_from(id).ok());
    Ok(match families::parse(config)? {
        // A Mistral is a `llama` there.
        ("llama" | "mistral", Parsed::Dense(model)) => dense("llama", model, bos, entries)?,
        ("qwen2", Parsed::Dense(model)) => dense("qwen2", model, bos, entries)?,
        ("qwen3", Parsed::Dense(model)) => dense("qwen3", model, bos, entries)?,
        (_, Parsed::Latent(model)) => latent(model, bos, entries)?,
        (other, Parsed::Dense(_)) => {
            return Err(unsupported(format!("writing a `{other}` as GGUF")));
        }
    })
}

fn dense(
    architecture: &'static str,
    model: Dense,
    bos: Option<u32>,
    entries: &mut Entries,
) -> Result<Written> {
    let c = model.llama;
    begin(architecture, entries);
    sizes(
        architecture,
        &[
            ("vocab_size", c.vocabulary),
            ("context_length", c.max_positions),
            ("embedding_length", c.hidden),
            ("block_count", c.layers),
            ("feed_forward_length", c.intermediate),
            ("attention.head_count", c.heads),
            ("attention.head_count_kv", c.key_value_heads),
            ("attention.key_length", c.head_dim),
            ("attention.value_length", c.head_dim),
            ("rope.dimension_count", c.head_dim),
        ],
        entries,
    );
    entries.f32(&format!("{architecture}.attention.layer_norm_rms_epsilon"), c.norm_eps);
    windows(architecture, &model.windows, entries)?;
    Ok(Written {
        architecture,
        heads: c.heads,
        key_heads: c.key_value_heads,
        vocabulary: c.vocabulary,
        bos,
        rope_divisors: rope(architecture, &c.rope, c.head_dim, entries)?,
        eos: c.eos,
    })
}

/// `DeepSeek`, with the matrix that expands latent vectors in one piece, as older files have it.
fn latent(c: DeepSeek, bos: Option<u32>, entries: &mut Entries) -> Result<Written> {
    let architecture = "deepseek2";
    if c.attention_bias || c.pairs != Pairs::Neighbours {
        return Err(unsupported("biases or turned halves of a DeepSeek in GGUF".to_owned()));
    }
    begin(architecture, entries);
    sizes(
        architecture,
        &[
            ("vocab_size", c.vocabulary),
            ("context_length", c.max_positions),
            ("embedding_length", c.hidden),
            ("block_count", c.layers),
            ("feed_forward_length", c.intermediate),
            ("attention.head_count", c.heads),
            ("attention.head_count_kv", c.heads),
            ("attention.key_length", c.own + c.turning),
            ("attention.value_length", c.value),
            ("attention.kv_lora_rank", c.latent),
            ("rope.dimension_count", c.turning),
            ("leading_dense_block_count", c.dense_layers),
            ("expert_count", c.experts.count),
            ("expert_used_count", c.experts.top),
            ("expert_shared_count", c.experts.shared),
            ("expert_feed_forward_length", c.experts.intermediate),
            // `llama_expert_gating_func_type`.
            ("expert_gating_func", if c.experts.scoring == Scoring::Sigmoid { 2 } else { 1 }),
        ],
        entries,
    );
    if let Some(rank) = c.query_rank {
        sizes(architecture, &[("attention.q_lora_rank", rank)], entries);
    }
    if let Some(groups) = c.experts.groups {
        let groups =
            [("expert_group_count", groups.count), ("expert_group_used_count", groups.keep)];
        sizes(architecture, &groups, entries);
    }
    entries.f32(&format!("{architecture}.expert_weights_scale"), c.experts.factor);
    entries.flag(&format!("{architecture}.expert_weights_norm"), c.experts.normalise);
    entries.f32(&format!("{architecture}.attention.layer_norm_rms_epsilon"), c.norm_eps);
    Ok(Written {
        architecture,
        heads: c.heads,
        key_heads: c.heads,
        vocabulary: c.vocabulary,
        bos,
        rope_divisors: rope(architecture, &c.rope, c.turning, entries)?,
        eos: c.eos,
    })
}

fn begin(architecture: &str, entries: &mut Entries) {
    entries.text("general.architecture", architecture);
    entries.text("general.type", "model");
}

fn sizes(architecture: &str, sizes: &[(&str, usize)], entries: &mut Entries) {
    for (key, size) in sizes {
        let size = u32::try_from(*size).expect("sizes of a configuration have 27 bits at most");
        entries.u32(&format!("{architecture}.{key}"), size);
    }
}

/// The window of layers that have one, and, if some do not, which.
fn windows(architecture: &str, windows: &[Option<usize>], entries: &mut Entries) -> Result<()> {
    let Some(window) = windows.iter().copied().flatten().next() else { return Ok(()) };
    if windows.iter().copied().flatten().any(|other| other != window) {
        return Err(unsupported("windows of several sizes in GGUF".to_owned()));
    }
    sizes(architecture, &[("attention.sliding_window", window)], entries);
    if windows.contains(&None) {
        let key = format!("{architecture}.attention.sliding_window_pattern");
        entries.flags(&key, windows.iter().map(Option::is_some));
    }
    Ok(())
}

fn rope(
    architecture: &str,
    rope: &RopeConfig,
    dim: usize,
    entries: &mut Entries,
) -> Result<Option<Vec<f32>>> {
    let key = |key: &str| format!("{architecture}.rope.{key}");
    entries.f32(&key("freq_base"), rope.theta as f32);
    let context = |entries: &mut Entries, positions: usize| {
        sizes(architecture, &[("rope.scaling.original_context_length", positions)], entries);
    };
    match rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            entries.text(&key("scaling.type"), "linear");
            entries.f32(&key("scaling.factor"), factor as f32);
        }
        RopeScaling::Llama3 { positions, .. } => {
            context(entries, positions);
            return Ok(Some(llama3::divisors(rope, dim)));
        }
        RopeScaling::Yarn { factor, positions, fast, slow, truncate: true, attention, softmax } => {
            entries.text(&key("scaling.type"), "yarn");
            entries.f32(&key("scaling.factor"), factor as f32);
            context(entries, positions);
            entries.f32(&key("scaling.yarn_beta_fast"), fast as f32);
            entries.f32(&key("scaling.yarn_beta_slow"), slow as f32);
            let usual = 0.1 * ln(factor) + 1.0;
            if softmax != 1.0 {
                // There one number stands for DeepSeek's two, whose quotient is then one.
                if (attention - 1.0).abs() > 1e-9 {
                    return Err(unsupported(
                        "`mscale` other than `mscale_all_dim` in GGUF".to_owned(),
                    ));
                }
                let tenth = (softmax.sqrt() - 1.0) / ln(factor);
                entries.f32(&key("scaling.yarn_log_multiplier"), tenth as f32);
            } else if (attention - usual).abs() > 1e-9 {
                // There it is what the usual factor is multiplied by.
                entries.f32(&key("scaling.attn_factor"), (attention / usual) as f32);
            }
        }
        RopeScaling::Dynamic { .. } | RopeScaling::Yarn { .. } => {
            return Err(unsupported(format!("rotary scaling {:?} in GGUF", rope.scaling)));
        }
    }
    Ok(None)
}

fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}
