//! An EVM in the process: the transactions, gas and logs of a real node, without one.
//!
//! [`Embedded`] is an alloy *transport*: the same client code runs on it and on a node behind HTTP.
//! Each transaction is a block of its own, one second after the last unless told otherwise; time is
//! never read from a clock. State roots are zero, so there is no `eth_getProof`.

mod chain;
mod rpc;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use alloy::{
    rpc::json_rpc::{RequestPacket, Response, ResponsePacket, SerializedRequest},
    transports::{TransportError, TransportFut},
};
use openledger_core::{Address, U256};
use tower::Service;

use chain::Chain;

/// How an embedded chain begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Genesis {
    /// The chain's id.
    pub chain_id: u64,
    /// Unix time of the first block.
    pub timestamp: u64,
    /// Accounts and their native coins.
    pub balances: Vec<(Address, U256)>,
}

impl Default for Genesis {
    /// Chain 31337, the id development nodes have: nothing signed here counts on a real network.
    fn default() -> Self {
        Self { chain_id: 31337, timestamp: 1_800_000_000, balances: Vec::new() }
    }
}

impl Genesis {
    /// Returns this with another chain id.
    #[must_use]
    pub const fn with_chain_id(mut self, chain_id: u64) -> Self {
        self.chain_id = chain_id;
        self
    }

    /// Returns this with another time of the first block.
    #[must_use]
    pub const fn with_timestamp(mut self, timestamp: u64) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Returns this with a million native coins for each of `accounts`.
    #[must_use]
    pub fn with_funded(mut self, accounts: impl IntoIterator<Item = Address>) -> Self {
        let million = U256::from(10).pow(U256::from(24));
        self.balances.extend(accounts.into_iter().map(|account| (account, million)));
        self
    }
}

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
    chain: Arc<Mutex<Chain>>,
}

impl Embedded {
    /// Begins a chain.
    pub fn new(genesis: &Genesis) -> Self {
        Self { chain: Arc::new(Mutex::new(Chain::new(genesis))) }
    }

    fn answer(&self, request: SerializedRequest) -> Response {
        // A panic inside the EVM would be a bug of the EVM; the chain's data is still whole,
        // because state is committed in one step.
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let payload = rpc::answer(&mut chain, request.method(), request.params());
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
