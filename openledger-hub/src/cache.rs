//! The folder that Python's `huggingface_hub` shares.
//!
//! ```text
//! models--owner--name/
//!   blobs/<etag>                      the bytes; <etag>.incomplete while they arrive
//!   refs/<revision>                   the commit that a branch or tag was
//!   snapshots/<commit>/<file>         a link to ../../blobs/<etag>
//! .locks/models--owner--name/<etag>.lock
//! ```
//!
//! Source: `file_download.py` of `huggingface_hub`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use openledger_core::{Error, ErrorKind, Result, file};

use crate::{
    Repo,
    repo::{is_commit, is_path},
};

/// A commit is 40 digits.
const MAX_REF: u64 = 256;

/// One repository in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    folder: PathBuf,
    locks: PathBuf,
}

impl Cached {
    pub(crate) fn new(cache: &Path, repo: &Repo) -> Self {
        let name = format!("models--{}", repo.name().replace('/', "--"));
        Self { locks: cache.join(".locks").join(&name), folder: cache.join(name) }
    }

    /// Returns the commit that a revision was when it was last fetched.
    pub(crate) fn commit(&self, repo: &Repo) -> Result<Option<String>> {
        if repo.is_commit() {
            return Ok(Some(repo.revision().to_owned()));
        }
        let path = self.folder.join("refs").join(repo.revision());
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = file::read(&path, MAX_REF)?;
        match String::from_utf8(bytes) {
            Ok(commit) if is_commit(commit.trim()) => Ok(Some(commit.trim().to_owned())),
            _ => Err(Error::corrupt(format!("`{}` is no commit; remove it", path.display()))),
        }
    }

    /// Remembers which commit a revision is.
    pub(crate) fn set_commit(&self, repo: &Repo, commit: &str) -> Result<()> {
        if repo.is_commit() {
            return Ok(());
        }
        let path = self.folder.join("refs").join(repo.revision());
        make_folder_of(&path)?;
        file::write(path, commit.as_bytes())
    }

    /// Returns the folder that holds the files of a commit.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Returns where the bytes of an etag lie.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Returns where they lie until they are whole.
    pub(crate) fn incomplete(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Takes the turn to write an etag, waiting for others: this process's, and Python's, whose lock
    /// is the same on Unix. It ends when the file is dropped.
    pub(crate) fn lock(&self, etag: &str) -> Result<File> {
        let path = self.locks.join(format!("{etag}.lock"));
        make_folder_of(&path)?;
        let failed = |e: std::io::Error| unavailable("lock", &path, e);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    /// Gives a blob its name in a snapshot.
    pub(crate) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<()> {
        let link = self.snapshot(commit).join(name);
        make_folder_of(&link)?;
        // One `..` for each folder of the name, one for the commit, one for `snapshots`.
        let up = "../".repeat(name.matches('/').count() + 2);
        let target = format!("{up}blobs/{etag}");
        if fs::read_link(&link).is_ok_and(|old| old == Path::new(&target)) {
            return Ok(());
        }
        // A link in the way is of another state of the file, or broken.
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).map_err(|e| unavailable("replace", &link, e))?;
        }
        self.make_link(&target, etag, &link).map_err(|e| unavailable("link", &link, e))
    }

    #[cfg(unix)]
    fn make_link(&self, target: &str, _: &str, link: &Path) -> std::io::Result<()> {
        std::os::unix::fs::symlink(target, link)
    }

    /// Where links need a privilege Python moves the blob, too.
    #[cfg(not(unix))]
    fn make_link(&self, _: &str, etag: &str, link: &Path) -> std::io::Result<()> {
        fs::rename(self.blob(etag), link)
    }
}

/// Takes the quotes from an etag, and refuses one that cannot be the name of a file.
pub(crate) fn etag(header: &str) -> Result<String> {
    let plain = header.trim().trim_start_matches("W/").trim_matches('"');
    match is_path(plain) && !plain.contains('/') {
        true => Ok(plain.to_owned()),
        false => Err(Error::corrupt(format!("the etag {header:?} cannot be the name of a file"))),
    }
}

pub(crate) fn make_folder_of(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|e| unavailable("make", folder, e))
}

pub(crate) fn unavailable(what: &str, path: &Path, e: std::io::Error) -> Error {
    let message = format!("cannot {what} `{}`", path.display());
    Error::new(ErrorKind::Unavailable, message).with_source(e).with_retryable(false)
}
