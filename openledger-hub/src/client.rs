//! Requests, and what answers mean.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use openledger_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use crate::HubOptions;

#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

/// How often an answer may point elsewhere.
const MAX_REDIRECTS: usize = 5;

/// Sends requests to the endpoint, and where its answers point.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pool: Pool<Connector, Empty<Bytes>>,
    pub(crate) options: HubOptions,
    endpoint: Uri,
    /// What else may help when nobody answers.
    hint: &'static str,
}

impl Client {
    pub(crate) fn new(options: HubOptions) -> Result<Self> {
        let endpoint: Uri = options.endpoint.parse().map_err(|e| {
            Error::invalid(format!("`{}` is not a URL", options.endpoint)).with_source(e)
        })?;
        check_scheme(&endpoint)?;
        let pool = Pool::builder(TokioExecutor::new()).build(connector()?);
        Ok(Self { pool, options, endpoint, hint: "; `HF_HUB_OFFLINE=1` uses what is cached" })
    }

    /// Returns this for an endpoint that is no hub.
    pub(crate) const fn without_hint(mut self) -> Self {
        self.hint = "";
        self
    }

    /// Returns the URL of a path below the endpoint.
    pub(crate) fn url(&self, path: &str) -> Result<Uri> {
        let url = format!("{}/{path}", self.options.endpoint);
        url.parse().map_err(|e| Error::invalid(format!("`{url}` is not a URL")).with_source(e))
    }

    /// Sends a request and follows where the answer points as long as `follow` lets it.
    ///
    /// The token goes to the endpoint alone: not to another host, port or scheme.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: Uri,
        range: Option<String>,
        follow: impl Fn(&Uri, &Uri) -> bool,
    ) -> Result<Response<Incoming>> {
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            check_scheme(&url)?;
            let mut request = Request::builder().method(method.clone()).uri(url.clone());
            let agent = concat!("openledger-hub/", env!("CARGO_PKG_VERSION"));
            request = request.header(header::USER_AGENT, agent);
            // Compressed bytes would have another length and hash.
            request = request.header(header::ACCEPT_ENCODING, "identity");
            if let Some(range) = &range {
                request = request.header(header::RANGE, range);
            }
            if let Some(token) = self.options.token.as_ref().filter(|_| self.is_endpoint(&url)) {
                request = request.header(header::AUTHORIZATION, token.header());
            }
            let request = request
                .body(Empty::new())
                .map_err(|e| Error::invalid(format!("no request to {url}")).with_source(e))?;
            let response = timeout(self.options.timeout, self.pool.request(request))
                .await
                .map_err(|_| self.silent(&url))?
                .map_err(|e| {
                    let message = format!("cannot reach {}{}", host(&url), self.hint);
                    Error::new(ErrorKind::Unavailable, message).with_source(e)
                })?;
            let Some(next) = next(&response, &url)? else { return Ok(response) };
            if !follow(&url, &next) {
                return Ok(response);
            }
            if url.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                let message = format!("{} points to {} without TLS", host(&url), host(&next));
                return Err(Error::new(ErrorKind::Denied, message));
            }
            url = next;
        }
        Err(Error::new(ErrorKind::Limit, format!("more than {MAX_REDIRECTS} redirections")))
    }

    /// Reads a body of at most `limit` bytes.
    pub(crate) async fn read(
        &self,
        response: Response<Incoming>,
        limit: usize,
        what: &str,
    ) -> Result<Bytes> {
        let body = Limited::new(response.into_body(), limit).collect();
        let read = timeout(self.options.timeout, body)
            .await
            .map_err(|_| Error::new(ErrorKind::Unavailable, format!("{what} took too long")))?;
        read.map(http_body_util::Collected::to_bytes).map_err(|e| {
            if e.is::<LengthLimitError>() {
                let message = format!("{what} is larger than the {limit} bytes allowed");
                return Error::new(ErrorKind::Limit, message);
            }
            Error::new(ErrorKind::Unavailable, format!("{what} was cut")).with_source(e.to_string())
        })
    }

    pub(crate) fn silent(&self, url: &Uri) -> Error {
        let seconds = self.options.timeout.as_secs_f32();
        Error::new(ErrorKind::Unavailable, format!("{} was silent for {seconds} s", host(url)))
    }

    /// Whether the token may go there.
    fn is_endpoint(&self, url: &Uri) -> bool {
        url.scheme() == self.endpoint.scheme()
            && url.authority().map(|a| a.as_str().to_ascii_lowercase())
                == self.endpoint.authority().map(|a| a.as_str().to_ascii_lowercase())
    }
}

/// Whether both are of one host, port and scheme.
pub(crate) fn same_host(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme() && a.authority() == b.authority()
}

/// Returns a header that is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Says what an answer other than the one expected means.
///
/// # Errors
/// Always.
pub(crate) fn refused<T>(response: &Response<Incoming>, what: &str) -> Result<T> {
    let status = response.status();
    let (kind, message) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
            ErrorKind::Denied,
            format!(
                "{what} is private, gated or not there ({status}): set `HF_TOKEN`, and accept the \
                 licence on the model's page"
            ),
        ),
        StatusCode::NOT_FOUND => (ErrorKind::NotFound, format!("{what} does not exist ({status})")),
        StatusCode::TOO_MANY_REQUESTS => {
            let after = text(response.headers(), "retry-after").map_or_else(
                || "wait".to_owned(),
                // A header is foreign text.
                |after| format!("wait {} seconds", after.chars().take(20).collect::<String>()),
            );
            (ErrorKind::Unavailable, format!("{what}: too many requests ({status}); {after}"))
        }
        status if status.is_server_error() => {
            (ErrorKind::Unavailable, format!("{what}: the hub answers {status}"))
        }
        status => (ErrorKind::Corrupt, format!("{what}: the hub answers {status}")),
    };
    Err(Error::new(kind, message))
}

/// Returns where an answer points.
fn next(response: &Response<Incoming>, from: &Uri) -> Result<Option<Uri>> {
    if !response.status().is_redirection() {
        return Ok(None);
    }
    let Some(location) = text(response.headers(), header::LOCATION.as_str()) else {
        return Ok(None);
    };
    let bad = || Error::corrupt(format!("{} points to what is not a URL", host(from)));
    let absolute = match location.starts_with('/') && !location.starts_with("//") {
        true => format!(
            "{}://{}{location}",
            from.scheme_str().unwrap_or("http"),
            from.authority().ok_or_else(bad)?
        ),
        false => location.to_owned(),
    };
    let next: Uri = absolute.parse().map_err(|_| bad())?;
    if next.authority().is_none() { Err(bad()) } else { Ok(Some(next)) }
}

/// The part of a URL that may be shown: what follows can be a signed link.
fn host(url: &Uri) -> String {
    format!("{}://{}", url.scheme_str().unwrap_or("?"), url.host().unwrap_or("?"))
}

fn check_scheme(url: &Uri) -> Result<()> {
    match url.scheme_str() {
        Some("http") => Ok(()),
        Some("https") if cfg!(feature = "tls") => Ok(()),
        Some("https") => {
            let message = format!(
                "{} needs the feature `tls`, which this build lacks; `HF_ENDPOINT` may name a mirror",
                host(url)
            );
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        _ => Err(Error::invalid(format!("`{url}` does not begin with `http://` or `https://`"))),
    }
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "the other one can fail")]
fn connector() -> Result<Connector> {
    Ok(HttpConnector::new())
}

/// Trusts what the system does, which a company may have added to, or what `SSL_CERT_FILE` or `SSL_CERT_DIR`
/// names; where there is no such list, Mozilla's. It is read once for a process.
#[cfg(feature = "tls")]
fn connector() -> Result<Connector> {
    static KNOWN: std::sync::OnceLock<Connector> = std::sync::OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let provider = rustls_graviola::default_provider;
    let builder = hyper_rustls::HttpsConnectorBuilder::new;
    let builder = match builder().with_provider_and_native_roots(provider()) {
        Ok(builder) => builder,
        Err(e) => {
            let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
            if named.iter().any(Option::is_some) {
                let message = "no certificates where `SSL_CERT_FILE` or `SSL_CERT_DIR` points";
                return Err(Error::invalid(message).with_source(e));
            }
            builder()
                .with_provider_and_webpki_roots(provider())
                .map_err(|e| Error::new(ErrorKind::Unsupported, "no TLS").with_source(e))?
        }
    };
    Ok(KNOWN.get_or_init(|| builder.https_or_http().enable_http1().build()).clone())
}
