//! Requests to answers.

mod adapters;
mod ask;
mod embeddings;
mod status;

use std::{error::Error as StdError, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use openledger_core::ErrorKind;
use openledger_http::Peer;
use openledger_model::Json;
use serde_json::Value;

use crate::{Body, desk::Desk, error::Failure, trace::Trace, wire};
use ask::Asked;

/// The name of a request, in both directions.
const REQUEST_ID: &str = "x-request-id";

/// What can be asked, by a name that counters use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Route {
    Chat,
    Completions,
    Embeddings,
    Models,
    Model,
    LoadAdapter,
    UnloadAdapter,
    MergeAdapter,
    UnmergeAdapter,
    Adapters,
    Adapter,
    Metrics,
    Health,
    Ready,
}

impl Route {
    const ALL: [(Self, Method, &'static str); 14] = [
        (Self::Chat, Method::POST, "/v1/chat/completions"),
        (Self::Completions, Method::POST, "/v1/completions"),
        (Self::Embeddings, Method::POST, "/v1/embeddings"),
        (Self::Models, Method::GET, "/v1/models"),
        (Self::Model, Method::GET, "/v1/models/{name}"),
        (Self::LoadAdapter, Method::POST, "/v1/load_lora_adapter"),
        (Self::UnloadAdapter, Method::POST, "/v1/unload_lora_adapter"),
        (Self::MergeAdapter, Method::POST, "/v1/merge_lora_adapter"),
        (Self::UnmergeAdapter, Method::POST, "/v1/unmerge_lora_adapter"),
        (Self::Adapters, Method::GET, "/v1/adapters"),
        (Self::Adapter, Method::PUT, "/v1/adapters/{name}"),
        (Self::Metrics, Method::GET, "/metrics"),
        (Self::Health, Method::GET, "/health"),
        (Self::Ready, Method::GET, "/ready"),
    ];

    /// Finds the route of a path and the name in it; the method it takes if that is another.
    fn of<'a>(
        method: &Method,
        path: &'a str,
    ) -> Result<(Self, &'static str, &'a str), Option<Method>> {
        let mut other = None;
        for (route, takes, pattern) in Self::ALL {
            let name = match pattern.strip_suffix("{name}") {
                Some(start) => path.strip_prefix(start).filter(|name| !name.is_empty()),
                None => (path == pattern).then_some(""),
            };
            match name {
                Some(name) if takes == *method => return Ok((route, pattern, name)),
                Some(_) => other = Some(takes),
                None => {}
            }
        }
        Err(other)
    }

    /// Whether it is for programs that watch the server, who have no key.
    const fn is_open(self) -> bool {
        matches!(self, Self::Metrics | Self::Health | Self::Ready)
    }

    /// Whether it is for administrators only.
    const fn is_admin(self) -> bool {
        matches!(
            self,
            Self::LoadAdapter
                | Self::UnloadAdapter
                | Self::MergeAdapter
                | Self::UnmergeAdapter
                | Self::Adapters
                | Self::Adapter
        )
    }
}

/// Answers a request, whatever it is.
pub(crate) async fn answer<B>(desk: Arc<Desk>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let id = request_id(&parts.headers).unwrap_or_else(|| header(&desk.ids.name("req_")));
    let mut trace = Trace::default();
    let (pattern, answered) = match Route::of(&parts.method, parts.uri.path()) {
        Ok((route, pattern, name)) => {
            if !route.is_open() {
                trace = Trace::begin(desk.traces.as_ref(), &parts.method, pattern, &parts.headers);
            }
            (pattern, to_route(&desk, route, name, &parts, &trace, body).await)
        }
        Err(takes) => ("none", Err(no_route(takes.as_ref()))),
    };
    let mut response = answered.unwrap_or_else(Failure::into_response);
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Err(Some(takes)) = Route::of(&parts.method, parts.uri.path())
    {
        response.headers_mut().insert(ALLOW, header(takes.as_str()));
    }
    let status = response.status().as_u16();
    desk.metrics.request(pattern, status);
    trace.status(status);
    let millis = begun.elapsed().as_millis();
    tracing::info!(target: "openledger_serve_http", route = pattern, status, millis = millis as u64, id = ?id);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

async fn to_route<B>(
    desk: &Arc<Desk>,
    route: Route,
    name: &str,
    parts: &Parts,
    trace: &Trace,
    body: B,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    if route.is_open() {
        return match route {
            Route::Metrics => Ok(status::metrics(desk)),
            Route::Ready => desk.is_open().map(|()| text("ready\n")),
            _ => Ok(text("alive\n")),
        };
    }
    let from = parts.extensions.get::<Peer>().map(|Peer(address)| address.ip());
    let caller = desk.door.admit(&parts.headers, from, &desk.limits)?;
    if route.is_admin() {
        desk.door.admin(&caller, parts.headers.contains_key(AUTHORIZATION), from, &desk.limits)?;
    }
    match route {
        Route::Models => return Ok(status::models(desk, &caller)),
        Route::Model => return status::model(desk, &caller, name),
        Route::Adapters => return Ok(adapters::list(desk)),
        _ => {}
    }
    if matches!(route, Route::Chat | Route::Completions | Route::Embeddings) {
        desk.is_open()?;
    }
    let body = read(desk, &parts.headers, body).await?;
    let headers = &parts.headers;
    match route {
        Route::LoadAdapter => adapters::load(desk, &json(desk, &body)?).await,
        Route::UnloadAdapter => adapters::unload(desk, &json(desk, &body)?).await,
        Route::MergeAdapter => adapters::merge(desk, &json(desk, &body)?).await,
        Route::UnmergeAdapter => adapters::unmerge(desk, &json(desk, &body)?).await,
        Route::Adapter => adapters::put(desk, name, &parts.headers, &json(desk, &body)?).await,
        Route::Embeddings => embeddings::answer(desk, &caller, body).await,
        Route::Chat => ask::answer(desk, &caller, Asked { headers, trace, body }, ask::chat).await,
        _ => ask::answer(desk, &caller, Asked { headers, trace, body }, ask::completion).await,
    }
}

/// Reads a body of JSON.
async fn read<B>(desk: &Desk, headers: &HeaderMap, body: B) -> Result<Bytes, Failure>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    // A page in a browser can send other types to a server it must not talk to.
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(b"application/json") {
        let message = "the body is not `content-type: application/json`";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    // What unpacks to a thousand times its size is never unpacked.
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let message = "the body is packed by `content-encoding`: send it as it is";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let read = openledger_http::read(body, desk.limits.body, desk.limits.body_time);
    read.await.map_err(|e| match e.kind() {
        ErrorKind::Limit => Failure::new(StatusCode::PAYLOAD_TOO_LARGE, e.to_string())
            .with_code("request_too_large"),
        _ => Failure::new(StatusCode::REQUEST_TIMEOUT, e.to_string()),
    })
}

fn json(desk: &Desk, body: &[u8]) -> Result<Json, Failure> {
    wire::parse(body, desk.limits.depth)
}

fn no_route(takes: Option<&Method>) -> Failure {
    match takes {
        Some(takes) => {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("this path takes {takes}"))
        }
        None => {
            Failure::new(StatusCode::NOT_FOUND, "there is no such path").with_code("unknown_path")
        }
    }
}

/// Returns the name the client gave the request, if it can be shown.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:/".contains(byte);
    ((1..=128).contains(&id.len()) && id.as_bytes().iter().all(fits)).then(|| id.clone())
}

/// A text of ours as a header.
fn header(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("none"))
}

fn text(says: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::whole(says));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn whole(json: &Value) -> Response<Body> {
    let mut response = Response::new(Body::whole(json.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn events(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
