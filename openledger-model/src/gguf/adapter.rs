//! An adapter as llama.cpp loads it beside a model (`--lora`).
//!
//! Source: `convert_lora_to_gguf.py` and `llama_adapter_lora_init_impl` of llama.cpp: two tensors for each
//! layer, `NAME.lora_a` of `[rank, in]` and `NAME.lora_b` of `[out, rank]`, and one `adapter.lora.alpha`,
//! which each layer divides by its own rank.

use std::{collections::BTreeMap, io::Write};

use openledger_core::{Error, ErrorKind, Result};

use super::{
    Gguf,
    entries::Entries,
    keys::Keys,
    load::Heads,
    metadata, names, permute,
    write::{self, Placed},
};
use crate::{Lora, Network, Pair, Param};

const ALPHA: &str = "adapter.lora.alpha";

/// Writes `lora`, an adapter of the model with this `config.json`, as a GGUF file in `f32`.
///
/// A layer whose scale is not that of its rank and the file's one alpha has it in its `lora_b`.
///
/// # Examples
/// ```
/// use openledger_model::{Lora, LoraConfig, gguf::{Gguf, write_adapter}, testing};
///
/// let (files, model) = (testing::tiny_files(1)?, testing::tiny(1)?);
/// let lora = testing::lora(&model, &LoraConfig::default().with_rank(4, 8.0), 3)?;
/// let mut file = Vec::new();
/// write_adapter(&files.config, model.network(), &lora, &mut file)?;
/// assert_eq!(Gguf::parse(&file)?.adapter(&files.config, model.network())?, lora);
/// # Ok::<(), openledger_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Unsupported`] for what llama.cpp's adapters do not have: `DoRA`, own embeddings or heads,
/// matrices of single experts, and models that [`GgufWriter`](super::GgufWriter) does not write;
/// [`ErrorKind::Invalid`] for an adapter without matrices; [`ErrorKind::Unavailable`] if `to` fails.
pub fn write_adapter(
    config: &[u8],
    network: &Network,
    lora: &Lora,
    mut to: impl Write,
) -> Result<()> {
    let unsupported = |what: &str| {
        let message = format!("{what} in a GGUF adapter: write the merged model instead");
        Error::new(ErrorKind::Unsupported, message)
    };
    if lora.tables().len() > 0 {
        return Err(unsupported("own embeddings or heads"));
    }
    let Some((_, first)) = lora.pairs().next() else {
        return Err(Error::invalid("an adapter without matrices"));
    };
    let alpha = first.scale * first.rank as f32;
    // What it says of the model goes into the model's file, not into this one.
    let model = metadata::write(config, &mut Entries::default())?;
    let heads = Heads::new(model.heads, model.key_heads);
    let mut entries = Entries::default();
    entries.text("general.architecture", model.architecture);
    entries.text("general.type", "adapter");
    entries.text("adapter.type", "lora");
    entries.f32(ALPHA, alpha);
    let (mut planned, mut contents) = (Vec::new(), Vec::new());
    for (site, pair) in lora.pairs() {
        if pair.magnitude.is_some() {
            return Err(unsupported("DoRA"));
        }
        let from = network.weights().name(site);
        let name =
            names::ggml(from).ok_or_else(|| unsupported(&format!("matrices at `{from}`")))?;
        let [out, width] = network.sizes(site);
        let b = match heads.of(model.architecture, from) {
            Some(heads) => permute::to_neighbours(&pair.b, heads, out / heads),
            None => pair.b.clone(),
        };
        let factor = pair.scale / (alpha / pair.rank as f32);
        let b = if factor == 1.0 { b } else { b.iter().map(|b| b * factor).collect() };
        planned.push(Placed::new(format!("{name}.lora_a"), [pair.rank, width]));
        planned.push(Placed::new(format!("{name}.lora_b"), [out, pair.rank]));
        contents.extend([pair.a.clone(), b]);
    }
    let failed = |e: std::io::Error| {
        Error::new(ErrorKind::Unavailable, "cannot write the GGUF file").with_source(e)
    };
    to.write_all(&write::head(&entries, planned.iter())).map_err(failed)?;
    let mut bytes = Vec::new();
    for (tensor, numbers) in planned.iter().zip(&contents) {
        bytes.clear();
        tensor.ty.encode(numbers, &mut bytes)?;
        bytes.resize(bytes.len().next_multiple_of(write::ALIGNMENT), 0);
        to.write_all(&bytes).map_err(failed)?;
    }
    to.flush().map_err(failed)
}

impl Gguf<'_> {
    /// Returns the matrices of an adapter of `network`, the model with this `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a file that holds no LoRA adapter;
    /// [`ErrorKind::Invalid`] naming the tensor that the model has no place for, that is of another size,
    /// not finite or without its other half.
    pub fn adapter(&self, config: &[u8], network: &Network) -> Result<Lora> {
        let text = |key: &str| self.get(key).and_then(|value| value.as_str());
        if (text("general.type"), text("adapter.type")) != (Some("adapter"), Some("lora")) {
            return Err(Error::new(ErrorKind::Unsupported, "a GGUF file that is no LoRA adapter"));
        }
        let alpha = self.get(ALPHA).and_then(|alpha| alpha.as_f64());
        let alpha = alpha.filter(|alpha| alpha.is_finite()).ok_or_else(|| {
            Error::corrupt(format!("the metadata lacks `{ALPHA}`, or it is no finite number"))
        })?;
        let model = metadata::write(config, &mut Entries::default())?;
        let (theirs, ours) = (Keys::new(self)?.architecture(), model.architecture);
        if theirs != ours {
            return Err(Error::invalid(format!("an adapter of a `{theirs}`, this is a `{ours}`")));
        }
        let heads = Heads::new(model.heads, model.key_heads);
        let linears = network.decoder().linears();
        let places: BTreeMap<&str, Param> =
            linears.iter().map(|at| (network.weights().name(at.weight), at.weight)).collect();
        let mut halves: BTreeMap<Param, [Option<Vec<f32>>; 2]> = BTreeMap::new();
        for (name, tensor) in self.tensors() {
            let wrong = |why: &str| Error::invalid(format!("the tensor `{name}` {why}"));
            let (layer, side) = match (name.strip_suffix(".lora_a"), name.strip_suffix(".lora_b")) {
                (Some(layer), _) => (layer, 0),
                (_, Some(layer)) => (layer, 1),
                _ => return Err(wrong("is no half of a pair")),
            };
            let place = names::hugging_face(layer);
            let place = place.as_deref().and_then(|name| places.get_key_value(name));
            let (from, &site) = place.ok_or_else(|| wrong("is at no layer of the model"))?;
            let [out, width] = network.sizes(site);
            let fits = match (tensor.shape(), side) {
                (&[rank, columns], 0) => rank > 0 && columns == width,
                (&[rows, rank], _) => rank > 0 && rows == out,
                _ => false,
            };
            if !fits {
                return Err(wrong(&format!(
                    "is {:?} at a layer of {out} by {width}",
                    tensor.shape()
                )));
            }
            let mut data = tensor.to_f32();
            if data.iter().any(|x| !x.is_finite()) {
                return Err(wrong("holds what is no finite number"));
            }
            if side == 1
                && let Some(heads) = heads.of(ours, from)
            {
                data = permute::to_halves(&data, heads, out / heads);
            }
            halves.entry(site).or_default()[side] = Some(data);
        }
        let mut pairs = BTreeMap::new();
        for (site, halves) in halves {
            let [out, width] = network.sizes(site);
            let [Some(a), Some(b)] = halves else {
                let name = network.weights().name(site);
                return Err(Error::invalid(format!("`{name}` has one half of a pair")));
            };
            let rank = a.len() / width;
            if b.len() != out * rank {
                let name = network.weights().name(site);
                return Err(Error::invalid(format!("the halves at `{name}` have other ranks")));
            }
            let scale = (alpha / rank as f64) as f32;
            pairs.insert(site, Pair { a, b, rank, scale, magnitude: None });
        }
        Ok(Lora::of_pairs(pairs))
    }
}
