//! A transport between client and node that drops, delays, doubles and lies, request by request.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    rpc::json_rpc::{
        ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest,
    },
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use serde_json::value::RawValue;
use tower::{Layer, Service};

/// What happens to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection breaks before the node gets it.
    DropBefore,
    /// The node gets it, and the connection breaks before the answer.
    DropAfter,
    /// The node does not get it; a proxy answers with this HTTP status.
    Status(u16),
    /// The node answers after this time.
    Delay(Duration),
    /// The node gets it, and its answer is cut off.
    CutOff,
    /// The node gets it, and the answer is JSON, but of another kind.
    Garbage,
    /// The node gets it twice; its second answer is the answer.
    Twice,
    /// The node refuses with this code and these words.
    Refuse(i64, String),
    /// The node gets it and says it has nothing: no receipt, no block.
    Withhold,
    /// The client dies, or waits forever, before the node gets it.
    HangBefore,
    /// The client dies, or waits forever, after the node has got it.
    HangAfter,
}

impl Fault {
    /// As geth refuses a transaction with a nonce that was used.
    pub fn nonce_too_low() -> Self {
        Self::Refuse(-32000, "nonce too low: next nonce 1, tx nonce 0".to_owned())
    }

    /// As geth refuses a transaction in place of a dearer one.
    pub fn replacement_underpriced() -> Self {
        Self::Refuse(-32000, "replacement transaction underpriced".to_owned())
    }
}

/// A request as the script sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// How many came before it.
    pub number: usize,
    /// The method.
    pub method: &'a str,
    /// The parameters, as JSON.
    pub params: &'a str,
}

type Script = Box<dyn FnMut(Asked<'_>) -> Option<Fault> + Send>;

/// A script of faults, and what was asked under it; a [`Layer`] over any transport. Clones share
/// both.
///
/// # Examples
/// ```
/// use alloy::{providers::{Provider, ProviderBuilder}, rpc::client::RpcClient};
/// use openledger_chain::{Embedded, Genesis, testing::{Fault, Faults}};
/// use tower::Layer;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let faults = Faults::at(0, Fault::Status(503));
/// let node = faults.layer(Embedded::new(&Genesis::default()));
/// let provider = ProviderBuilder::new().connect_client(RpcClient::new(node, true));
/// assert!(provider.get_block_number().await.is_err());
/// assert_eq!(provider.get_block_number().await?, 0);
/// assert_eq!(faults.asked(), ["eth_blockNumber", "eth_blockNumber"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Faults(Arc<Mutex<State>>);

struct State {
    script: Script,
    asked: Vec<String>,
    hung: bool,
}

impl Faults {
    /// Asks `script` about every request.
    pub fn new(script: impl FnMut(Asked<'_>) -> Option<Fault> + Send + 'static) -> Self {
        let script: Script = Box::new(script);
        Self(Arc::new(Mutex::new(State { script, asked: Vec::new(), hung: false })))
    }

    /// Lets everything pass.
    pub fn none() -> Self {
        Self::new(|_| None)
    }

    /// Fails the request that comes after `number` others.
    pub fn at(number: usize, fault: Fault) -> Self {
        Self::new(move |asked| (asked.number == number).then(|| fault.clone()))
    }

    /// Fails the first `times` requests for `method`.
    pub fn first(times: usize, method: &'static str, fault: Fault) -> Self {
        let mut left = times;
        Self::new(move |asked| {
            let fails = asked.method == method && left > 0;
            left -= usize::from(fails);
            fails.then(|| fault.clone())
        })
    }

    /// Goes on with another script; requests are counted from zero again.
    pub fn rewrite(&self, script: impl FnMut(Asked<'_>) -> Option<Fault> + Send + 'static) {
        let mut state = self.state();
        state.script = Box::new(script);
        state.asked.clear();
        state.hung = false;
    }

    /// Returns the methods asked for.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Returns whether a request hangs: whoever waits for it can be dropped now, as a process that
    /// is killed drops it.
    pub fn hung(&self) -> bool {
        self.state().hung
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, request: &SerializedRequest) -> Option<Fault> {
        let mut state = self.state();
        let number = state.asked.len();
        state.asked.push(request.method().to_owned());
        let params = request.params().map_or("[]", |params| params.get());
        let fault = (state.script)(Asked { number, method: request.method(), params });
        state.hung |= matches!(fault, Some(Fault::HangBefore | Fault::HangAfter));
        fault
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("asked", &self.state().asked.len()).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Faults {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, faults: self.clone() }
    }
}

/// A transport under a script of [`Faults`].
#[derive(Clone, Debug)]
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
}

impl<S> Service<RequestPacket> for Faulty<S>
where
    S: Service<
            RequestPacket,
            Response = ResponsePacket,
            Error = TransportError,
            Future = TransportFut<'static>,
        > + Clone
        + Send
        + 'static,
{
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, packet: RequestPacket) -> TransportFut<'static> {
        let (faults, mut inner) = (self.faults.clone(), self.inner.clone());
        Box::pin(async move {
            // The faults of a batch are those of its first request.
            let first = match &packet {
                RequestPacket::Single(request) => Some(request),
                RequestPacket::Batch(requests) => requests.first(),
            };
            let Some(fault) = first.and_then(|request| faults.decide(request)) else {
                return inner.call(packet).await;
            };
            let broken = || TransportErrorKind::custom_str("connection reset by peer");
            match fault {
                Fault::DropBefore => Err(broken()),
                Fault::DropAfter => {
                    inner.call(packet).await?;
                    Err(broken())
                }
                Fault::Status(status) => {
                    Err(TransportErrorKind::http_error(status, "try later".to_owned()))
                }
                Fault::Delay(time) => {
                    tokio::time::sleep(time).await;
                    inner.call(packet).await
                }
                Fault::CutOff => {
                    inner.call(packet).await?;
                    let text = r#"{"jsonrpc":"2.0","id":"#;
                    let error = serde_json::from_str::<serde_json::Value>(text);
                    match error {
                        Err(error) => Err(TransportError::deser_err(error, text)),
                        Ok(_) => Err(broken()),
                    }
                }
                Fault::Garbage => {
                    inner.call(packet.clone()).await?;
                    let payload = raw(r#"["garbage"]"#)?;
                    Ok(answer(packet, &ResponsePayload::Success(payload)))
                }
                Fault::Twice => {
                    inner.call(packet.clone()).await?;
                    inner.call(packet).await
                }
                Fault::Refuse(code, words) => {
                    let error = ErrorPayload { code, message: words.into(), data: None };
                    Ok(answer(packet, &ResponsePayload::Failure(error)))
                }
                Fault::Withhold => {
                    inner.call(packet.clone()).await?;
                    Ok(answer(packet, &ResponsePayload::Success(raw("null")?)))
                }
                Fault::HangBefore => std::future::pending().await,
                Fault::HangAfter => {
                    inner.call(packet).await?;
                    std::future::pending().await
                }
            }
        })
    }
}

fn raw(json: &str) -> Result<Box<RawValue>, TransportError> {
    RawValue::from_string(json.to_owned()).map_err(TransportError::ser_err)
}

fn answer(packet: RequestPacket, payload: &ResponsePayload) -> ResponsePacket {
    let respond = |request: SerializedRequest| {
        let (meta, _) = request.decompose();
        Response { id: meta.id, payload: payload.clone() }
    };
    match packet {
        RequestPacket::Single(request) => ResponsePacket::Single(respond(request)),
        RequestPacket::Batch(requests) => {
            ResponsePacket::Batch(requests.into_iter().map(respond).collect())
        }
    }
}
