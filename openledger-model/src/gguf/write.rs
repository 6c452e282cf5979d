//! A model to a file.

use std::{collections::HashMap, io::Write};

use openledger_core::{Error, ErrorKind, Result};

use super::{
    GgmlType, deepseek,
    entries::{self, Entries},
    load::Heads,
    metadata, names, permute, tables,
};
use crate::{Decoder, Tokenizer, Weights};

/// Where data begins is a multiple of this, in bytes: the format's default.
pub(super) const ALIGNMENT: usize = 32;
const VERSION: u32 = 3;

/// Writes a model as a GGUF file, in the names and layout of llama.cpp.
///
/// Matrices are stored as the type that is asked for, if their rows are whole blocks of it, and
/// otherwise in half precision; norms and biases stay `f32`. That is what llama.cpp's converter does.
///
/// What llama.cpp does not do with such a file: it knows no sliding window in the architectures
/// `llama`, `qwen2` and `qwen3`, so texts longer than the window give other results there than here. The
/// window is in the metadata nevertheless, and [`Model::open`](crate::Model::open) keeps it.
///
/// # Examples
/// ```
/// use openledger_model::{Model, gguf::{GgmlType, GgufWriter}, testing};
///
/// let files = testing::tiny_files(1)?;
/// let model = Model::load(&files)?;
/// let mut file = Vec::new();
/// GgufWriter::new(&files.config, model.tokenizer(), model.network().weights())
///     .with_type(GgmlType::Q8_0)
///     .write(&mut file)?;
/// assert_eq!(Model::from_gguf(&file)?.network().decoder().layers(), 2);
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GgufWriter<'a> {
    config: &'a [u8],
    tokenizer: &'a Tokenizer,
    weights: &'a Weights,
    ty: GgmlType,
    name: Option<&'a str>,
    chat_template: Option<&'a str>,
}

/// A tensor as it will be written.
struct Planned {
    placed: Placed,
    content: Content,
}

/// What a file's head says of a tensor.
pub(super) struct Placed {
    /// In the file.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) ty: GgmlType,
}

impl Placed {
    /// A matrix in `f32`.
    pub(super) fn new(name: String, shape: [usize; 2]) -> Self {
        Self { name, shape: shape.to_vec(), ty: GgmlType::F32 }
    }
}

/// What a tensor is made of.
enum Content {
    /// Tensors of this shape in the checkpoint, one after the other.
    Stacked { names: Vec<String>, shape: Vec<usize> },
    /// A tensor, with the rows of so many heads permuted.
    Permuted { name: String, heads: usize },
    /// These numbers.
    Numbers(Vec<f32>),
}

impl<'a> GgufWriter<'a> {
    /// Takes a model's `config.json`, tokenizer and weights.
    pub const fn new(config: &'a [u8], tokenizer: &'a Tokenizer, weights: &'a Weights) -> Self {
        let (name, chat_template) = (None, None);
        Self { config, tokenizer, weights, ty: GgmlType::F16, name, chat_template }
    }

    /// Returns this with matrices stored as `ty` instead of F16: F32, BF16, `Q8_0` or `Q4_0`.
    #[must_use]
    pub const fn with_type(mut self, ty: GgmlType) -> Self {
        self.ty = ty;
        self
    }

    /// Returns this with a name for people, `general.name`.
    #[must_use]
    pub const fn with_name(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// Returns this with a chat template, a Jinja template.
    #[must_use]
    pub const fn with_chat_template(mut self, template: &'a str) -> Self {
        self.chat_template = Some(template);
        self
    }

    /// Writes the file, one tensor in memory at a time.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] naming what GGUF, or this writer, has no words for; those of
    /// [`Decoder::tensors`] and [`Weights::find`]; [`ErrorKind::Invalid`] for weights that are not
    /// finite or too large for the type; [`ErrorKind::Unavailable`] if `to` fails.
    pub fn write(&self, mut to: impl Write) -> Result<()> {
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "cannot write the GGUF file").with_source(e)
        };
        let mut entries = Entries::default();
        let file_type = file_type(self.ty)?;
        let metadata = metadata::write(self.config, &mut entries)?;
        if let Some(name) = self.name {
            entries.text("general.name", name);
        }
        entries.u32("general.file_type", file_type);
        if self.ty.block() > 1 {
            entries.u32("general.quantization_version", 2);
        }
        tables::write(self.tokenizer, &metadata, &mut entries)?;
        if let Some(template) = self.chat_template {
            entries.text("tokenizer.chat_template", template);
        }
        let tensors = self.plan(&metadata)?;
        let placed = tensors.iter().map(|tensor| &tensor.placed);
        to.write_all(&head(&entries, placed)).map_err(failed)?;
        let mut bytes = Vec::new();
        for tensor in tensors {
            bytes.clear();
            self.encode(&tensor, &mut bytes)?;
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
            to.write_all(&bytes).map_err(failed)?;
        }
        to.flush().map_err(failed)
    }

    fn plan(&self, metadata: &metadata::Written) -> Result<Vec<Planned>> {
        let heads = Heads::new(metadata.heads, metadata.key_heads);
        let mut planned: Vec<Planned> = Vec::new();
        let mut stacks: HashMap<String, usize> = HashMap::new();
        for (from, shape) in Decoder::tensors(self.config)? {
            if let Some(name) = deepseek::stack(&from) {
                let place = *stacks.entry(name.clone()).or_insert(planned.len());
                match planned.get_mut(place) {
                    Some(Planned { placed, content: Content::Stacked { names, .. } }) => {
                        placed.shape[0] += 1;
                        names.push(from);
                    }
                    _ => {
                        let ty = self.ty_of(&name, &shape);
                        let content = Content::Stacked { names: vec![from], shape: shape.clone() };
                        let shape = [&[1], &shape[..]].concat();
                        let placed = Placed { name, shape, ty };
                        planned.push(Planned { placed, content });
                    }
                }
                continue;
            }
            let name = names::ggml(&from).ok_or_else(|| {
                let message = format!("GGUF has no name for the tensor `{from}`");
                Error::new(ErrorKind::Unsupported, message)
            })?;
            let ty = self.ty_of(&name, &shape);
            let content = match heads.of(metadata.architecture, &from) {
                Some(heads) => Content::Permuted { name: from, heads },
                None => Content::Stacked { names: vec![from], shape: shape.clone() },
            };
            planned.push(Planned { placed: Placed { name, shape, ty }, content });
        }
        if let Some(divisors) = &metadata.rope_divisors {
            let placed = Placed {
                name: "rope_freqs.weight".to_owned(),
                shape: vec![divisors.len()],
                ty: GgmlType::F32,
            };
            planned.push(Planned { placed, content: Content::Numbers(divisors.clone()) });
        }
        Ok(planned)
    }

    fn ty_of(&self, name: &str, shape: &[usize]) -> GgmlType {
        match shape {
            // Small errors of a router send tokens elsewhere.
            _ if name.ends_with("ffn_gate_inp.weight") => GgmlType::F32,
            [_, row] if row.is_multiple_of(self.ty.block()) => self.ty,
            [_, _] => GgmlType::F16,
            _ => GgmlType::F32,
        }
    }

    fn encode(&self, tensor: &Planned, out: &mut Vec<u8>) -> Result<()> {
        let Planned { placed: Placed { name: to, shape, ty }, content } = tensor;
        let stored = |name: &str, shape: &[usize]| {
            let param = self.weights.find(name, shape)?;
            Ok::<_, Error>(self.weights.data(param))
        };
        let encoded = match content {
            Content::Stacked { names, shape } => {
                names.iter().try_for_each(|name| ty.encode(&stored(name, shape)?, out))
            }
            Content::Permuted { name, heads } => {
                let rows = shape[0] / heads;
                let permuted = permute::to_neighbours(&stored(name, shape)?, *heads, rows);
                ty.encode(&permuted, out)
            }
            Content::Numbers(numbers) => ty.encode(numbers, out),
        };
        encoded.map_err(|e| {
            Error::new(e.kind(), format!("cannot write the tensor `{to}`")).with_source(e)
        })
    }
}

/// Everything before the data.
pub(super) fn head<'a>(
    entries: &Entries,
    tensors: impl ExactSizeIterator<Item = &'a Placed>,
) -> Vec<u8> {
    let mut head = b"GGUF".to_vec();
    head.extend(VERSION.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend(entries.count.to_le_bytes());
    head.extend(&entries.bytes);
    let mut offset = 0;
    for Placed { name, shape, ty } in tensors {
        entries::text(&mut head, name);
        head.extend((shape.len() as u32).to_le_bytes());
        head.extend(shape.iter().rev().flat_map(|&size| (size as u64).to_le_bytes()));
        head.extend(ty.code().to_le_bytes());
        head.extend((offset as u64).to_le_bytes());
        let elements: usize = shape.iter().product();
        offset += (elements / ty.block() * ty.block_bytes()).next_multiple_of(ALIGNMENT);
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
    head
}

/// `llama_ftype` of llama.cpp.
fn file_type(ty: GgmlType) -> Result<u32> {
    Ok(match ty {
        GgmlType::F32 => 0,
        GgmlType::F16 => 1,
        GgmlType::Q4_0 => 2,
        GgmlType::Q8_0 => 7,
        GgmlType::BF16 => 32,
        other => {
            let message = format!("writing {other}; known: F32, F16, BF16, Q8_0, Q4_0");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}
