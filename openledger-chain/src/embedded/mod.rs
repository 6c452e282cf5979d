//! An EVM in the process: the transactions, gas and logs of a real node, without one.
//!
//! [`Embedded`] is an alloy *transport*: the same client code runs on it and on a node behind HTTP.
//! Each transaction is a block of its own, one second after the last unless told otherwise; time is
//! never read from a clock. The states of the last 256 blocks are kept: for calls in the past, for
//! going back, and for proofs, whose roots stand in headers only if the [`Genesis`] says so.

mod block;
mod chain;
mod failure;
mod filter;
mod genesis;
mod logs;
mod node;
mod op;
mod proof;
mod rpc;
mod state;
mod transaction;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use alloy::{
    rpc::json_rpc::{RequestPacket, Response, ResponsePacket, SerializedRequest},
    transports::{TransportError, TransportFut},
};
use tower::Service;

pub use genesis::Genesis;
use node::Node;

/// A handle on an embedded chain; clones share it.
///
/// # Examples
/// ```
/// use alloy::{providers::{Provider, ProviderBuilder}, rpc::client::RpcClient};
/// use openledger_chain::{Embedded, Genesis};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let chain = Embedded::new(&Genesis::default());
/// let provider = ProviderBuilder::new().connect_client(RpcClient::new(chain, true));
/// assert_eq!(provider.get_chain_id().await?, 31337);
/// assert_eq!(provider.get_block_number().await?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Embedded {
    node: Arc<Mutex<Node>>,
}

impl Embedded {
    /// Begins a chain.
    pub fn new(genesis: &Genesis) -> Self {
        Self { node: Arc::new(Mutex::new(Node::new(genesis))) }
    }

    fn answer(&self, request: SerializedRequest) -> Response {
        // A panic inside the EVM would be a bug of the EVM; the chain's data is still whole,
        // because state is committed in one step.
        let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
        let payload = rpc::answer(&mut node, request.method(), request.params());
        let (meta, _) = request.decompose();
        Response { id: meta.id, payload }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl Service<RequestPacket> for Embedded {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> TransportFut<'static> {
        let this = self.clone();
        Box::pin(async move {
            Ok(match packet {
                RequestPacket::Single(request) => ResponsePacket::Single(this.answer(request)),
                RequestPacket::Batch(requests) => ResponsePacket::Batch(
                    requests.into_iter().map(|request| this.answer(request)).collect(),
                ),
            })
        })
    }
}
