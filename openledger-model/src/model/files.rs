//! The files of a base model.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
};

use bytes::Bytes;
use openledger_core::{B256, ContentHash, Error, ErrorKind, ModelId, Result, file};
use openledger_kernels::map_file;
use serde::Deserialize;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The largest `config.json` read: 1 MiB.
const MAX_CONFIG: u64 = 1 << 20;
/// The largest `tokenizer.json` or shard index read: 64 MiB.
const MAX_JSON: u64 = 64 << 20;
/// The largest file of weights read: 512 GiB.
const MAX_WEIGHTS: u64 = 512 << 30;

/// The bytes of a base model, as they lie in its folder.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ModelFiles {
    /// `config.json`.
    pub config: Vec<u8>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// Files of safetensors, by name: `model.safetensors` or its shards.
    pub weights: BTreeMap<String, Bytes>,
}

impl ModelFiles {
    /// Takes the bytes of a model whose weights are one file.
    pub fn new(config: Vec<u8>, tokenizer: Vec<u8>, weights: impl Into<Bytes>) -> Self {
        let weights = BTreeMap::from([(WEIGHTS.to_owned(), weights.into())]);
        Self { config, tokenizer, weights }
    }

    /// Reads `config.json` and `tokenizer.json`, and maps `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Limit`] or [`ErrorKind::Unavailable`] naming the file;
    /// [`ErrorKind::Corrupt`] if an index is not one or names a file of another folder.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let config = file::read(folder.join(CONFIG), MAX_CONFIG)?;
        let tokenizer = file::read(folder.join(TOKENIZER), MAX_JSON)?;
        let weights = shards(folder)?
            .into_iter()
            .map(|name| Ok((name.clone(), map(&folder.join(name))?)))
            .collect::<Result<_>>()?;
        Ok(Self { config, tokenizer, weights })
    }

    /// Writes a model whose weights are one file to `folder`, which is made if it does not exist;
    /// the configuration last, so a folder that has one is whole.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] naming the path; [`ErrorKind::Unsupported`] for shards.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let Some(weights) = self.weights.get(WEIGHTS).filter(|_| self.weights.len() == 1) else {
            return Err(Error::new(ErrorKind::Unsupported, "writing a model of several shards"));
        };
        std::fs::create_dir_all(folder).map_err(|e| {
            Error::new(ErrorKind::Unavailable, format!("cannot make `{}`", folder.display()))
                .with_source(e)
        })?;
        file::write(folder.join(WEIGHTS), weights)?;
        file::write(folder.join(TOKENIZER), &self.tokenizer)?;
        file::write(folder.join(CONFIG), &self.config)
    }

    /// Returns the model's name: the hash of all files.
    pub fn id(&self) -> ModelId {
        let weights = self.weights.iter().map(|(name, bytes)| (name.as_str(), &bytes[..]));
        let files = [(CONFIG, &self.config[..]), (TOKENIZER, &self.tokenizer[..])];
        ModelId::from(B256::from(ContentHash::of_files(weights.chain(files))))
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Maps a file of weights.
pub(crate) fn map(path: &Path) -> Result<Bytes> {
    let failed = |e: std::io::Error| {
        let kind = match e.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("cannot read `{}`", path.display())).with_source(e)
    };
    let file = File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    if len > MAX_WEIGHTS {
        let message = format!("`{}` has {len} bytes, more than {MAX_WEIGHTS}", path.display());
        return Err(Error::new(ErrorKind::Limit, message));
    }
    map_file(&file).map_err(failed)
}

fn shards(folder: &Path) -> Result<BTreeSet<String>> {
    let index = folder.join(INDEX);
    if !index.exists() {
        return Ok(BTreeSet::from([WEIGHTS.to_owned()]));
    }
    let corrupt =
        |why: String| Error::corrupt(format!("cannot use `{}`", index.display())).with_source(why);
    let parsed: Index = serde_json::from_slice(&file::read(&index, MAX_JSON)?)
        .map_err(|e| corrupt(e.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    let plain =
        |name: &String| Path::new(name).file_name().is_some_and(|file| file == name.as_str());
    match names.iter().find(|name| !plain(name)) {
        Some(outside) => Err(corrupt(format!("`{outside}` is not a file of the same folder"))),
        None => Ok(names),
    }
}
