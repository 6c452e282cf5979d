//! The families known: for each, what its configuration means. Adding one is a file and a line of
//! [`FAMILIES`].

mod deepseek;
mod dense;
mod llama;
mod mistral;
mod qwen;

use openledger_core::{Error, ErrorKind, Result};

pub(crate) use deepseek::DeepSeek;
pub(crate) use dense::Dense;
pub use llama::LlamaConfig;

use crate::{
    config::Fields,
    decoder::{Decoder, Tensors},
};

/// What a family is called in `config.json`, and how its decoder is put together.
struct Family {
    /// In `architectures`.
    architecture: &'static str,
    /// In `model_type`.
    model_type: &'static str,
    shape: Shape,
}

/// Reads a configuration. Decoders are made of it by one of two builders.
enum Shape {
    Dense(fn(&Fields) -> Result<dense::Dense>),
    Latent(fn(&Fields) -> Result<deepseek::DeepSeek>),
}

const FAMILIES: [Family; 6] = [
    Family {
        architecture: "LlamaForCausalLM",
        model_type: "llama",
        shape: Shape::Dense(llama::read),
    },
    Family {
        architecture: "MistralForCausalLM",
        model_type: "mistral",
        shape: Shape::Dense(mistral::read),
    },
    Family {
        architecture: "Qwen2ForCausalLM",
        model_type: "qwen2",
        shape: Shape::Dense(qwen::read_2),
    },
    Family {
        architecture: "Qwen3ForCausalLM",
        model_type: "qwen3",
        shape: Shape::Dense(qwen::read_3),
    },
    Family {
        architecture: "DeepseekV2ForCausalLM",
        model_type: "deepseek_v2",
        shape: Shape::Latent(deepseek::read_2),
    },
    Family {
        architecture: "DeepseekV3ForCausalLM",
        model_type: "deepseek_v3",
        shape: Shape::Latent(deepseek::read_3),
    },
];

/// Puts the decoder of a configuration together.
pub(crate) fn build(config: &[u8], tensors: &mut impl Tensors) -> Result<Decoder> {
    match parse(config)? {
        (family, Parsed::Dense(dense)) => dense.build(family, tensors),
        (family, Parsed::Latent(latent)) => latent.build(family, tensors),
    }
}

/// What a configuration means.
#[derive(Clone, Debug)]
pub(crate) enum Parsed {
    Dense(Dense),
    Latent(DeepSeek),
}

/// Reads a configuration, and says what its family is called.
pub(crate) fn parse(config: &[u8]) -> Result<(&'static str, Parsed)> {
    let fields = Fields::parse(config)?;
    let family = family(&fields)?;
    let parsed = match family.shape {
        Shape::Dense(read) => Parsed::Dense(read(&fields)?),
        Shape::Latent(read) => Parsed::Latent(read(&fields)?),
    };
    Ok((family.model_type, parsed))
}

/// Finds the family by `architectures`, or by `model_type` where that is not said.
fn family(fields: &Fields) -> Result<&'static Family> {
    let architectures = fields.texts("architectures")?.unwrap_or_default();
    let model_type = fields.text("model_type")?;
    let found = FAMILIES.iter().find(|family| match architectures.first() {
        Some(&architecture) => family.architecture == architecture,
        None => Some(family.model_type) == model_type,
    });
    let family = found.ok_or_else(|| {
        let named = architectures.first().copied().or(model_type).unwrap_or("nothing");
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.architecture).collect();
        let message = format!("architecture `{named}`; known: {}", known.join(", "));
        Error::new(ErrorKind::Unsupported, message)
    })?;
    match fields.text("hidden_act")? {
        None | Some("silu") => Ok(family),
        Some(other) => {
            let message = format!("activation `{other}`; known: silu");
            Err(Error::new(ErrorKind::Unsupported, message))
        }
    }
}
