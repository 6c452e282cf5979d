//! A server of files on loopback.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    convert::Infallible,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

/// What is served.
#[derive(Debug, Default)]
pub(crate) struct Server {
    files: BTreeMap<String, Vec<u8>>,
    later: BTreeMap<String, Vec<u8>>,
    status: Option<u16>,
    endless: bool,
    gets: Vec<String>,
    sent: Arc<AtomicUsize>,
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) url: String,
    server: Arc<Mutex<Server>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers everything with a status.
    pub(crate) fn failing(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// Answers everything with bytes that do not end.
    pub(crate) fn endless() -> Self {
        Self { endless: true, ..Self::default() }
    }

    pub(crate) fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), bytes);
    }

    /// Another file takes the place of the one at `path` once it was asked about.
    pub(crate) fn change_after_head(&mut self, path: &str, bytes: Vec<u8>) {
        self.later.insert(path.to_owned(), bytes);
    }

    pub(crate) async fn serve(self) -> Serving {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Arc::new(Mutex::new(self));
        let shared = Arc::clone(&server);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&shared);
                connections.spawn(async move {
                    let answer = service_fn(|request| {
                        let answer = server.lock().unwrap().answer(&request);
                        async { Ok::<_, Infallible>(answer) }
                    });
                    // A client that has enough leaves.
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Serving { url, server, task }
    }

    fn answer(&mut self, request: &Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
        let body = |bytes: Vec<u8>| Full::new(Bytes::from(bytes)).boxed();
        let path = request.uri().path().to_owned();
        let status = self.status.unwrap_or(200);
        if status != 200 {
            let answer = Response::builder().status(status).header("location", "http://elsewhere/");
            return answer.body(body(Vec::new())).unwrap();
        }
        let head = request.method() == Method::HEAD;
        if !head {
            self.gets.push(path.clone());
        }
        if self.endless {
            return Response::new(if head { body(Vec::new()) } else { Endless.boxed() });
        }
        let Some(bytes) = self.files.get(&path).cloned() else {
            return Response::builder().status(404).body(body(Vec::new())).unwrap();
        };
        if let Some(later) = self.later.remove(&path).filter(|_| head) {
            self.files.insert(path, later);
        }
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        // Of 40 digits, as git's are.
        let etag = format!("\"{:040x}\"", hasher.finish());
        let answer = Response::builder().header("etag", etag);
        match head {
            true => answer.header("content-length", bytes.len()).body(body(Vec::new())).unwrap(),
            false => {
                let sent = Arc::clone(&self.sent);
                answer.body(Counted { rest: bytes.into(), sent }.boxed()).unwrap()
            }
        }
    }
}

/// A file, a piece at a time as the connection takes them.
struct Counted {
    rest: Bytes,
    sent: Arc<AtomicUsize>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.rest.len().min(65_536);
        let piece = self.rest.split_to(len);
        self.sent.fetch_add(len, Ordering::Relaxed);
        std::task::Poll::Ready((len > 0).then(|| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// Zeros for ever.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 65_536])))))
    }
}

impl Serving {
    /// The paths of files that were asked for.
    pub(crate) fn gets(&self) -> Vec<String> {
        self.server.lock().unwrap().gets.clone()
    }

    /// Bytes of files that left.
    pub(crate) fn sent(&self) -> usize {
        self.server.lock().unwrap().sent.load(Ordering::Relaxed)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}
