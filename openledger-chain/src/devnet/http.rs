//! HTTP around the JSON: methods, sizes, and the headers that let a wallet in a browser in.

use std::time::Duration;

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue,
    },
};

use openledger_core::ErrorKind;

use super::text;
use crate::Embedded;

/// Bytes of a request at the most: twice the hexadecimal digits of the largest transaction.
const BODY: usize = 8 << 20;
/// How long a client may take to send a body.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers one HTTP request.
pub(super) async fn answer(chain: Embedded, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let mut response = match *request.method() {
        Method::POST => post(chain, request.into_body()).await,
        Method::OPTIONS => say(StatusCode::NO_CONTENT, ""),
        _ => say(StatusCode::METHOD_NOT_ALLOWED, "this is a JSON-RPC node: POST a request\n"),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (ALLOW, "POST, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "*, Authorization"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
        (HeaderName::from_static("access-control-allow-private-network"), "true"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn post(chain: Embedded, body: Incoming) -> Response<Full<Bytes>> {
    let body = match openledger_http::read(body, BODY, PATIENCE).await {
        Ok(body) => body,
        Err(e) => {
            let status = match e.kind() {
                ErrorKind::Limit => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::REQUEST_TIMEOUT,
            };
            return say(status, format!("{}\n", e.report()));
        }
    };
    // Execution may take long and a durable chain waits for the disk; other connections must not.
    let answered = tokio::task::spawn_blocking(move || text::answer(&chain, &body)).await;
    match answered {
        Ok(Some(json)) => {
            let mut response = say(StatusCode::OK, json);
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        }
        Ok(None) => say(StatusCode::NO_CONTENT, ""),
        Err(_) => say(StatusCode::INTERNAL_SERVER_ERROR, "the node failed at this request\n"),
    }
}

fn say(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
