//! Requests again, when a connection broke, a node was busy or no answer came.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    rpc::json_rpc::{ErrorPayload, RequestPacket, ResponsePacket, RpcError},
    transports::{BoxTransport, TransportError, TransportErrorKind, TransportFut},
};
use tower::Service;

/// How long an answer is waited for, how often a request is tried, and how long is waited in between.
///
/// Repeated are requests that ask. A transaction is sent again by whoever keeps account of it, and
/// must learn of every try. Each pause is twice the last, or what the node names.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Retry {
    /// How long an answer is waited for, in each try, of requests of every kind; then the connection
    /// counts as broken. A node that searches all its logs may need longer than the default.
    pub timeout: Duration,
    /// How often a request is sent in all.
    pub tries: u32,
    /// The pause after the first try.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
}

impl Default for Retry {
    /// Half a minute for an answer; seven tries, with pauses of about sixteen seconds in all.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            tries: 7,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(8),
        }
    }
}

impl Retry {
    /// Returns this with another time to wait for an answer.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns this with another number of tries; one means none again.
    #[must_use]
    pub const fn with_tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// Returns this with other pauses.
    #[must_use]
    pub const fn with_pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.first_pause = first;
        self.longest_pause = longest;
        self
    }
}

/// A transport that tries again.
#[derive(Clone, Debug)]
pub(super) struct Retrying {
    inner: BoxTransport,
    retry: Retry,
}

impl Retrying {
    pub(super) const fn new(inner: BoxTransport, retry: Retry) -> Self {
        Self { inner, retry }
    }
}

impl Service<RequestPacket> for Retrying {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, packet: RequestPacket) -> TransportFut<'static> {
        let Self { mut inner, retry } = self.clone();
        if !packet.method_names().all(is_repeatable) {
            return Box::pin(in_time(retry.timeout, inner.call(packet)));
        }
        Box::pin(async move {
            let mut pause = retry.first_pause;
            for _ in 1..retry.tries {
                let answer = in_time(retry.timeout, inner.call(packet.clone())).await;
                let busy = match &answer {
                    Ok(answer) => answer.iter_errors().any(is_busy),
                    Err(error) => is_passing(error),
                };
                if !busy {
                    return answer;
                }
                let pause_now = named_pause(&answer).unwrap_or(pause).min(retry.longest_pause);
                tokio::time::sleep(pause_now).await;
                pause = (pause * 2).min(retry.longest_pause);
            }
            in_time(retry.timeout, inner.call(packet)).await
        })
    }
}

/// Waits for an answer, at most so long.
async fn in_time(
    timeout: Duration,
    mut answer: TransportFut<'static>,
) -> Result<ResponsePacket, TransportError> {
    // An embedded chain answers at once; a runtime without timers is enough for it.
    let at_once = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
    if let Poll::Ready(answer) = at_once {
        return answer;
    }
    tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| {
        Err(TransportErrorKind::custom_str(&format!("no answer within {timeout:?}")))
    })
}

/// Whether a request may arrive twice unnoticed: those that send, make blocks or move the time may not.
fn is_repeatable(method: &str) -> bool {
    ["eth_", "net_", "web3_"].iter().any(|prefix| method.starts_with(prefix))
        && !matches!(method, "eth_sendTransaction" | "eth_sendRawTransaction")
}

/// Whether a failure may pass: a connection that broke, an answer that was cut off, a node that is
/// busy or restarting.
pub(super) fn is_passing(error: &TransportError) -> bool {
    match error {
        RpcError::Transport(kind) => match kind.as_http_error() {
            Some(http) => matches!(http.status, 408 | 425 | 429 | 500..),
            None => {
                !kind.is_non_retryable() && !kind.is_pubsub_unavailable() && !kind.is_backend_gone()
            }
        },
        RpcError::DeserError { .. } | RpcError::NullResp => true,
        RpcError::ErrorResp(response) => is_busy(response),
        _ => false,
    }
}

/// Whether a node refused because it is busy.
///
/// Nodes give -32005 to who asks too often, and geth and others also to who asks for too much,
/// which they refuse again.
pub(super) fn is_busy<T>(error: &ErrorPayload<T>) -> bool {
    let too_much = ["results", "logs", "block range", "blocks"];
    let about_size = || too_much.iter().any(|word| error.message.contains(word));
    error.is_retry_err() && !(error.code == -32005 && about_size())
}

fn named_pause(answer: &Result<ResponsePacket, TransportError>) -> Option<Duration> {
    match answer {
        Err(RpcError::Transport(kind)) => TransportErrorKind::retry_after(kind),
        _ => None,
    }
}
