//! A repository's name to a local folder.

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc};

use http::Method;
use openledger_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::{
    HubOptions, Progress, Repo, Wanted,
    cache::Cached,
    client::{Client, refused},
    download::Download,
    repo::is_commit,
};

/// The largest answer about a repository read: 64 MiB.
const MAX_INFO: usize = 64 << 20;
/// The most files of a repository that are looked at.
const MAX_FILES: usize = 1 << 16;

/// The hub with its local cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    client: Client,
    options: HubOptions,
    progress: OnProgress,
}

/// What is told how far a download is.
#[derive(Clone)]
pub(crate) struct OnProgress(pub(crate) Arc<dyn Fn(Progress<'_>) + Send + Sync>);

#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Hub {
    /// Takes options; opens no connection.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the endpoint is not a URL, or, with the feature `tls`, if `SSL_CERT_FILE` or
    /// `SSL_CERT_DIR` is set and no certificate is there; [`ErrorKind::Unsupported`] if it begins
    /// with `https://` and this build lacks the feature `tls`, unless nothing is to be downloaded.
    pub fn new(options: HubOptions) -> Result<Self> {
        let mut reachable = options.clone();
        if options.offline {
            // Nobody is asked, so any will do.
            reachable.endpoint = "http://localhost".to_owned();
        }
        let client = Client::new(reachable)?;
        Ok(Self { client, options, progress: OnProgress(Arc::new(|_| {})) })
    }

    /// Returns this with somebody to tell how far downloads are; called often, from the task that
    /// downloads.
    #[must_use]
    pub fn with_progress(
        mut self,
        progress: impl Fn(Progress<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.progress = OnProgress(Arc::new(progress));
        self
    }

    /// Returns this with another limit on the files it downloads, in bytes, and the same connections.
    #[must_use]
    pub const fn with_max_file_bytes(mut self, bytes: u64) -> Self {
        self.options.max_file_bytes = bytes;
        self
    }

    /// Returns the folder of a repository's files, with all that is wanted in it.
    ///
    /// Asks the hub what the revision is now, and downloads what is not cached. Offline, what is
    /// cached is all there is. A call that was cut, or dropped, goes on where it was.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] naming the repository or file that does not exist, or is not cached;
    /// [`ErrorKind::Denied`] if it needs a token; [`ErrorKind::Corrupt`] if what came is not what was
    /// announced; [`ErrorKind::Limit`] for a file larger than the options allow;
    /// [`ErrorKind::Unavailable`] if the hub cannot be reached or the cache not be written.
    pub async fn fetch(&self, repo: &Repo, wanted: &Wanted) -> Result<PathBuf> {
        let cached = Cached::new(&self.options.cache, repo);
        if let Some(folder) = self.find(&cached, repo, wanted)? {
            return Ok(folder);
        }
        let info = self.info(repo).await?;
        let listed: BTreeSet<String> =
            info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        let in_repo = |e: Error| Error::new(e.kind(), format!("cannot use {repo}")).with_source(e);
        let commit = info.sha.as_str();
        let folder = cached.snapshot(commit);
        let download = async |name: &str| {
            let download = Download {
                client: &self.client,
                options: &self.options,
                cached: &cached,
                repo,
                commit,
                name,
                progress: &self.progress,
            };
            download.run().await
        };
        for name in wanted.first(&listed).map_err(in_repo)? {
            download(&name).await?;
        }
        for name in wanted.second(&folder).map_err(in_repo)? {
            download(&name).await?;
        }
        cached.set_commit(repo, commit)?;
        Ok(folder)
    }

    /// Looks into the cache, where that is enough.
    fn find(&self, cached: &Cached, repo: &Repo, wanted: &Wanted) -> Result<Option<PathBuf>> {
        if !self.options.offline && !repo.is_commit() {
            // A branch may have moved.
            return Ok(None);
        }
        let folder = match cached.commit(repo)? {
            Some(commit) => cached.snapshot(&commit),
            None => return self.not_cached(&format!("{repo}")),
        };
        match wanted.missing(&folder)? {
            None => Ok(Some(folder)),
            Some(missing) => self.not_cached(&format!("`{missing}` of {repo}")),
        }
    }

    fn not_cached(&self, what: &str) -> Result<Option<PathBuf>> {
        if !self.options.offline {
            return Ok(None);
        }
        let message = format!(
            "{what} is not in `{}`, and the hub is offline: unset `HF_HUB_OFFLINE`",
            self.options.cache.display()
        );
        Err(Error::new(ErrorKind::NotFound, message))
    }

    /// Asks which commit a revision is, and which files it has.
    async fn info(&self, repo: &Repo) -> Result<Info> {
        // Slashes of a revision would be taken for those of the path.
        let revision = repo.revision().replace('/', "%2F");
        let path = format!("api/models/{}/revision/{revision}", repo.name());
        let url = self.client.url(&path)?;
        let answer = self.client.send(Method::GET, url, None, |_, _| true).await?;
        if !answer.status().is_success() {
            return refused(&answer, &repo.to_string());
        }
        let what = format!("what the hub says of {repo}");
        let bytes = self.client.read(answer, MAX_INFO, &what).await?;
        let info: Info = serde_json::from_slice(&bytes).map_err(|e| {
            Error::corrupt(format!("{what} is not what it should be")).with_source(e)
        })?;
        if !is_commit(&info.sha) {
            return Err(Error::corrupt(format!("{what}: the commit is none")));
        }
        if info.siblings.len() > MAX_FILES {
            let message = format!("{repo} has more than {MAX_FILES} files");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        Ok(info)
    }
}

impl fmt::Debug for OnProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnProgress")
    }
}
