//! Tiny models for tests, seeded, needing no file.

use openledger_core::Result;

use crate::{Llama, LlamaConfig, Lora, LoraConfig, Model, ModelFiles, Tokenizer};

/// Makes a Llama of two layers and 32 hidden units with shared key heads, whose tokens are bytes.
///
/// # Errors
/// Never; the signature spares callers an `expect`.
pub fn tiny(seed: u64) -> Result<Model> {
    Model::load(&tiny_files(seed)?)
}

/// Makes the files of [`tiny`].
///
/// # Errors
/// As [`tiny`].
pub fn tiny_files(seed: u64) -> Result<ModelFiles> {
    let tokenizer = Tokenizer::train(&[], 258)?;
    let eos = tokenizer.token("</s>").unwrap_or_default();
    let mut config = LlamaConfig::small(258, 32, 2, 4, eos)?;
    config.key_value_heads = 2;
    let mut weights = Llama::init(&config, seed)?;
    // Larger than a training start, so that outputs depend visibly on everything.
    for param in weights.params() {
        if weights.shape(param).len() > 1 {
            weights.data_mut(param).iter_mut().for_each(|w| *w *= 8.0);
        }
    }
    Ok(ModelFiles::new(config.to_json(), tokenizer.to_json(), weights.to_safetensors()))
}

/// Makes matrices for `model` of which none is zero.
///
/// # Errors
/// Those of [`Lora::init`].
pub fn lora(model: &Model, config: &LoraConfig, seed: u64) -> Result<Lora> {
    let mut lora = Lora::init(model.network(), config, seed)?;
    let other = Lora::init(model.network(), config, seed ^ 0x5EED)?;
    for ((_, pair), (_, other)) in lora.pairs_mut().zip(other.pairs()) {
        let noise = other.a.iter().cycle();
        pair.b.iter_mut().zip(noise).for_each(|(b, noise)| *b = 0.3 * noise);
    }
    Ok(lora)
}
