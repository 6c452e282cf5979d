//! EigenDA's proxy in memory, with every way in which it may fail.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::future::{BoxFuture, FutureExt, pending};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use openledger_core::keccak256;
use tower::{BoxError, Service};

use super::{Bytes, MAX_PAYLOAD_BYTES};

/// A way to fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "tests match on it")]
pub enum Fault {
    /// Answers with that status.
    Status(u16),
    /// Answers 200 with other bytes than were asked for.
    WrongBytes,
    /// Answers 200 with this first byte.
    Version(u8),
    /// Answers 200 with more bytes than anybody wants.
    TooMuch,
    /// Announces the whole body and breaks off in the middle.
    Truncated,
    /// Does not answer.
    Silence,
}

/// The two routes of EigenDA's proxy as a [`Service`], over memory. Clones share the memory.
///
/// Serve it with hyper to have it on loopback.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<Vec<u8>, Bytes>,
    next: VecDeque<Fault>,
    until_further_notice: Option<Fault>,
    requests: usize,
}

impl Proxy {
    /// Makes the next requests fail, one after the other.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().next.extend(faults);
    }

    /// Makes all requests fail, or none.
    pub fn fail_all(&self, fault: Option<Fault>) {
        self.state().until_further_notice = fault;
    }

    /// Forgets all bytes, as EigenDA does after two weeks.
    pub fn forget(&self) {
        self.state().blobs.clear();
    }

    /// Returns how many requests came.
    pub fn requests(&self) -> usize {
        self.state().requests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, method: &Method, path: &str, query: Option<&str>, body: Bytes) -> Answer {
        if query != Some("commitment_mode=standard") {
            return Answer::refuse(StatusCode::BAD_REQUEST, "not the standard commitment mode");
        }
        match (method, path.strip_prefix("/get/")) {
            (&Method::POST, None) if path == "/put" => self.put(body),
            (&Method::GET, Some(certificate)) => self.get(certificate),
            _ => Answer::refuse(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    fn put(&self, body: Bytes) -> Answer {
        if body.len() > MAX_PAYLOAD_BYTES {
            return Answer::refuse(StatusCode::BAD_REQUEST, "http: request body too large");
        }
        // Version 0x02, and in place of the RLP what is as long as a short one.
        let certificate = [&[0x02], keccak256(&body).as_slice(), &[0xda; 300]].concat();
        self.state().blobs.insert(certificate.clone(), body);
        Answer { status: StatusCode::OK, body: certificate.into() }
    }

    fn get(&self, certificate: &str) -> Answer {
        let Ok(certificate) = alloy::hex::decode(certificate) else {
            return Answer::refuse(StatusCode::BAD_REQUEST, "decoding cert from hex string");
        };
        match self.state().blobs.get(&certificate) {
            Some(bytes) => Answer { status: StatusCode::OK, body: bytes.clone() },
            None => Answer::refuse(
                StatusCode::IM_A_TEAPOT,
                r#"{"StatusCode":2,"Msg":"cert verification failed"}"#,
            ),
        }
    }
}

impl<B> Service<Request<B>> for Proxy
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<BoxBody<Bytes, io::Error>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let proxy = self.clone();
        async move {
            let fault = {
                let mut state = proxy.state();
                state.requests += 1;
                state.next.pop_front().or(state.until_further_notice)
            };
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
            let (path, query) = (head.uri.path(), head.uri.query());
            let mut answer = match fault {
                Some(Fault::Status(status)) => Answer::refuse(
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    "a fault was asked for",
                ),
                Some(Fault::Silence) => pending().await,
                _ => proxy.answer(&head.method, path, query, body),
            };
            match fault {
                Some(Fault::WrongBytes) => answer.body = [&answer.body[..], b"!"].concat().into(),
                Some(Fault::Version(version)) => answer.body = vec![version, 1, 2, 3].into(),
                Some(Fault::TooMuch) => answer.body = vec![2; MAX_PAYLOAD_BYTES + 1].into(),
                _ => {}
            }
            Ok(answer.into_response(fault == Some(Fault::Truncated)))
        }
        .boxed()
    }
}

struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Answer {
    fn refuse(status: StatusCode, complaint: &'static str) -> Self {
        Self { status, body: Bytes::from_static(complaint.as_bytes()) }
    }

    fn into_response(self, truncated: bool) -> Response<BoxBody<Bytes, io::Error>> {
        let length = self.body.len();
        let body = if truncated {
            let half = Ok(Frame::data(self.body.slice(..length / 2)));
            let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
            BoxBody::new(StreamBody::new(futures::stream::iter([half, broken])))
        } else {
            BoxBody::new(Full::new(self.body).map_err(|never| match never {}))
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
        response
    }
}
