//! Metadata to `config.json`.
//!
//! Keys: `docs/gguf.md` of ggml, `src/llama-arch.cpp` and `convert_hf_to_gguf.py` of llama.cpp.

use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::ln;
use serde_json::{Map, Value as Json, json};

use super::{Gguf, deepseek, keys::Keys, llama3};

/// The architectures read, as `general.architecture` calls them.
pub(super) const KNOWN: &str = "llama, qwen2, qwen3, deepseek2";

/// Writes the fields of a `config.json` that say what the metadata says.
pub(super) fn read(file: &Gguf<'_>) -> Result<Map<String, Json>> {
    let keys = Keys::new(file)?;
    let mut fields = Map::new();
    let mut set = |name: &str, value: Json| fields.insert(name.to_owned(), value);
    set("hidden_act", json!("silu"));
    set("hidden_size", json!(keys.count("embedding_length")?));
    set("intermediate_size", json!(keys.count("feed_forward_length")?));
    set("num_hidden_layers", json!(keys.count("block_count")?));
    set("max_position_embeddings", json!(keys.count("context_length")?));
    let heads = keys.count("attention.head_count")?;
    set("num_attention_heads", json!(heads));
    let key_heads = keys.some_count("attention.head_count_kv")?.unwrap_or(heads);
    set("num_key_value_heads", json!(key_heads));
    if let Some(eps) = keys.some_number("attention.layer_norm_rms_epsilon")? {
        set("rms_norm_eps", json!(eps));
    }
    // What a file calls itself in `vocab_size` may differ from its table, which counts.
    let embedding = file.tensor("token_embd.weight").ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "the file lacks the tensor `token_embd.weight`")
    })?;
    set("vocab_size", json!(embedding.shape()[0]));
    set("tie_word_embeddings", json!(file.tensor("output.weight").is_none()));
    set("rope_theta", json!(keys.some_number("rope.freq_base")?.unwrap_or(10_000.0)));
    set("rope_scaling", rope_scaling(file, &keys)?);
    let tokens = [("bos_token_id", &["bos"][..]), ("eos_token_id", &["eos", "eot", "eom"])];
    for (name, keys) in tokens {
        let ids = keys.iter().filter_map(|key| {
            file.get(&format!("tokenizer.ggml.{key}_token_id")).and_then(|id| id.as_u64())
        });
        let mut ids: Vec<u64> = ids.collect();
        ids.dedup();
        match ids[..] {
            [] => continue,
            [id] => set(name, json!(id)),
            _ => set(name, json!(ids)),
        };
    }
    let has = |tensor: &str| json!(file.tensor(tensor).is_some());
    let family = match keys.architecture() {
        "llama" => {
            set("attention_bias", has("blk.0.attn_q.bias"));
            set("mlp_bias", has("blk.0.ffn_gate.bias"));
            match keys.some_count("attention.sliding_window")? {
                Some(window) if window > 0 => "mistral",
                _ => "llama",
            }
        }
        "qwen2" => "qwen2",
        "qwen3" => {
            set("attention_bias", has("blk.0.attn_q.bias"));
            "qwen3"
        }
        "deepseek2" => {
            let own = deepseek::config(&keys)?;
            let family = own.family;
            fields.extend(own.fields);
            family
        }
        other => return Err(unknown(other)),
    };
    fields.insert("model_type".to_owned(), json!(family));
    if family.starts_with("deepseek") {
        return Ok(fields);
    }
    if let Some(dim) = head_dim(&keys)? {
        fields.insert("head_dim".to_owned(), json!(dim));
    }
    windows(&keys, &mut fields)?;
    Ok(fields)
}

pub(super) fn unknown(architecture: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("GGUF architecture `{architecture}`; known: {KNOWN}"),
    )
}

/// The size of a head, if it is not the width divided by the heads.
fn head_dim(keys: &Keys<'_, '_>) -> Result<Option<u64>> {
    let key = keys.some_count("attention.key_length")?;
    for other in ["attention.value_length", "rope.dimension_count"] {
        if let (Some(dim), Some(other_dim)) = (key, keys.some_count(other)?)
            && dim != other_dim
        {
            let message = format!("heads of {dim} with `{other}` {other_dim}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    }
    Ok(key.or(keys.some_count("rope.dimension_count")?))
}

/// Sliding windows: of every layer, or of those a list says.
fn windows(keys: &Keys<'_, '_>, fields: &mut Map<String, Json>) -> Result<()> {
    let Some(window) = keys.some_count("attention.sliding_window")?.filter(|&window| window > 0)
    else {
        return Ok(());
    };
    fields.insert("sliding_window".to_owned(), json!(window));
    fields.insert("use_sliding_window".to_owned(), json!(true));
    let kind = |slides: bool| if slides { "sliding_attention" } else { "full_attention" };
    if let Some(pattern) = keys.flags("attention.sliding_window_pattern")? {
        let types: Vec<&str> = pattern.into_iter().map(kind).collect();
        fields.insert("layer_types".to_owned(), json!(types));
    } else {
        fields.insert("max_window_layers".to_owned(), json!(0));
    }
    Ok(())
}

fn rope_scaling(file: &Gguf<'_>, keys: &Keys<'_, '_>) -> Result<Json> {
    let factor = || {
        let factor = keys.some_number("rope.scaling.factor")?;
        factor.ok_or_else(|| Error::corrupt("the metadata lacks the factor of rotary scaling"))
    };
    let first = keys.some_count("rope.scaling.original_context_length")?;
    let kind = keys.text("rope.scaling.type")?;
    if let Some(divisors) = file.tensor("rope_freqs.weight") {
        if !matches!(kind, None | Some("none")) {
            return Err(Error::corrupt("rotary scaling of two kinds"));
        }
        let theta = keys.some_number("rope.freq_base")?.unwrap_or(10_000.0);
        return llama3::scaling(theta, &divisors.to_f32(), first);
    }
    Ok(match kind {
        None | Some("none") => Json::Null,
        Some("linear") => json!({"rope_type": "linear", "factor": factor()?}),
        Some("yarn") => {
            let factor = factor()?;
            let mut scaling = Map::new();
            let mut set = |name: &str, value: Json| scaling.insert(name.to_owned(), value);
            set("rope_type", json!("yarn"));
            set("factor", json!(factor));
            if let Some(first) = first {
                set("original_max_position_embeddings", json!(first));
            }
            for (key, name) in [("fast", "beta_fast"), ("slow", "beta_slow")] {
                if let Some(beta) = keys.some_number(&format!("rope.scaling.yarn_beta_{key}"))? {
                    set(name, json!(beta));
                }
            }
            if let Some(scale) = keys.some_number("rope.scaling.attn_factor")? {
                set("attention_factor", json!(scale * (0.1 * ln(factor) + 1.0)));
            }
            // Only DeepSeek has it; what llama.cpp reads is a tenth, and there is one for both.
            if let Some(tenth) = keys.some_number("rope.scaling.yarn_log_multiplier")? {
                let scale = (tenth * 10.0 * 1e6).round() / 1e6;
                set("mscale", json!(scale));
                set("mscale_all_dim", json!(scale));
            }
            Json::Object(scaling)
        }
        Some(other) => {
            let message = format!("rotary scaling `{other}`; known: none, linear, yarn");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}
