//! An embedded chain on loopback, for wallets and tools that speak JSON-RPC over HTTP.
//!
//!   wallet, cast, ethers ──HTTP──▶ Devnet ──▶ Embedded ◀── your code, in the process

mod http;
mod text;

use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use openledger_core::{B256, Error, ErrorKind, Key, Result, keccak256};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::Embedded;

/// Connections served at once; more wait.
const CONNECTIONS: usize = 512;
/// How long a client may take to send a request's head, and how long answers under way are waited
/// for at the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server of JSON-RPC that is bound to a port and not serving yet.
///
/// Whoever reaches the port can do everything with the chain: it has no passwords, so it takes
/// loopback addresses only.
#[derive(Debug)]
pub struct Devnet {
    listener: TcpListener,
    address: SocketAddr,
    chain: Embedded,
}

impl Devnet {
    /// Takes a port; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an address that is not loopback; [`ErrorKind::Unavailable`] if
    /// the port is taken.
    pub async fn bind(address: SocketAddr, chain: Embedded) -> Result<Self> {
        if !address.ip().is_loopback() {
            let message = format!("{address} is not loopback; this node obeys whoever reaches it");
            return Err(Error::invalid(message));
        }
        let cannot = |e: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("listen on {address}")).with_source(e)
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Self { listener, address, chain })
    }

    /// Returns where clients find it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until `stop` is ready, then lets the answers under way finish. Needs a tokio runtime
    /// with time and I/O.
    pub async fn serve_until(self, stop: impl Future<Output = ()>) {
        let Self { listener, chain, .. } = self;
        let open = Arc::new(Semaphore::new(CONNECTIONS));
        let graceful = GracefulShutdown::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = async {
                let permit = Arc::clone(&open).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, stream) = tokio::select! {
                () = &mut stop => break,
                (permit, accepted) = accepted => match accepted {
                    Ok((stream, _)) => (permit, stream),
                    // Out of files, or the client is gone: neither ends the server.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            // An answer is one small write; nothing is gained by waiting for more.
            let _ = stream.set_nodelay(true);
            let chain = chain.clone();
            let service = service_fn(move |request| http::answer(chain.clone(), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                // A connection that breaks is the client's affair.
                let _ = connection.await;
                drop(permit);
            });
        }
        drop(listener);
        let _ = tokio::time::timeout(PATIENCE, graceful.shutdown()).await;
    }
}

/// Returns the key of a developers' account: the Keccak-256 of `openledger devnet account INDEX`.
///
/// Everybody can compute it. Whatever is sent to it on a real network is lost at once.
///
/// # Examples
/// ```
/// use openledger_chain::devnet_key;
///
/// assert_eq!(devnet_key(0).address(), devnet_key(0).address());
/// assert_ne!(devnet_key(0).address(), devnet_key(1).address());
/// ```
pub fn devnet_key(index: u32) -> Key {
    // One hash in 2^128 is no key; then the next one is.
    let mut seed: B256 = keccak256(format!("openledger devnet account {index}"));
    loop {
        match Key::from_bytes(seed) {
            Ok(key) => return key,
            Err(_) => seed = keccak256(seed),
        }
    }
}
