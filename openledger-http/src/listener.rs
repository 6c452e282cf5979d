//! A port, and the loop that serves it.

use std::{
    convert::Infallible, error::Error as StdError, future::Future, net::SocketAddr, pin::pin,
    sync::Arc, time::Duration,
};

use http_body::Body;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use openledger_core::{Error, ErrorKind, Result};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

use crate::{Limits, patient::Patient};

/// Who sent a request: an extension of each one that a [`Listener`] hands on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an address and nothing else")]
pub struct Peer(pub SocketAddr);

/// A port that is taken and not served yet.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes a port; port 0 takes a free one. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the port is taken or not ours to take.
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let cannot = |e: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("listen on {address}")).with_source(e)
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Self { listener, address })
    }

    /// Returns the address taken.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where clients find it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers requests until `stop` is ready; then takes no more connections and waits for the
    /// answers under way, at most as long as the limits say. Needs a tokio runtime with time and I/O.
    ///
    /// An answer's future and body are dropped when its client is gone, when it took too long at the end, and with
    /// this future.
    pub async fn serve_until<A, F, B>(
        self,
        limits: Limits,
        answer: A,
        stop: impl Future<Output = ()>,
    ) where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let open = Arc::new(Semaphore::new(limits.connections));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = async {
                let permit = Arc::clone(&open).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, stream, peer) = tokio::select! {
                () = &mut stop => break,
                (permit, accepted) = accepted => match accepted {
                    Ok((stream, peer)) => (permit, stream, peer),
                    // Out of files, or the client is gone: neither ends the server.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            // Answers are written whole or token by token; nothing is gained by waiting for more.
            let _ = stream.set_nodelay(true);
            let answer = answer.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer));
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head_time)
                .max_buf_size(limits.head.max(8192))
                .max_headers(limits.headers)
                .serve_connection(Patient::new(TokioIo::new(stream), limits.write_time), service);
            let connection = graceful.watch(connection);
            // Those that are over take no memory.
            while connections.try_join_next().is_some() {}
            connections.spawn(async move {
                // A connection that breaks is the client's affair.
                let _ = connection.await;
                drop(permit);
            });
        }
        drop(self.listener);
        let _ = tokio::time::timeout(limits.drain_time, graceful.shutdown()).await;
    }
}
