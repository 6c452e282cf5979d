//! An embedded chain on loopback, for wallets and tools that speak JSON-RPC over HTTP.
//!
//!   wallet, cast, ethers ──HTTP──▶ Devnet ──▶ Embedded ◀── your code, in the process

mod http;
mod text;

use std::{future::Future, net::SocketAddr};

use openledger_core::{B256, Error, Key, Result, keccak256};
use openledger_http::{Limits, Listener};

use crate::Embedded;

/// Connections served at once; more wait.
const CONNECTIONS: usize = 512;

/// A server of JSON-RPC that is bound to a port and not serving yet.
///
/// Whoever reaches the port can do everything with the chain: it has no passwords, so it takes
/// loopback addresses only.
#[derive(Debug)]
pub struct Devnet {
    listener: Listener,
    chain: Embedded,
}

impl Devnet {
    /// Takes a port; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for an address that is not
    /// loopback; those of [`Listener::bind`].
    pub async fn bind(address: SocketAddr, chain: Embedded) -> Result<Self> {
        if !address.ip().is_loopback() {
            let message = format!("{address} is not loopback; this node obeys whoever reaches it");
            return Err(Error::invalid(message));
        }
        Ok(Self { listener: Listener::bind(address).await?, chain })
    }

    /// Returns where clients find it.
    pub fn url(&self) -> String {
        self.listener.url()
    }

    /// Serves until `stop` is ready, then lets the answers under way finish. Needs a tokio runtime
    /// with time and I/O.
    pub async fn serve_until(self, stop: impl Future<Output = ()>) {
        let Self { listener, chain } = self;
        let limits = Limits::default().with_connections(CONNECTIONS);
        let answer = move |request| http::answer(chain.clone(), request);
        listener.serve_until(limits, answer, stop).await;
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
