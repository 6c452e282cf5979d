//! `config.json` to metadata.

use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::ln;
use serde_json::Value as Json;

use super::{entries::Entries, llama3};
use crate::{RopeConfig, RopeScaling, families};

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
    let (family, dense) = families::dense(config)?;
    let architecture = match family {
        // A Mistral is a `llama` there.
        "llama" | "mistral" => "llama",
        "qwen2" => "qwen2",
        "qwen3" => "qwen3",
        other => return Err(unsupported(format!("writing a `{other}` as GGUF"))),
    };
    let c = &dense.llama;
    entries.text("general.architecture", architecture);
    entries.text("general.type", "model");
    for (key, size) in [
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
    ] {
        let size = u32::try_from(size).expect("sizes of a configuration have 26 bits at most");
        entries.u32(&format!("{architecture}.{key}"), size);
    }
    entries.f32(&format!("{architecture}.attention.layer_norm_rms_epsilon"), c.norm_eps);
    windows(architecture, &dense.windows, entries)?;
    let rope_divisors = rope(architecture, &c.rope, c.head_dim, entries)?;
    let fields: Json = serde_json::from_slice(config).unwrap_or_default();
    Ok(Written {
        architecture,
        heads: c.heads,
        key_heads: c.key_value_heads,
        vocabulary: c.vocabulary,
        bos: fields["bos_token_id"].as_u64().and_then(|id| u32::try_from(id).ok()),
        eos: c.eos.clone(),
        rope_divisors,
    })
}

/// The window of layers that have one, and, if some do not, which.
fn windows(architecture: &str, windows: &[Option<usize>], entries: &mut Entries) -> Result<()> {
    let Some(window) = windows.iter().copied().flatten().next() else { return Ok(()) };
    if windows.iter().copied().flatten().any(|other| other != window) {
        return Err(unsupported("windows of several sizes in GGUF".to_owned()));
    }
    let size = u32::try_from(window).expect("sizes of a configuration have 26 bits at most");
    entries.u32(&format!("{architecture}.attention.sliding_window"), size);
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
        let positions =
            u32::try_from(positions).expect("sizes of a configuration have 26 bits at most");
        entries.u32(&key("scaling.original_context_length"), positions);
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
        RopeScaling::Yarn { factor, positions, fast, slow, truncate: true, attention, softmax: 1.0 } => {
            entries.text(&key("scaling.type"), "yarn");
            entries.f32(&key("scaling.factor"), factor as f32);
            context(entries, positions);
            // There it is what the usual factor is multiplied by.
            let usual = 0.1 * ln(factor) + 1.0;
            if (attention - usual).abs() > 1e-9 {
                entries.f32(&key("scaling.attn_factor"), (attention / usual) as f32);
            }
            entries.f32(&key("scaling.yarn_beta_fast"), fast as f32);
            entries.f32(&key("scaling.yarn_beta_slow"), slow as f32);
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
