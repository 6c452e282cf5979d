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
mod log;
mod logs;
mod node;
mod op;
mod proof;
mod rpc;
mod state;
mod transaction;
mod wal;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use alloy::{
    rpc::json_rpc::{ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload},
    transports::{TransportError, TransportFut},
};
use openledger_core::{Address, B256, Error, ErrorKind, Result};
use serde_json::value::RawValue;
use tower::Service;

pub use genesis::Genesis;
use node::{Done, Node};
use op::Op;

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

/// What an embedded chain was at some moment, see [`Embedded::snapshot`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Snapshot {
    id: u64,
    head: B256,
}

impl Embedded {
    /// Begins a chain in memory.
    pub fn new(genesis: &Genesis) -> Self {
        Self::of(Node::new(genesis))
    }

    /// Opens the chain whose log is at `path`, or begins one there.
    ///
    /// Every change is on disk before it is acknowledged, and execution is deterministic: killed
    /// at any moment, the chain is the same again, with everything that was acknowledged.
    /// Opening repeats its whole history.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](openledger_core::ErrorKind::Conflict) if the log is open already,
    /// or began with another genesis; [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt)
    /// with the offset in the file of what is wrong;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    ///
    /// # Examples
    /// ```
    /// use openledger_chain::{Embedded, Genesis};
    ///
    /// let place = tempfile::tempdir()?;
    /// let log = place.path().join("chain.wal");
    /// let chain = Embedded::open(&log, &Genesis::default())?;
    /// assert!(Embedded::open(&log, &Genesis::default()).is_err(), "one process at a time");
    /// drop(chain);
    /// assert!(Embedded::open(&log, &Genesis::default().with_chain_id(1)).is_err());
    /// assert!(Embedded::open(&log, &Genesis::default()).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>, genesis: &Genesis) -> Result<Self> {
        Node::open(path.as_ref(), genesis).map(Self::of)
    }

    /// Remembers the chain as it is; that costs nothing, however long the chain.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable) if a durable chain
    /// cannot write its log.
    ///
    /// # Examples
    /// ```
    /// use openledger_chain::{Embedded, Genesis};
    ///
    /// let chain = Embedded::new(&Genesis::default());
    /// let before = chain.snapshot()?;
    /// chain.restore(before)?;
    /// chain.restore(before)?; // as often as one likes
    /// # Ok::<(), openledger_core::Error>(())
    /// ```
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut node = self.lock();
        let head = node.chain.latest().hash;
        match apply(&mut node, &Op::Snapshot)? {
            Done::Taken(id) => Ok(Snapshot { id, head }),
            done => Err(Error::corrupt(format!("a snapshot came to {done:?}"))),
        }
    }

    /// Makes the chain what it was, backwards or forwards. The snapshot stays.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](openledger_core::ErrorKind::NotFound) if the snapshot is not one of
    /// this chain, or `evm_revert` made it forget it; as [`snapshot`](Self::snapshot).
    pub fn restore(&self, snapshot: Snapshot) -> Result<()> {
        let mut node = self.lock();
        let Snapshot { id, head } = snapshot;
        if node.snapshot(id).is_none_or(|chain| chain.latest().hash != head) {
            let message = format!("this chain has no snapshot {id} at block {head}");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        apply(&mut node, &Op::Restore { id, forget: false }).map(drop)
    }

    /// Lets everybody who speaks to this chain send for these accounts, without a key.
    pub fn impersonate(&self, accounts: impl IntoIterator<Item = Address>) {
        self.lock().acting.accounts.extend(accounts);
    }

    /// Keeps the time of blocks to come from falling behind `clock`, which tells Unix time.
    pub fn follow(&self, clock: impl Fn() -> u64 + Send + Sync + 'static) {
        self.lock().follow(Arc::new(clock));
    }

    fn of(node: Node) -> Self {
        Self { node: Arc::new(Mutex::new(node)) }
    }

    fn lock(&self) -> MutexGuard<'_, Node> {
        // A panic inside the EVM would be a bug of the EVM; the chain's data is still whole,
        // because state is committed in one step.
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers requests in their order, and returns when what they did is durable. Once the answers
    /// have more than `most` bytes, what is left is refused and not done.
    pub(crate) fn answer<'a>(
        &self,
        requests: impl Iterator<Item = (&'a str, Option<&'a RawValue>)>,
        most: usize,
    ) -> Vec<ResponsePayload> {
        let mut node = self.lock();
        let mut size = 0usize;
        let answers = requests.map(|(method, params)| {
            if size > most {
                return ResponsePayload::Failure(too_large(most));
            }
            let answer = rpc::answer(&mut node, method, params);
            size = size.saturating_add(match &answer {
                ResponsePayload::Success(result) => result.get().len(),
                ResponsePayload::Failure(error) => {
                    error.message.len() + error.data.as_ref().map_or(0, |data| data.get().len())
                }
            });
            answer
        });
        let mut answers: Vec<_> = answers.collect();
        if let Err(failure) = node.flush() {
            let error = ErrorPayload::from(failure);
            answers.fill_with(|| ResponsePayload::Failure(error.clone()));
        }
        answers
    }
}

/// As geth refuses the rest of a batch.
fn too_large(most: usize) -> ErrorPayload {
    let message = format!("the answers before this one have more than {most} bytes; ask again");
    ErrorPayload { code: -32_003, message: message.into(), data: None }
}

fn apply(node: &mut Node, op: &Op) -> Result<Done> {
    let done = node.apply(op).and_then(|done| node.flush().map(|()| done));
    done.map_err(|failure| {
        let ErrorPayload { message, .. } = failure.into();
        Error::new(ErrorKind::Unavailable, message)
    })
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
            let requests = match &packet {
                RequestPacket::Single(request) => std::slice::from_ref(request),
                RequestPacket::Batch(requests) => requests.as_slice(),
            };
            let asked = requests.iter().map(|request| (request.method(), request.params()));
            let answers = requests
                .iter()
                .zip(this.answer(asked, usize::MAX))
                .map(|(request, payload)| Response { id: request.id().clone(), payload });
            let mut answers: Vec<Response> = answers.collect();
            Ok(match (&packet, answers.pop()) {
                (RequestPacket::Single(_), Some(only)) => ResponsePacket::Single(only),
                (_, last) => {
                    answers.extend(last);
                    ResponsePacket::Batch(answers)
                }
            })
        })
    }
}

/// Reads a log as opening it does; returns how many records are whole and where they end.
///
/// # Errors
/// As [`Embedded::open`], for its format alone.
#[cfg(feature = "testing")]
pub fn read_log(bytes: &[u8], genesis: &Genesis) -> Result<(u64, u64)> {
    let mut reader = wal::Reader::new(bytes, genesis.hash())?;
    let mut records = 0;
    while let wal::Next::Record(_) = reader.next()? {
        records += 1;
    }
    Ok((records, reader.offset()))
}
