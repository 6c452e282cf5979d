//! Files below a URL, which is no hub.

use std::time::Duration;

use http::{Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use openledger_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use crate::{
    HubOptions, Token,
    client::{Client, same_host, text},
};

/// The longest path, in bytes.
const MAX_LEN: usize = 1024;
/// The most memory taken because a server says that a file is large: 64 MiB.
const AT_ONCE: u64 = 64 << 20;

/// A server of files. Cheap to clone.
///
/// Nothing is cached, and answers that point to another host are not followed.
#[derive(Clone, Debug)]
pub struct Web {
    client: Client,
}

/// A file, and what its server calls this state of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WebFile {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The `ETag`, or when it was modified; nothing if the server says neither.
    pub tag: Option<String>,
}

impl Web {
    /// Takes the URL that files are below; opens no connection.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it is none, or as for [`Hub::new`](crate::Hub::new); [`ErrorKind::Unsupported`] if it begins with `https://` and
    /// this build lacks the feature `tls`.
    pub fn new(base: &str) -> Result<Self> {
        // There is no cache to put anything into.
        let options = HubOptions::new("").with_endpoint(base);
        Ok(Self { client: Client::new(options)?.without_hint() })
    }

    /// Returns this with a token, which is sent to that server alone.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.client.options.token = Some(token);
        self
    }

    /// Returns this with a limit on the server's silence, 30 seconds otherwise.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.client.options.timeout = timeout;
        self
    }

    /// Fetches the file at `path`, at most `limit` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if `path` is no relative path that stays where it is;
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Denied`]; [`ErrorKind::Limit`] if the file is larger, before
    /// more of it is read; [`ErrorKind::Unavailable`] if the server does not answer, or not to its end.
    pub async fn get(&self, path: &str, limit: u64) -> Result<WebFile> {
        let answer = self.ask(Method::GET, path).await?;
        let large = || {
            let message = format!("`{path}` is larger than the {limit} bytes allowed");
            Error::new(ErrorKind::Limit, message)
        };
        let announced = text(answer.headers(), header::CONTENT_LENGTH.as_str());
        let announced: Option<u64> = announced.and_then(|len| len.parse().ok());
        if announced.is_some_and(|len| len > limit) {
            return Err(large());
        }
        let tag = tag(&answer);
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(AT_ONCE) as usize);
        let mut body = answer.into_body();
        let url = self.client.url(path)?;
        loop {
            let frame = timeout(self.client.options.timeout, body.frame()).await;
            let Some(frame) = frame.map_err(|_| self.client.silent(&url))? else { break };
            let frame = frame.map_err(|e| {
                let message = format!("`{path}` was cut after {} bytes", bytes.len());
                Error::new(ErrorKind::Unavailable, message).with_source(e)
            })?;
            let Ok(more) = frame.into_data() else { continue };
            if (bytes.len() + more.len()) as u64 > limit {
                return Err(large());
            }
            bytes.extend_from_slice(&more);
        }
        Ok(WebFile { bytes, tag })
    }

    /// Asks what the server calls the state the file at `path` is in; nothing if it does not say.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub async fn tag(&self, path: &str) -> Result<Option<String>> {
        Ok(tag(&self.ask(Method::HEAD, path).await?))
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Response<Incoming>> {
        if !is_path(path) {
            return Err(Error::invalid("not a relative path of letters, digits and `._-+@`"));
        }
        let answer = self.client.send(method, self.client.url(path)?, None, same_host).await?;
        let status = answer.status();
        let kind = match status {
            status if status.is_success() => return Ok(answer),
            StatusCode::NOT_FOUND | StatusCode::GONE => ErrorKind::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Denied,
            StatusCode::TOO_MANY_REQUESTS => ErrorKind::Unavailable,
            status if status.is_server_error() => ErrorKind::Unavailable,
            _ => ErrorKind::Corrupt,
        };
        Err(Error::new(kind, format!("`{path}`: the server answers {status}")))
    }
}

fn tag(answer: &Response<Incoming>) -> Option<String> {
    let header = |name: header::HeaderName| text(answer.headers(), name.as_str());
    let tag = header(header::ETAG).or_else(|| header(header::LAST_MODIFIED))?;
    // A header is foreign text.
    Some(tag.chars().take(256).collect())
}

fn is_path(path: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte))
    };
    path.len() <= MAX_LEN && path.split('/').all(part)
}
