//! Tiny models for tests, seeded, needing no file.

use openledger_core::Result;
use serde_json::{Value, json};

use crate::{LlamaConfig, Lora, LoraConfig, Model, ModelFiles, Network, Part, Tokenizer};

/// The families, as `model_type` calls them.
pub const FAMILIES: [&str; 6] =
    ["llama", "mistral", "qwen2", "qwen3", "deepseek_v2", "deepseek_v3"];

/// Makes a Llama of two layers and 32 hidden units with shared key heads, whose tokens are bytes.
///
/// # Errors
/// Never; the signature spares callers an `expect`.
pub fn tiny(seed: u64) -> Result<Model> {
    Model::load(&tiny_files(seed)?)
}

/// Makes a model as [`tiny`] of another family, with every feature of it in use.
///
/// # Errors
/// [`ErrorKind::Unsupported`](openledger_core::ErrorKind::Unsupported) for a name that is not one of
/// [`FAMILIES`].
pub fn tiny_of(family: &str, seed: u64) -> Result<Model> {
    Model::load(&tiny_files_of(family, seed)?)
}

/// Makes the files of [`tiny`].
///
/// # Errors
/// As [`tiny`].
pub fn tiny_files(seed: u64) -> Result<ModelFiles> {
    tiny_files_of("llama", seed)
}

/// Makes the files of [`tiny_of`].
///
/// # Errors
/// As [`tiny_of`].
pub fn tiny_files_of(family: &str, seed: u64) -> Result<ModelFiles> {
    let config = config(family)?;
    let tokenizer = Tokenizer::train(&[], VOCABULARY)?;
    let mut network = Network::init(&config, seed)?;
    // Larger than a training start, so that outputs depend visibly on everything.
    for param in network.weights().params() {
        if network.weights().shape(param).len() > 1 {
            network.data_mut(param).iter_mut().for_each(|w| *w *= 8.0);
        }
    }
    let weights = network.weights().to_safetensors();
    Ok(ModelFiles::new(config, tokenizer.to_json(), weights))
}

/// Tokens of a tiny model: the bytes, and two that begin and end a text.
const VOCABULARY: usize = 258;

fn config(family: &str) -> Result<Vec<u8>> {
    let tokenizer = Tokenizer::train(&[], VOCABULARY)?;
    let mut llama =
        LlamaConfig::small(VOCABULARY, 32, 2, 4, tokenizer.token("</s>").unwrap_or_default())?;
    llama.key_value_heads = 2;
    let own = match family {
        "mistral" => json!({"sliding_window": 5}),
        "qwen2" => json!({
            "use_sliding_window": true, "sliding_window": 7, "max_window_layers": 1,
        }),
        "qwen3" => json!({"head_dim": 12, "tie_word_embeddings": false}),
        "deepseek_v2" | "deepseek_v3" => json!({
            "num_key_value_heads": 4, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 10, "kv_lora_rank": 12,
            "q_lora_rank": if family == "deepseek_v3" { json!(9) } else { Value::Null },
            "first_k_dense_replace": 1, "n_routed_experts": 6, "num_experts_per_tok": 2,
            "moe_intermediate_size": 16, "n_shared_experts": 2, "n_group": 3, "topk_group": 2,
            "topk_method": "group_limited_greedy", "routed_scaling_factor": 1.5,
            "rope_scaling": {
                "type": "yarn", "factor": 4, "original_max_position_embeddings": 64,
                "mscale": 1.0, "mscale_all_dim": 0.8,
            },
        }),
        _ => json!({}),
    };
    let mut config = llama.to_fields();
    config.insert("model_type".to_owned(), json!(family));
    // Known by `model_type` alone.
    config.remove("architectures");
    if let Value::Object(own) = own {
        config.extend(own);
    }
    let mut config = Value::Object(config);
    config.sort_all_objects(); // the same bytes with serde_json's `preserve_order` as without
    Ok(config.to_string().into_bytes())
}

/// Makes matrices for `model` of which none is zero; magnitudes and tables are not the base's.
///
/// # Errors
/// Those of [`Lora::init`].
pub fn lora(model: &Model, config: &LoraConfig, seed: u64) -> Result<Lora> {
    let mut lora = Lora::init(model.network(), config, seed)?;
    let other = Lora::init(model.network(), config, seed ^ 0x5EED)?;
    for ((_, pair), (_, other)) in lora.pairs_mut().zip(other.pairs()) {
        let noise = other.a.iter().cycle();
        pair.b.iter_mut().zip(noise).for_each(|(b, noise)| *b = 0.3 * noise);
        let noise = other.a.iter().cycle();
        if let Some(magnitude) = &mut pair.magnitude {
            magnitude.iter_mut().zip(noise.clone()).for_each(|(m, noise)| *m *= 1.0 + noise);
        }
    }
    let noise: Vec<f32> = other.pairs().flat_map(|(_, pair)| pair.a.iter().copied()).collect();
    for (_, table) in lora.parts_mut().filter(|(part, _)| *part == Part::Table) {
        table.iter_mut().zip(noise.iter().cycle()).for_each(|(w, noise)| *w += 0.3 * noise);
    }
    Ok(lora)
}
