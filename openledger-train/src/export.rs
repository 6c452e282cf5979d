//! A base model and an adapter made one model.

use std::path::Path;

use openledger_core::{Error, Result};
use openledger_model::{
    Batch, Lora, Model, ModelFiles, NamedTensor, Network, Tape, Trainable, Weights,
    gguf::{GgmlType, Gguf, GgufWriter},
};
use serde_json::{Map, Value};

/// What the weights of an exported model are stored in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Precision {
    /// Single precision: the model answers as base and adapter do.
    F32,
    /// `bfloat16`: half the size, weights rounded to eight bits.
    Bf16,
}

impl Precision {
    const fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }

    /// By how much logits may differ, in parts of the largest.
    const fn tolerance(self) -> f64 {
        match self {
            Self::F32 => 1e-5,
            Self::Bf16 => 5e-2,
        }
    }
}

/// Returns the files of a model that is `base` with `lora` in its weights, `W + scale * B A`.
///
/// Configuration and tokenizer are the base's; the configuration says what the weights are stored in.
///
/// # Errors
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if `base` is not the files of
/// `network`.
pub fn merge(
    base: &ModelFiles,
    network: &Network,
    lora: &Lora,
    to: Precision,
) -> Result<ModelFiles> {
    let merged = merged(network, lora)?;
    let bytes = match to {
        Precision::F32 => merged.to_safetensors(),
        Precision::Bf16 => merged.to_safetensors_bf16(),
    };
    let mut config: Map<String, Value> = serde_json::from_slice(&base.config)
        .map_err(|e| Error::invalid("the base model's configuration").with_source(e))?;
    // The newer spelling where the base has it.
    let field = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    config.insert(field.to_owned(), to.name().into());
    let mut config = Value::Object(config);
    config.sort_all_objects(); // the same bytes with serde_json's `preserve_order` as without
    let config = serde_json::to_vec_pretty(&config).expect("what was JSON is JSON");
    Ok(ModelFiles::new(config, base.tokenizer.clone(), bytes))
}

/// Returns a GGUF file of the model that is `base` with `lora` in its weights, matrices stored as `ty`.
///
/// `template` is the chat template, a Jinja template, if the model has one.
///
/// # Errors
/// Those of [`GgufWriter::write`]; [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if `base` is
/// not the files of `model`.
pub fn merge_gguf(
    base: &ModelFiles,
    model: &Model,
    lora: &Lora,
    ty: GgmlType,
    template: Option<&str>,
) -> Result<Vec<u8>> {
    let weights = merged(model.network(), lora)?;
    let mut writer = GgufWriter::new(&base.config, model.tokenizer(), &weights).with_type(ty);
    if let Some(template) = template {
        writer = writer.with_chat_template(template);
    }
    let mut file = Vec::new();
    writer.write(&mut file)?;
    Ok(file)
}

/// All weights of a network, with an adapter in them.
fn merged(network: &Network, lora: &Lora) -> Result<Weights> {
    let weights = network.weights();
    let tensors = weights.params().map(|param| NamedTensor {
        name: weights.name(param).to_owned(),
        shape: weights.shape(param).to_vec(),
        data: lora.merged(network, param),
    });
    Weights::from_tensors(tensors)
}

/// How an exported model compares with what it was made of.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExportCheck {
    /// The largest difference of a logit behind any of the prompts.
    pub max_difference: f64,
    /// The largest allowed.
    pub tolerance: f64,
}

/// Reads an exported model back and compares its logits for the first token behind each prompt with
/// those of `network` and `lora`.
///
/// # Errors
/// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if they differ by more than one part in
/// a hundred thousand of the largest, or five in a hundred for `bfloat16`;
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without a prompt or for one that the
/// model cannot read; those of [`Model::load`].
pub fn check_export(
    exported: &ModelFiles,
    precision: Precision,
    network: &Network,
    lora: &Lora,
    prompts: &[&[u32]],
) -> Result<ExportCheck> {
    let exported = Model::load(exported)?;
    let theirs = |prompt: &[u32]| first_token(exported.network(), None, prompt);
    compare(theirs, precision.tolerance(), network, lora, prompts)
}

/// Reads a GGUF file back and compares its logits for the first token behind each prompt with those of
/// `network` and `lora`.
///
/// # Errors
/// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if they differ by more than what storing
/// matrices as `ty` explains: of the largest logit one part in a hundred thousand for F32, one in a hundred
/// for F16, five for BF16 and `Q8_0`, a half for others; others as [`check_export`], and of [`Model::open`].
pub fn check_gguf(
    path: impl AsRef<Path>,
    ty: GgmlType,
    network: &Network,
    lora: &Lora,
    prompts: &[&[u32]],
) -> Result<ExportCheck> {
    let tolerance = match ty {
        GgmlType::F32 => 1e-5,
        GgmlType::F16 => 1e-2,
        GgmlType::BF16 | GgmlType::Q8_0 => 5e-2,
        _ => 0.5,
    };
    let exported = Model::open(path)?;
    let theirs = |prompt: &[u32]| first_token(exported.network(), None, prompt);
    compare(theirs, tolerance, network, lora, prompts)
}

/// Reads an adapter back from a GGUF file, as [`write_adapter`](openledger_model::gguf::write_adapter)
/// writes it, and compares the logits that `network` has with it for the first token behind each prompt
/// with those of `network` and `lora`.
///
/// # Errors
/// Those of [`Gguf::parse`] and [`Gguf::adapter`]; others as [`check_export`].
pub fn check_gguf_adapter(
    file: &[u8],
    base: &ModelFiles,
    network: &Network,
    lora: &Lora,
    prompts: &[&[u32]],
) -> Result<ExportCheck> {
    let read = Gguf::parse(file)?.adapter(&base.config, network)?;
    let theirs = |prompt: &[u32]| first_token(network, Some(&read), prompt);
    compare(theirs, Precision::F32.tolerance(), network, lora, prompts)
}

/// Compares logits with those of an exported model; `tolerance` is in parts of the largest.
fn compare(
    exported: impl Fn(&[u32]) -> Result<Vec<f32>>,
    tolerance: f64,
    network: &Network,
    lora: &Lora,
    prompts: &[&[u32]],
) -> Result<ExportCheck> {
    let (mut max_difference, mut largest) = (0f64, 0f64);
    for prompt in prompts {
        let ours = first_token(network, Some(lora), prompt)?;
        let theirs = exported(prompt)?;
        if ours.len() != theirs.len() {
            return Err(Error::corrupt("the exported model has another vocabulary"));
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let difference = f64::from((ours - theirs).abs());
            // Not `max`, which passes over a difference that is no number.
            if difference.is_nan() || difference > max_difference {
                max_difference = difference;
            }
            largest = largest.max(f64::from(ours.abs()));
        }
    }
    let tolerance = tolerance * largest;
    if prompts.is_empty() {
        return Err(Error::invalid("no prompt to check the exported model with"));
    }
    if max_difference.is_nan() || max_difference > tolerance {
        return Err(Error::corrupt(format!(
            "the exported model's logits differ by {max_difference:.2e}, {tolerance:.2e} allowed"
        )));
    }
    Ok(ExportCheck { max_difference, tolerance })
}

/// The logits behind a prompt.
fn first_token(network: &Network, lora: Option<&Lora>, prompt: &[u32]) -> Result<Vec<f32>> {
    if prompt.is_empty() {
        return Err(Error::invalid("an empty prompt to check the exported model with"));
    }
    network.check_tokens(prompt)?;
    let batch = Batch::new([prompt]);
    let mut tape = Tape::new(network, lora, Trainable::Nothing, &batch);
    let hidden = tape.run()?;
    let logits = tape.logits(&hidden);
    Ok(logits[logits.len() - network.decoder().vocabulary()..].to_vec())
}
