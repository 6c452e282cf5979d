//! A base model: decoder, weights and tokenizer, named by content.

mod files;

use std::path::Path;

use openledger_core::{Error, ModelId, Result};

pub use files::ModelFiles;

use crate::{Network, Tokenizer, Weights};

/// A base model.
#[derive(Clone, Debug)]
pub struct Model {
    id: ModelId,
    network: Network,
    tokenizer: Tokenizer,
}

impl Model {
    /// Opens a folder of a Hugging Face checkpoint.
    ///
    /// # Errors
    /// Those of [`ModelFiles::read`] and [`Model::load`]; the message names the folder or file.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        Self::load(&ModelFiles::read(folder)?).map_err(|e| {
            let message = format!("cannot use the model in `{}`", folder.display());
            Error::new(e.kind(), message).with_source(e)
        })
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
        let known = network.decoder().vocabulary();
        if tokenizer.vocabulary() > known {
            return Err(Error::invalid(format!(
                "the tokenizer has {} tokens, the model knows {known}",
                tokenizer.vocabulary()
            )));
        }
        Ok(Self { id: files.id(), network, tokenizer })
    }

    /// Returns the hash of the model's files.
    pub const fn id(&self) -> ModelId {
        self.id
    }

    /// Returns the decoder with its weights.
    pub const fn network(&self) -> &Network {
        &self.network
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
