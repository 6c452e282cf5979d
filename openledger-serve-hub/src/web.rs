//! Adapters of any HTTP server.

use async_trait::async_trait;
use openledger_core::{Error, ErrorKind, Result};
use openledger_hub::{Web, WebFile};
use openledger_model::AdapterFiles;
use openledger_serve::{AdapterName, AdapterSource, FileLimits};

/// Adapters below a URL, each in a folder of its own with PEFT's two files.
///
/// If a file is replaced while the two are fetched it is an error that passes, as far as the server
/// gives states a tag. An adapter of which one file was replaced and the other not yet looks like any
/// other: give what is new a new name.
#[derive(Clone, Debug)]
pub struct WebAdapters {
    web: Web,
}

impl WebAdapters {
    /// Takes a server.
    pub const fn new(web: Web) -> Self {
        Self { web }
    }
}

#[async_trait]
impl AdapterSource for WebAdapters {
    async fn fetch(&self, name: &AdapterName, limits: FileLimits) -> Result<AdapterFiles> {
        let path = |file: &str| format!("{name}/{file}");
        let get = async |file: &str| self.web.get(&path(file), limits.of(file)).await;
        let said = |e: Error| match e.kind() {
            ErrorKind::NotFound => {
                Error::new(e.kind(), format!("no adapter `{name}`")).with_source(e)
            }
            _ => e,
        };
        let before = self.web.tag(&path(AdapterFiles::WEIGHTS)).await.map_err(said)?;
        let config: WebFile = get(AdapterFiles::CONFIG).await.map_err(said)?;
        let weights: WebFile = get(AdapterFiles::WEIGHTS).await.map_err(said)?;
        let after = self.web.tag(&path(AdapterFiles::CONFIG)).await.map_err(said)?;
        if before != weights.tag || config.tag != after {
            let message = format!("`{name}` is being replaced: it changed while it was fetched");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(AdapterFiles::new(config.bytes, weights.bytes))
    }
}
