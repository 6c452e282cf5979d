//! Adapters of the Hugging Face hub.

use async_trait::async_trait;
use openledger_core::{Error, ErrorKind, Result, file};
use openledger_hub::{Hub, Repo, Wanted};
use openledger_model::AdapterFiles;
use openledger_serve::{AdapterName, AdapterSource, FileLimits};
use tokio::task::spawn_blocking;

/// Adapters of the Hugging Face hub: `owner/name`, or `owner/name@revision`.
///
/// Both files are of one commit. What was downloaded stays in the hub's cache. The hub says of an
/// adapter that is not there what it says of a private one: without a token it may be
/// [`ErrorKind::Denied`].
#[derive(Clone, Debug)]
pub struct HubAdapters {
    hub: Hub,
}

impl HubAdapters {
    /// Takes a hub, with its cache and token.
    pub const fn new(hub: Hub) -> Self {
        Self { hub }
    }

    /// Puts a file into the cache, and says of which commit it is and what is in it.
    async fn file(
        &self,
        name: &AdapterName,
        repo: &Repo,
        file: &'static str,
        limits: FileLimits,
    ) -> Result<(String, Vec<u8>)> {
        let hub = self.hub.clone().with_max_file_bytes(limits.of(file));
        let folder = hub.fetch(repo, &Wanted::File(file.to_owned())).await?;
        let commit = folder.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let commit = commit.ok_or_else(|| {
            Error::corrupt(format!("the cache does not say the commit of {repo}"))
        })?;
        let path = folder.join(file);
        // What others have downloaded may be larger.
        let len = path.metadata().map_or(0, |found| found.len());
        limits.check(name, file, len)?;
        let read = spawn_blocking(move || file::read(path, limits.of(file))).await;
        let stopped = |e| Error::new(ErrorKind::Unavailable, "reading was stopped").with_source(e);
        Ok((commit, read.map_err(stopped)??))
    }
}

#[async_trait]
impl AdapterSource for HubAdapters {
    async fn fetch(&self, name: &AdapterName, limits: FileLimits) -> Result<AdapterFiles> {
        let unknown =
            |e| Error::new(ErrorKind::NotFound, format!("no adapter `{name}`")).with_source(e);
        let repo: Repo = name.as_str().parse().map_err(unknown)?;
        let (commit, config) = self.file(name, &repo, AdapterFiles::CONFIG, limits).await?;
        // A branch may move meanwhile.
        let same: Repo = format!("{}@{commit}", repo.name()).parse()?;
        let (_, weights) = self.file(name, &same, AdapterFiles::WEIGHTS, limits).await?;
        Ok(AdapterFiles::new(config, weights))
    }
}
