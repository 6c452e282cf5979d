//! A base model: decoder, weights and tokenizer, named by content.

mod files;

use std::path::Path;

use bytes::Bytes;
use openledger_core::{B256, ContentHash, Error, ModelId, Result};

pub use files::ModelFiles;

pub(crate) use files::map;

use crate::{Network, Tokenizer, Weights, gguf::Gguf};

/// A base model.
#[derive(Clone, Debug)]
pub struct Model {
    id: ModelId,
    network: Network,
    tokenizer: Tokenizer,
}

impl Model {
    /// Opens a folder of a Hugging Face checkpoint, or a GGUF file.
    ///
    /// # Errors
    /// Those of [`ModelFiles::read`] and [`Model::load`], or of [`Model::from_gguf`]; the message
    /// names the folder or file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let model = match path.is_file() {
            true => Self::from_gguf(&map(path)?),
            false => Self::load(&ModelFiles::read(path)?),
        };
        model.map_err(|e| cannot_use(path, e))
    }

    /// Opens a folder or a GGUF file, whose matrices stay as it has them: [`open`](Self::open) has those in
    /// `f32`. `F32`, `F16` and `BF16` lie in the file's memory, `Q8_0` and `Q4_0` are multiplied as
    /// [`Network::in_q8_0`] says. Those of other types are in `f32` all the same, and so are routers, experts
    /// and the two halves of `DeepSeek`'s `kv_b` where the file has it divided.
    ///
    /// To serve it; training wants products with exact rows.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_as_stored(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_file() {
            return Self::open(path);
        }
        let model = map(path).and_then(|file| Self::from_gguf_as_stored(&file));
        model.map_err(|e| cannot_use(path, e))
    }

    /// Makes a model of the bytes of a GGUF file. Its id is the hash of the file.
    ///
    /// # Errors
    /// Those of [`Gguf::parse`], [`Gguf::config`], [`Gguf::weights`] and [`Gguf::tokenizer`], and
    /// those of [`Model::load`].
    pub fn from_gguf(file: &[u8]) -> Result<Self> {
        let parsed = Gguf::parse(file)?;
        Self::of_gguf(file, &parsed, parsed.weights()?)
    }

    /// The same with matrices as the file has them, as [`open_as_stored`](Self::open_as_stored) says.
    ///
    /// # Errors
    /// As [`from_gguf`](Self::from_gguf).
    pub fn from_gguf_as_stored(file: &Bytes) -> Result<Self> {
        let parsed = Gguf::parse(file)?;
        Self::of_gguf(file, &parsed, parsed.weights_as_stored(file)?)
    }

    fn of_gguf(file: &[u8], parsed: &Gguf<'_>, weights: Weights) -> Result<Self> {
        let network = Network::new(&parsed.config()?, weights)?;
        let tokenizer = Tokenizer::parse(&parsed.tokenizer()?)?;
        let hash = ContentHash::of_files([("model.gguf", file)]);
        Self::new(ModelId::from(B256::from(hash)), network, tokenizer)
    }

    /// Makes a model of `files`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if a file is not what it should
    /// be; [`ErrorKind::Unsupported`](openledger_core::ErrorKind::Unsupported) naming an
    /// architecture or option that is not there yet;
    /// [`ErrorKind::NotFound`](openledger_core::ErrorKind::NotFound) or
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) naming a tensor that is missing
    /// or does not fit, or a tokenizer with tokens the model does not know.
    pub fn load(files: &ModelFiles) -> Result<Self> {
        let weights = Weights::from_files(&files.weights)?;
        let network = Network::new(&files.config, weights)?;
        let tokenizer = Tokenizer::parse(&files.tokenizer)?;
        Self::new(files.id(), network, tokenizer)
    }

    fn new(id: ModelId, network: Network, tokenizer: Tokenizer) -> Result<Self> {
        let known = network.decoder().vocabulary();
        if tokenizer.vocabulary() > known {
            return Err(Error::invalid(format!(
                "the tokenizer has {} tokens, the model knows {known}",
                tokenizer.vocabulary()
            )));
        }
        Ok(Self { id, network, tokenizer })
    }

    /// Returns the hash of the model's files.
    pub const fn id(&self) -> ModelId {
        self.id
    }

    /// Returns the decoder with its weights.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Returns this with its network changed: rounded to [`bf16`](Network::in_bf16) or
    /// [eight bits](Network::in_q8_0), say. The id still names the files.
    #[must_use]
    pub fn map_network(mut self, change: impl FnOnce(Network) -> Network) -> Self {
        self.network = change(self.network);
        self
    }

    /// Returns the tokenizer.
    pub const fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Returns the token that ends a text, the first if there are several.
    pub fn eos(&self) -> Option<u32> {
        self.network.decoder().eos().first().copied()
    }
}

fn cannot_use(path: &Path, error: Error) -> Error {
    let message = format!("cannot use the model in `{}`", path.display());
    Error::new(error.kind(), message).with_source(error)
}
