//! Which files of a repository are fetched.

use std::{collections::BTreeSet, path::Path};

use openledger_core::{Error, ErrorKind, Result, file};
use serde::Deserialize;

use crate::repo::is_path;

const INDEX: &str = "model.safetensors.index.json";
const WEIGHTS: &str = "model.safetensors";
/// The largest shard index read: 64 MiB.
pub(crate) const MAX_INDEX: u64 = 64 << 20;

/// Small files that say what a model or adapter is.
const SMALL: [&str; 9] = [
    "adapter_config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// What is wanted of a repository.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Wanted {
    /// A model: configuration, tokenizer, safetensors with their index.
    Model,
    /// An adapter in PEFT's format.
    Adapter,
    /// One file, such as a GGUF.
    File(String),
}

#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::BTreeMap<String, String>,
}

impl Wanted {
    /// Chooses from the files of a repository those that can be named before any is read.
    pub(crate) fn first(&self, listed: &BTreeSet<String>) -> Result<Vec<String>> {
        let lacks = |name: &str| {
            Error::new(ErrorKind::NotFound, format!("the repository has no file `{name}`"))
        };
        let required: &[&str] = match self {
            Self::Model => &["config.json"],
            Self::Adapter => &["adapter_config.json", "adapter_model.safetensors"],
            Self::File(name) => {
                let name = checked(name)?;
                return listed.get(name).map(|name| vec![name.clone()]).ok_or_else(|| lacks(name));
            }
        };
        if let Some(missing) = required.iter().find(|name| !listed.contains(**name)) {
            return Err(lacks(missing));
        }
        let mut names: Vec<String> =
            SMALL.iter().filter(|name| listed.contains(**name)).map(|&n| n.to_owned()).collect();
        names.push(match self {
            Self::Model if listed.contains(INDEX) => INDEX.to_owned(),
            Self::Model if listed.contains(WEIGHTS) => WEIGHTS.to_owned(),
            Self::Model => return Err(lacks(WEIGHTS)),
            _ => "adapter_model.safetensors".to_owned(),
        });
        Ok(names)
    }

    /// Names the files that an index in `folder` adds.
    pub(crate) fn second(&self, folder: &Path) -> Result<BTreeSet<String>> {
        let index = folder.join(INDEX);
        if *self != Self::Model || !index.exists() {
            return Ok(BTreeSet::new());
        }
        let parsed: Index = serde_json::from_slice(&file::read(&index, MAX_INDEX)?)
            .map_err(|e| Error::corrupt(format!("`{INDEX}` is no index")).with_source(e))?;
        let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
        for name in &names {
            checked(name)?;
        }
        Ok(names)
    }

    /// Names a file that `folder` lacks, if it is not whole.
    pub(crate) fn missing(&self, folder: &Path) -> Result<Option<String>> {
        let weights = if folder.join(INDEX).exists() { INDEX } else { WEIGHTS };
        let required = match self {
            Self::Model => vec!["config.json", weights],
            Self::Adapter => vec!["adapter_config.json", "adapter_model.safetensors"],
            Self::File(name) => vec![checked(name)?],
        };
        let required: Vec<String> = required.into_iter().map(str::to_owned).collect();
        let all = required.into_iter().chain(self.second(folder)?);
        Ok(all.into_iter().find(|name| !folder.join(name).exists()))
    }
}

/// Refuses a name that would leave the folder or is not the same everywhere.
pub(crate) fn checked(name: &str) -> Result<&str> {
    match is_path(name) {
        true => Ok(name),
        false => Err(Error::invalid(format!("`{name}` is not the name of a file"))),
    }
}
