//! A coordinator on a port.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use openledger_core::{
    Address, Error, ErrorKind, Result,
    message::{LocalUpdate, Signed},
};
use openledger_train::federated::Host;
use tokio::{net::TcpListener, sync::Semaphore, task::spawn_blocking};

use crate::wire;

/// How often the deadline of a round is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What a server bears.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections served at once; more wait.
    pub connections: usize,
    /// How long a client may take to send a request's head, and how long answers under way are waited for at
    /// the end.
    pub patience: Duration,
    /// How long a client may take to send an update.
    pub body: Duration,
}

impl Default for Limits {
    /// 256 connections, ten seconds, and two minutes.
    fn default() -> Self {
        Self { connections: 256, patience: Duration::from_secs(10), body: Duration::from_secs(120) }
    }
}

impl Limits {
    /// Returns this with other times: for a head, and for an update.
    #[must_use]
    pub const fn with_times(mut self, patience: Duration, body: Duration) -> Self {
        (self.patience, self.body) = (patience, body);
        self
    }

    /// Returns this with another number of connections.
    #[must_use]
    pub const fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }
}

/// A run that is bound to a port and not served yet.
///
/// | request | answer |
/// |---|---|
/// | `GET /v1/round` | where the run stands, JSON |
/// | `GET /v1/matrices/DIGEST` | the round's matrices, safetensors |
/// | `POST /v1/claims`, header `openledger-update` | 204 if the update may be sent |
/// | `POST /v1/updates`, that header and the update's bytes | 204 once it is taken |
///
/// The header holds the signed message as JSON. Signature, sender, round and claims are checked before a byte
/// of an update is read; each worker sends one update at a time, none larger than the run's. So memory is
/// bounded by the number of workers invited. There are no passwords and no secrets: matrices can be read by
/// whoever reaches the port. It speaks plain HTTP; on an open network put a proxy with TLS before it, because
/// whoever can change the traffic can keep updates from arriving (though not forge them).
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    host: Host,
    limits: Limits,
}

impl Server {
    /// Takes a port; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the port is taken.
    pub async fn bind(address: SocketAddr, host: Host) -> Result<Self> {
        let cannot = |e: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("listen on {address}")).with_source(e)
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Self { listener, address, host, limits: Limits::default() })
    }

    /// Sets what it bears.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns where workers find it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until `stop` is ready, then lets the answers under way finish; closes rounds meanwhile. Needs a
    /// tokio runtime with time and I/O.
    pub async fn serve_until(self, stop: impl Future<Output = ()>) {
        let Self { listener, host, limits, .. } = self;
        let open = Arc::new(Semaphore::new(limits.connections));
        let desk = Desk { host, limits, sending: Arc::default() };
        let graceful = GracefulShutdown::new();
        let mut tick = tokio::time::interval(TICK);
        let mut stop = pin!(stop);
        loop {
            let accepted = async {
                let permit = Arc::clone(&open).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, stream) = tokio::select! {
                () = &mut stop => break,
                _ = tick.tick() => {
                    desk.poll();
                    continue;
                }
                (permit, accepted) = accepted => match accepted {
                    Ok((stream, _)) => (permit, stream),
                    // Out of files, or the client is gone: neither ends the server.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            // An answer is one small write or one large one; nothing is gained by waiting for more.
            let _ = stream.set_nodelay(true);
            let desk = desk.clone();
            let service = service_fn(move |request| desk.clone().answer(request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.patience)
                .serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                // A connection that breaks is the client's affair.
                let _ = connection.await;
                drop(permit);
            });
        }
        drop(listener);
        let _ = tokio::time::timeout(limits.patience, graceful.shutdown()).await;
    }
}

/// What answers requests.
#[derive(Clone)]
struct Desk {
    host: Host,
    limits: Limits,
    sending: Arc<Mutex<BTreeSet<Address>>>,
}

impl Desk {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let answered = match (request.method(), path.as_str()) {
            (&Method::GET, wire::ROUND) => self.round(),
            (&Method::GET, path) if path.starts_with(wire::MATRICES) => {
                self.matrices(&path[wire::MATRICES.len()..])
            }
            (&Method::POST, wire::CLAIMS) => self.claim(&request).map(|_| nothing()),
            (&Method::POST, wire::UPDATES) => self.update(request).await,
            _ => Err(Error::new(ErrorKind::NotFound, "no such request; see the documentation")),
        };
        Ok(answered.unwrap_or_else(|e| {
            let mut response = Response::new(Full::new(e.report().into()));
            *response.status_mut() = wire::status(e.kind());
            response
        }))
    }

    fn round(&self) -> Result<Response<Full<Bytes>>> {
        let json = serde_json::to_vec(self.host.gate().round())
            .map_err(|e| Error::invalid("a round that is no JSON").with_source(e))?;
        Ok(whole(json.into(), "application/json"))
    }

    fn matrices(&self, digest: &str) -> Result<Response<Full<Bytes>>> {
        let gate = self.host.gate();
        match format!("{:?}", gate.round().start) == digest {
            true => Ok(whole(gate.matrices().0.clone(), "application/octet-stream")),
            false => Err(Error::new(ErrorKind::NotFound, "no such matrices: that round is over")),
        }
    }

    /// Checks the header of a request.
    fn claim(&self, request: &Request<Incoming>) -> Result<Signed<LocalUpdate>> {
        let header = request.headers().get(wire::SIGNED).ok_or_else(|| {
            Error::invalid(format!(
                "the header `{}` with the signed message is missing",
                wire::SIGNED
            ))
        })?;
        if header.len() > wire::SMALL {
            let message = format!("a signed message of more than {} bytes", wire::SMALL);
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let update = serde_json::from_slice(header.as_bytes())
            .map_err(|e| Error::invalid("not a signed message").with_source(e))?;
        self.host.check(&update)?;
        Ok(update)
    }

    async fn update(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let update = self.claim(&request)?;
        let _turn = Sending::begin(&self.sending, update.unverified().worker)?;
        let size = self.host.gate().round().size;
        let body = wire::read(request.into_body(), size);
        let bytes = tokio::time::timeout(self.limits.body, body)
            .await
            .map_err(|_| Error::new(ErrorKind::Unavailable, "the update did not come in time"))??;
        let host = self.host.clone();
        // Hashing takes its time, and a round that is closing is waited for.
        let taken = spawn_blocking(move || host.accept(update, bytes.into())).await;
        taken.map_err(|e| {
            Error::new(ErrorKind::Unavailable, "the coordinator failed").with_source(e)
        })??;
        self.poll();
        Ok(nothing())
    }

    /// Closes the round if it is time, on a thread of its own.
    fn poll(&self) {
        let host = self.host.clone();
        drop(spawn_blocking(move || host.poll()));
    }
}

/// A worker that is sending, until dropped.
struct Sending {
    all: Arc<Mutex<BTreeSet<Address>>>,
    worker: Address,
}

impl Sending {
    fn begin(all: &Arc<Mutex<BTreeSet<Address>>>, worker: Address) -> Result<Self> {
        if !all.lock().unwrap_or_else(PoisonError::into_inner).insert(worker) {
            let message = format!("{worker} is sending an update already");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(Self { all: Arc::clone(all), worker })
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.worker);
    }
}

fn whole(body: Bytes, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn nothing() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
