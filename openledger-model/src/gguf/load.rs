//! A file to the parts of a model.

use std::collections::BTreeMap;

use bytes::Bytes;
use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::Storage;
use serde_json::Value as Json;

use super::{Gguf, GgufTensor, config, deepseek, keys::Keys, names, vocabulary};
use crate::{Decoder, Weights, weights::Found};

/// Divisors of rotary frequencies, which belong to the configuration.
const DIVISORS: &str = "rope_freqs.weight";

/// The routers of mixtures: a near tie decides which experts run.
const ROUTER: &str = ".mlp.gate.weight";

impl<'a> Gguf<'a> {
    /// Returns the `config.json` of the model, as [`Network::new`](crate::Network::new) reads it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] naming the architecture, or what it uses, that is not there;
    /// [`ErrorKind::Corrupt`] naming metadata that is missing or of another kind.
    pub fn config(&self) -> Result<Vec<u8>> {
        Ok(sorted(Json::Object(config::read(self)?)))
    }

    /// Returns the `tokenizer.json` of the model, as [`Tokenizer::parse`](crate::Tokenizer::parse)
    /// reads it.
    ///
    /// # Errors
    /// As [`config`](Self::config).
    pub fn tokenizer(&self) -> Result<Vec<u8>> {
        vocabulary::read(self).map(sorted)
    }

    /// Returns the chat template, a Jinja template, if the file has one.
    pub fn chat_template(&self) -> Option<&'a str> {
        self.get("tokenizer.chat_template")?.as_str()
    }

    /// Returns the token that begins (`bos`) or ends (`eos`) a text, if the file names one it has.
    pub(crate) fn special_token(&self, name: &str) -> Option<&'a str> {
        let id = self.get(&format!("tokenizer.ggml.{name}_token_id"))?.as_u64()?;
        let tokens = self.get("tokenizer.ggml.tokens")?.as_list()?;
        tokens.iter().nth(usize::try_from(id).ok()?)?.as_str()
    }

    /// Returns the tensors in `f32`, by the names and in the layout of Hugging Face checkpoints.
    ///
    /// # Errors
    /// Those of [`config`](Self::config) and [`Decoder::tensors`]; [`ErrorKind::Unsupported`] naming a
    /// tensor that the architecture does not have; [`ErrorKind::NotFound`] or [`ErrorKind::Invalid`]
    /// naming one that is missing or of another shape.
    pub fn weights(&self) -> Result<Weights> {
        Weights::from_stored(self.each_tensor(|_, tensor, heads| tensor.exact(heads))?)
    }

    /// Returns the tensors as they are stored, those of `file`, of which this was parsed; routers, experts and
    /// what `DeepSeek` has divided in the file in `f32`.
    ///
    /// # Errors
    /// As [`weights`](Self::weights).
    pub(crate) fn weights_as_stored(&self, file: &Bytes) -> Result<Weights> {
        let tensors = self.each_tensor(|name, tensor, heads| match name.ends_with(ROUTER) {
            true => tensor.exact(heads),
            false => tensor.stored(heads, file),
        });
        Weights::from_stored(tensors?)
    }

    /// Returns each tensor by the name of a checkpoint, read by `read`, which is told that name and by how many
    /// heads the rows are permuted.
    fn each_tensor(
        &self,
        read: impl Fn(&str, &GgufTensor<'a>, Option<usize>) -> Storage,
    ) -> Result<Vec<Found>> {
        let fields = config::read(self)?;
        let architecture = Keys::new(self)?.architecture();
        let json = Json::Object(fields).to_string();
        let expected: BTreeMap<String, Vec<usize>> =
            Decoder::tensors(json.as_bytes())?.into_iter().collect();
        let heads = Heads::read(&json);
        let mut tensors = Vec::new();
        for (name, tensor) in self.tensors().filter(|(name, _)| *name != DIVISORS) {
            let found = match names::hugging_face(name) {
                Some(to) => {
                    // Before anything is decoded: a file may claim a shape that no model has.
                    check(name, tensor, expected.get(&to))?;
                    let storage = read(&to, tensor, heads.of(architecture, &to));
                    vec![Found { name: to, shape: tensor.shape().to_vec(), storage }]
                }
                None if architecture == "deepseek2" => {
                    let found = deepseek::tensors(self, name)?.ok_or_else(|| surplus(name))?;
                    found.into_iter().map(Found::from).collect()
                }
                None => return Err(surplus(name)),
            };
            tensors.extend(found);
        }
        Ok(tensors)
    }
}

/// Writes fields in the order of their names, with `serde_json`'s `preserve_order` as without.
fn sorted(mut json: Json) -> Vec<u8> {
    json.sort_all_objects();
    json.to_string().into_bytes()
}

/// The heads whose rows are permuted.
pub(super) struct Heads {
    query: usize,
    key: usize,
}

impl Heads {
    /// Reads a configuration that has both fields.
    pub(super) fn read(config: &str) -> Self {
        let fields: Json = serde_json::from_str(config).unwrap_or_default();
        let heads = |name: &str| fields[name].as_u64().unwrap_or(1) as usize;
        Self { query: heads("num_attention_heads"), key: heads("num_key_value_heads") }
    }

    pub(super) const fn new(query: usize, key: usize) -> Self {
        Self { query, key }
    }

    /// Returns the heads of the tensor `name` of a checkpoint, if its rows are permuted.
    pub(super) fn of(&self, architecture: &str, name: &str) -> Option<usize> {
        let (part, _) = name.rsplit_once('.')?;
        match architecture == "llama" {
            true if part.ends_with(".q_proj") => Some(self.query),
            true if part.ends_with(".k_proj") => Some(self.key),
            _ => None,
        }
    }
}

fn check(name: &str, tensor: &GgufTensor<'_>, expected: Option<&Vec<usize>>) -> Result<()> {
    match expected {
        None => Err(surplus(name)),
        Some(shape) if shape != tensor.shape() => {
            let found = tensor.shape();
            Err(Error::invalid(format!("`{name}` is {found:?}, the metadata asks for {shape:?}")))
        }
        Some(_) => Ok(()),
    }
}

fn surplus(name: &str) -> Error {
    let message = format!("the tensor `{name}`, which the architecture does not have");
    Error::new(ErrorKind::Unsupported, message)
}
