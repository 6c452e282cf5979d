//! One file: asked about, fetched, resumed, checked, and only then named.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{Method, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use openledger_core::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    HubOptions, Progress, Repo,
    cache::{Cached, etag, make_folder_of, unavailable},
    client::{Client, refused, same_host, text},
    hub::OnProgress,
};

/// How often a connection that is cut is taken up again.
const MAX_CUTS: usize = 5;

/// What the hub says of a file.
#[derive(Debug)]
struct Described {
    etag: String,
    len: u64,
}

/// One file of a commit.
#[derive(Debug)]
pub(crate) struct Download<'a> {
    pub(crate) client: &'a Client,
    pub(crate) options: &'a HubOptions,
    pub(crate) cached: &'a Cached,
    pub(crate) repo: &'a Repo,
    pub(crate) commit: &'a str,
    pub(crate) name: &'a str,
    pub(crate) progress: &'a OnProgress,
}

impl Download<'_> {
    /// Puts the file into the snapshot, unless it is there.
    pub(crate) async fn run(&self) -> Result<()> {
        // A commit does not change: a link to a whole blob is the file.
        if self.cached.snapshot(self.commit).join(self.name).is_file() {
            return Ok(());
        }
        let path = format!("{}/resolve/{}/{}", self.repo.name(), self.commit, self.name);
        let url = self.client.url(&path)?;
        let file = self.describe(&url).await?;
        if file.len > self.options.max_file_bytes {
            let (len, most) = (file.len, self.options.max_file_bytes);
            let message = format!("`{}` has {len} bytes, {most} are allowed", self.name);
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let turn = {
            let (cached, etag) = (self.cached.clone(), file.etag.clone());
            Arc::new(blocking(move || cached.lock(&etag)).await?)
        };
        let blob = self.cached.blob(&file.etag);
        if !blob.is_file() {
            make_folder_of(&blob)?;
            let path = self.cached.incomplete(&file.etag);
            let partial = Partial { path, turn: Arc::clone(&turn) };
            self.fetch(&url, &file, &partial).await?;
            let path = partial.path;
            blocking(move || fs::rename(path, &blob).map_err(|e| unavailable("name", &blob, e)))
                .await?;
        }
        self.cached.link(self.commit, self.name, &file.etag)
    }

    /// Asks for a file's etag and length. A large file's are in headers of their own, beside a
    /// redirection to where it is stored, which is not followed.
    async fn describe(&self, url: &Uri) -> Result<Described> {
        let answer = self.client.send(Method::HEAD, url.clone(), None, same_host).await?;
        let (status, headers) = (answer.status(), answer.headers());
        if !status.is_success() && !status.is_redirection() {
            return refused(&answer, &format!("`{}` of {}", self.name, self.repo));
        }
        let lacks = |what: &str| {
            Error::corrupt(format!("the hub does not say the {what} of `{}`", self.name))
        };
        let tag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
        let len = text(headers, "x-linked-size").or_else(|| {
            text(headers, header::CONTENT_LENGTH.as_str()).filter(|_| status.is_success())
        });
        Ok(Described {
            etag: etag(tag.ok_or_else(|| lacks("etag"))?)?,
            len: len.and_then(|len| len.parse().ok()).ok_or_else(|| lacks("length"))?,
        })
    }

    /// Fetches what is missing of the file, checks it, and fetches it once more if it is wrong: what
    /// lay there from an earlier attempt may have been of another file.
    async fn fetch(&self, url: &Uri, file: &Described, partial: &Partial) -> Result<()> {
        for again in [false, true] {
            self.complete(url, file, partial).await?;
            match self.check(file, &partial.path).await {
                Err(wrong) => {
                    let path = &partial.path;
                    fs::remove_file(path).map_err(|e| unavailable("remove", path, e))?;
                    if again {
                        return Err(wrong);
                    }
                }
                Ok(()) => return Ok(()),
            }
        }
        Ok(())
    }

    async fn complete(&self, url: &Uri, file: &Described, partial: &Partial) -> Result<()> {
        let mut cuts = 0;
        loop {
            let done = partial.len();
            (self.progress.0)(Progress::new(self.name, done, file.len));
            if done >= file.len && partial.path.exists() {
                return Ok(());
            }
            match self.take_up(url, file, partial).await {
                Ok(()) => {}
                // What arrived stays; only a connection that brings nothing more is given up.
                Err(e) if e.is_retryable() && cuts < MAX_CUTS => {
                    let more = partial.len() > done;
                    if !more {
                        return Err(e);
                    }
                    cuts += 1;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Asks for the bytes that are missing and appends them.
    async fn take_up(&self, url: &Uri, file: &Described, partial: &Partial) -> Result<()> {
        let done = partial.len();
        let range = (done > 0).then(|| format!("bytes={done}-"));
        let answer = self.client.send(Method::GET, url.clone(), range, |_, _| true).await?;
        let begins = match answer.status() {
            StatusCode::PARTIAL_CONTENT if begins_at(&answer, done) => done,
            // A server that knows no ranges sends all.
            StatusCode::OK => 0,
            _ => return refused(&answer, &format!("`{}` of {}", self.name, self.repo)),
        };
        let failed = |e| unavailable("write", &partial.path, e);
        let mut out = partial.open(begins).await?;
        let mut done = begins;
        let mut body = answer.into_body();
        loop {
            let frame = timeout(self.options.timeout, body.frame()).await;
            let Some(frame) = frame.map_err(|_| self.client.silent(url))? else { break };
            let frame = frame.map_err(|e| self.cut(done, file.len).with_source(e))?;
            let Ok(bytes) = frame.into_data() else { continue };
            done += bytes.len() as u64;
            if done > file.len {
                let message = format!("`{}` is longer than its {} bytes", self.name, file.len);
                drop(out);
                // It is of no use to a later attempt.
                fs::remove_file(&partial.path).map_err(failed)?;
                return Err(Error::corrupt(message));
            }
            out = out.then(move |out| out.write_all(&bytes)).await?;
            (self.progress.0)(Progress::new(self.name, done, file.len));
        }
        if done < file.len {
            return Err(self.cut(done, file.len));
        }
        out.then(|out| out.sync_all()).await.map(drop)
    }

    fn cut(&self, done: u64, len: u64) -> Error {
        let message = format!("`{}` was cut after {done} of {len} bytes", self.name);
        Error::new(ErrorKind::Unavailable, message)
    }

    /// Checks length and, where the etag is one, hash.
    async fn check(&self, file: &Described, partial: &Path) -> Result<()> {
        let (name, path, expected) = (self.name.to_owned(), partial.to_owned(), file.etag.clone());
        let len = file.len;
        blocking(move || {
            let (found, hash) = hash(&path)?;
            if found != len {
                let message = format!("`{name}` has {found} bytes, {len} were announced");
                return Err(Error::corrupt(message));
            }
            // Small files have git's hash, which is SHA-1 with a header.
            if expected.len() == 64 && !expected.eq_ignore_ascii_case(&hash) {
                let message = format!("`{name}` has the SHA-256 {hash}, {expected} was announced");
                return Err(Error::corrupt(message));
            }
            Ok(())
        })
        .await
    }
}

/// What there is of a file so far.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
    /// The lock on it.
    turn: Arc<File>,
}

/// The same, being written. Who stops waiting for a write lets go of the lock after it and not in it.
#[derive(Debug)]
struct Writing {
    out: File,
    path: PathBuf,
    _turn: Arc<File>,
}

impl Partial {
    fn len(&self) -> u64 {
        self.path.metadata().map_or(0, |found| found.len())
    }

    /// Opens it to go on after `begins` bytes, which are all there are, or from the start.
    async fn open(&self, begins: u64) -> Result<Writing> {
        let (path, turn) = (self.path.clone(), Arc::clone(&self.turn));
        blocking(move || {
            let mut options = File::options();
            options.create(true).write(true).truncate(begins == 0).append(begins > 0);
            let out = options.open(&path).map_err(|e| unavailable("write", &path, e))?;
            Ok(Writing { out, path, _turn: turn })
        })
        .await
    }
}

impl Writing {
    /// Does something to it off the executor.
    async fn then(
        mut self,
        write: impl FnOnce(&mut File) -> io::Result<()> + Send + 'static,
    ) -> Result<Self> {
        blocking(move || match write(&mut self.out) {
            Ok(()) => Ok(self),
            Err(e) => Err(unavailable("write", &self.path, e)),
        })
        .await
    }
}

fn begins_at(answer: &Response<Incoming>, done: u64) -> bool {
    let range = text(answer.headers(), header::CONTENT_RANGE.as_str());
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
    first.is_some_and(|(first, _)| first.parse() == Ok(done))
}

/// Returns the length and SHA-256 of a file.
fn hash(path: &PathBuf) -> Result<(u64, String)> {
    let failed = |e| unavailable("read", path, e);
    let mut file = File::open(path).map_err(failed)?;
    let (mut hasher, mut len, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                len += read as u64;
            }
        }
    }
    let hash = hasher.finalize();
    Ok((len, hash.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Runs what waits for the disk or for others off the executor.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = spawn_blocking(work).await;
    done.map_err(|e| Error::new(ErrorKind::Unavailable, "the task was stopped").with_source(e))?
}
