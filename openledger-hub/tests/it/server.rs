//! A hub as far as downloads need one, on loopback.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, task::JoinHandle};

/// A file, and how it is served.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: String,
    large: bool,
    /// At most so many bytes an answer, whatever its header says.
    most: usize,
}

impl File {
    /// A file in git.
    pub(crate) fn small(bytes: &[u8]) -> Self {
        let etag = Self::large(bytes).etag[..40].to_owned();
        Self { etag, large: false, ..Self::large(bytes) }
    }

    /// A file in large storage: its etag is its SHA-256.
    pub(crate) fn large(bytes: &[u8]) -> Self {
        let etag = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes: bytes.to_vec(), etag, large: true, most: usize::MAX }
    }

    /// Connections break after so many bytes.
    pub(crate) fn cut(mut self, most: usize) -> Self {
        self.most = most;
        self
    }
}

/// What is served.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    commit: String,
    files: BTreeMap<String, File>,
    storage: Option<String>,
    token: Option<String>,
    failing: Option<u16>,
}

/// What was asked.
#[derive(Debug, Default)]
struct Seen {
    ranges: Vec<Option<String>>,
    tokens: usize,
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) fn new(commit: &str) -> Self {
        let files = BTreeMap::new();
        Self { commit: commit.to_owned(), files, storage: None, token: None, failing: None }
    }

    pub(crate) fn with(mut self, name: &str, file: File) -> Self {
        self.files.insert(name.to_owned(), file);
        self
    }

    /// Large files are on another server.
    pub(crate) fn stored_at(mut self, url: &str) -> Self {
        self.storage = Some(url.to_owned());
        self
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(format!("Bearer {token}"));
        self
    }

    pub(crate) fn failing(mut self, status: u16) -> Self {
        self.failing = Some(status);
        self
    }

    pub(crate) async fn serve(self) -> Serving {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (server, log) = (Arc::new(self), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (server, log) = (Arc::clone(&server), Arc::clone(&log));
                connections.spawn(async move {
                    let answer = service_fn(|request| {
                        let answer = server.answer(&request, &mut log.lock().unwrap());
                        async { Ok::<_, Infallible>(answer) }
                    });
                    // A cut connection ends in an error here, too.
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Serving { url, seen, task }
    }

    fn answer(&self, request: &Request<Incoming>, seen: &mut Seen) -> Response<Sent> {
        let status = |code: u16| {
            let response = Response::builder().status(code).header("retry-after", "7");
            response.body(Sent::default()).unwrap()
        };
        let header = |name: &str| Some(request.headers().get(name)?.to_str().unwrap().to_owned());
        let token = header("authorization");
        seen.tokens += usize::from(token.is_some());
        if let Some(code) = self.failing {
            return status(code);
        }
        if self.token.is_some() && token != self.token {
            return status(401);
        }
        let path = request.uri().path();
        if path.starts_with("/api/models/owner/name/revision/") {
            let names: Vec<String> =
                self.files.keys().map(|name| format!("{{\"rfilename\": {name:?}}}")).collect();
            let body =
                format!("{{\"sha\": {:?}, \"siblings\": [{}]}}", self.commit, names.join(","));
            return Response::new(Sent { bytes: Some(body.into()), broken: false });
        }
        let name = path.strip_prefix(&format!("/owner/name/resolve/{}/", self.commit));
        let Some(file) = name.and_then(|name| self.files.get(name)) else { return status(404) };
        let mut response = Response::builder();
        if let Some(storage) = self.storage.as_ref().filter(|_| file.large) {
            response = response
                .status(StatusCode::FOUND)
                .header("location", format!("{storage}{path}"))
                .header("x-linked-etag", format!("\"{}\"", file.etag))
                .header("x-linked-size", file.bytes.len());
            return response.body(Sent::default()).unwrap();
        }
        response = response.header("etag", format!("\"{}\"", file.etag));
        if request.method() == Method::HEAD {
            let response = response.header("content-length", file.bytes.len());
            return response.body(Sent::default()).unwrap();
        }
        let range = header("range");
        seen.ranges.push(range.clone());
        let begin = range.map_or(0, |range| {
            range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
        });
        let Some(rest) = file.bytes.get(begin..) else { return status(416) };
        if begin > 0 {
            let len = file.bytes.len();
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header("content-range", format!("bytes {begin}-{}/{len}", len - 1));
        }
        let sent = &rest[..rest.len().min(file.most)];
        // More is announced than is sent, if the connection is to break.
        let response = response.header("content-length", rest.len());
        let broken = sent.len() < rest.len();
        let bytes = Some(Bytes::copy_from_slice(sent)).filter(|bytes| !bytes.is_empty());
        response.body(Sent { bytes, broken }).unwrap()
    }
}

/// A body, after which the connection may break.
#[derive(Debug, Default)]
struct Sent {
    bytes: Option<Bytes>,
    broken: bool,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match std::mem::take(&mut self.broken) {
            false => Poll::Ready(None),
            true => {
                // What was sent has to leave first: another turn comes before the end.
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Serving {
    /// How many bodies of files were asked for.
    pub(crate) fn downloads(&self) -> usize {
        self.seen.lock().unwrap().ranges.len()
    }

    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.seen.lock().unwrap().ranges.clone()
    }

    /// How many requests had a token.
    pub(crate) fn tokens(&self) -> usize {
        self.seen.lock().unwrap().tokens
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}
