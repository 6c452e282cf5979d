//! A coordinator on a port.

use std::{
    collections::BTreeSet,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
};
use openledger_core::{
    Address, Error, ErrorKind, Result,
    message::{LocalUpdate, Signed},
};
use openledger_http::{Limits, Listener};
use openledger_train::federated::Host;
use tokio::task::spawn_blocking;

use crate::wire;

/// How often the deadline of a round is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a worker may take to send an update, unless told.
const PATIENCE: Duration = Duration::from_secs(120);

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
    listener: Listener,
    host: Host,
    limits: Limits,
    patience: Duration,
}

impl Server {
    /// Takes a port; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the port is taken.
    pub async fn bind(address: SocketAddr, host: Host) -> Result<Self> {
        let listener = Listener::bind(address).await?;
        Ok(Self { listener, host, limits: Limits::default(), patience: PATIENCE })
    }

    /// Sets what it bears of its clients.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Waits so long for the bytes of an update, two minutes unless told.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Returns where workers find it.
    pub fn url(&self) -> String {
        self.listener.url()
    }

    /// Serves until `stop` is ready, then lets the answers under way finish; closes rounds meanwhile. Needs a
    /// tokio runtime with time and I/O.
    pub async fn serve_until(self, stop: impl Future<Output = ()>) {
        let Self { listener, host, limits, patience } = self;
        let desk = Desk { host, patience, sending: Arc::default() };
        let closing = desk.clone();
        let close_rounds = async move {
            let mut tick = tokio::time::interval(TICK);
            loop {
                tick.tick().await;
                closing.poll();
            }
        };
        let answer = move |request| desk.clone().answer(request);
        tokio::select! {
            () = listener.serve_until(limits, answer, stop) => {}
            () = close_rounds => {}
        }
    }
}

/// What answers requests.
#[derive(Clone)]
struct Desk {
    host: Host,
    patience: Duration,
    sending: Arc<Mutex<BTreeSet<Address>>>,
}

impl Desk {
    async fn answer(self, request: Request<Incoming>) -> Response<Full<Bytes>> {
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
        answered.unwrap_or_else(|e| {
            let mut response = Response::new(Full::new(e.report().into()));
            *response.status_mut() = wire::status(e.kind());
            response
        })
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
        let bytes = openledger_http::read(request.into_body(), size, self.patience).await?;
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
