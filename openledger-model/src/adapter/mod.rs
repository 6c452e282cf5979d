//! LoRA adapters (Hu et al., 2021) in PEFT's layout.
//!
//! An adapter adds `scale * x A' B'` at some linear layers: `A` is `[rank, in]`, `B` `[out, rank]`.
//! With `DoRA` each of the layer's results is then multiplied by a factor, so that the rows of the
//! weight have the lengths the adapter says.
//!
//! Loading is strict. Every tensor must belong to a linear layer of the model and have its size,
//! every layer the configuration targets must have its tensors; otherwise it is an error, never an
//! answer from the base model.

mod compose;
mod config;
mod experts;
mod files;
mod json;
mod lora;
mod pair;
mod pattern;
mod pissa;
mod stored;
mod svd;
mod table;
mod targets;

use openledger_core::{AdapterId, Result};

pub use compose::{Combine, Composed, Election};
pub use config::{LoraConfig, Saved, Start};
pub use files::AdapterFiles;
pub use lora::Lora;
pub use pair::{Direction, Pair, Part};
pub use pattern::Patterns;
pub use stored::StoredAdapter;
pub use table::Table;
pub use targets::{Selection, Targets};

use crate::Network;

/// An adapter for one network, named by its content.
#[derive(Clone, Debug)]
pub struct Adapter {
    id: AdapterId,
    config: LoraConfig,
    lora: Lora,
}

impl Adapter {
    /// Makes an adapter of `files` for `network`.
    ///
    /// What only PEFT or transformers can say is said in our terms: an adapter at all experts at once
    /// becomes one at each, and a `PiSSA` adapter, which belongs to another base, one of twice the
    /// rank for this one. [`config`](Self::config) is that of the result.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if a file is not what it should be;
    /// [`ErrorKind::Unsupported`](openledger_core::ErrorKind::Unsupported) naming an option of PEFT
    /// that is not there yet; [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) naming the
    /// first tensor or target that does not fit the model.
    pub fn load(network: &Network, files: &AdapterFiles) -> Result<Self> {
        Ok(StoredAdapter::open(network, files)?.load())
    }

    /// Returns the hash of the adapter's files.
    pub const fn id(&self) -> AdapterId {
        self.id
    }

    /// Returns the configuration.
    pub const fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Returns the matrices.
    pub const fn lora(&self) -> &Lora {
        &self.lora
    }
}
