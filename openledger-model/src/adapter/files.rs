//! The two files of an adapter.

use std::path::Path;

use bytes::Bytes;
use openledger_core::{AdapterId, B256, ContentHash, Error, ErrorKind, Result, file};

/// The largest configuration read: 1 MiB.
const MAX_CONFIG: u64 = 1 << 20;
/// The largest file of weights read: 8 GiB.
const MAX_WEIGHTS: u64 = 8 << 30;

/// The bytes of an adapter, as they lie in its folder.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct AdapterFiles {
    /// `adapter_config.json`.
    pub config: Vec<u8>,
    /// `adapter_model.safetensors`.
    pub weights: Bytes,
}

impl AdapterFiles {
    /// The name of the file with the configuration.
    pub const CONFIG: &'static str = "adapter_config.json";
    /// The name of the file with the matrices.
    pub const WEIGHTS: &'static str = "adapter_model.safetensors";

    /// Takes the bytes of both files.
    pub fn new(config: Vec<u8>, weights: impl Into<Bytes>) -> Self {
        Self { config, weights: weights.into() }
    }

    /// Reads both files from `folder`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Limit`] or [`ErrorKind::Unavailable`] naming the file.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        Ok(Self {
            config: file::read(folder.join(Self::CONFIG), MAX_CONFIG)?,
            weights: file::read(folder.join(Self::WEIGHTS), MAX_WEIGHTS)?.into(),
        })
    }

    /// Writes both files to `folder`, which is made if it does not exist; the configuration last,
    /// so a folder that has one is whole.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] naming the path.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|e| {
            Error::new(ErrorKind::Unavailable, format!("cannot make `{}`", folder.display()))
                .with_source(e)
        })?;
        file::write(folder.join(Self::WEIGHTS), &self.weights)?;
        file::write(folder.join(Self::CONFIG), &self.config)
    }

    /// Returns the adapter's name: the hash of both files.
    pub fn id(&self) -> AdapterId {
        let files = [(Self::CONFIG, &self.config[..]), (Self::WEIGHTS, &self.weights[..])];
        AdapterId::from(B256::from(ContentHash::of_files(files)))
    }
}
