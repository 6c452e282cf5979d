//! EigenDA through its proxy.
//!
//! The proxy disperses, waits for the certificate and checks it on the way back; its HTTP API in
//! *standard commitment mode* is two routes:
//!
//! ```text
//! POST /put?commitment_mode=standard            body: bytes        200: version byte + certificate
//! GET  /get/0x<certificate>?commitment_mode=standard               200: bytes
//! ```
//!
//! | answer | means | here |
//! |---|---|---|
//! | 400 | the request is wrong | [`Invalid`](ErrorKind::Invalid) |
//! | 403 | the proxy has this API switched off | [`Denied`](ErrorKind::Denied) |
//! | 418 | the certificate does not verify, and never will | [`Corrupt`](ErrorKind::Corrupt) |
//! | 429 | too many requests | waits and tries again |
//! | 503 | EigenDA is down: use something else | [`Unavailable`](ErrorKind::Unavailable) at once |
//! | 500, no answer, half an answer | | waits and tries again |
//!
//! The proxy has no authentication: bind it to loopback.

use std::{fmt, future::poll_fn, pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::{Either, select};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use openledger_core::{Error, ErrorKind, Result, keccak256};
use serde::Deserialize;
use tower::{BoxError, Service};

use super::{Bytes, Certificate, DataLayer, MAX_CERTIFICATE_BYTES, Pause, Scheme, TokioPause};

/// The most bytes the proxy takes: 16 MiB.
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// The certificates this client knows by their first byte: EigenDA's V1, and V2's two forms.
const VERSIONS: [u8; 3] = [0x00, 0x01, 0x02];

/// The most of an error's text that is read.
const MAX_COMPLAINT_BYTES: usize = 4 << 10;

/// How often to try, and how long to wait in between and for an answer.
///
/// The default is what EigenDA's own client does: ten tries, waiting 1 s, 2 s, 4 s, 8 s and then
/// 10 s each. An answer may take five minutes, because the proxy waits for the certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    tries: u32,
    answer: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(10),
            tries: 10,
            answer: Duration::from_secs(300),
        }
    }
}

impl Backoff {
    /// Waits `first` after the first failure, twice as long after each further one, and at most
    /// `longest`.
    #[must_use]
    pub const fn with_waits(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest;
        self
    }

    /// Tries so often, at least once.
    #[must_use]
    pub const fn with_tries(mut self, tries: u32) -> Self {
        self.tries = if tries == 0 { 1 } else { tries };
        self
    }

    /// Waits at most so long for each answer.
    #[must_use]
    pub const fn with_answer_within(mut self, time: Duration) -> Self {
        self.answer = time;
        self
    }

    /// Returns the waits between the tries.
    fn waits(self) -> impl Iterator<Item = Duration> {
        let double = move |wait: &Duration| Some((*wait * 2).min(self.longest));
        let tries = usize::try_from(self.tries).unwrap_or(usize::MAX);
        std::iter::successors(Some(self.first.min(self.longest)), double).take(tries - 1)
    }
}

/// A client of an EigenDA proxy over any HTTP service.
///
/// [`connect`](EigenDa::connect) speaks plain HTTP. For TLS, metrics or a test, give
/// [`new`](EigenDa::new) a [`Service`] of your own.
#[derive(Clone)]
pub struct EigenDa<S> {
    service: S,
    url: String,
    backoff: Backoff,
    pause: Arc<dyn Pause>,
}

impl<S> EigenDa<S> {
    /// Speaks through `service` to the proxy at `url`.
    pub fn new(service: S, url: &str) -> Self {
        Self {
            service,
            url: url.trim_end_matches('/').to_owned(),
            backoff: Backoff::default(),
            pause: Arc::new(TokioPause),
        }
    }

    /// Sets how often to try.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how time passes.
    #[must_use]
    pub fn with_pause(mut self, pause: impl Pause + 'static) -> Self {
        self.pause = Arc::new(pause);
        self
    }
}

/// What [`EigenDa::connect`] speaks through.
#[cfg(feature = "http")]
pub type HttpClient = hyper_util::client::legacy::Client<
    hyper_util::client::legacy::connect::HttpConnector,
    Full<Bytes>,
>;

#[cfg(feature = "http")]
impl EigenDa<HttpClient> {
    /// Speaks plain HTTP to the proxy at `url`, for example `http://127.0.0.1:3100`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] unless the URL begins with `http://`.
    pub fn connect(url: &str) -> Result<Self> {
        if !url.starts_with("http://") {
            let message =
                format!("`{url}`: only plain http:// is built in; bring a service for more");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let executor = hyper_util::rt::TokioExecutor::new();
        let client = hyper_util::client::legacy::Client::builder(executor).build_http();
        Ok(Self::new(client, url))
    }
}

impl<S> fmt::Debug for EigenDa<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EigenDa").field("url", &self.url).finish_non_exhaustive()
    }
}

#[async_trait]
impl<S, B> DataLayer for EigenDa<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    async fn put(&self, bytes: Bytes) -> Result<Certificate> {
        if bytes.len() > MAX_PAYLOAD_BYTES {
            let message = format!("{} bytes for EigenDA, {MAX_PAYLOAD_BYTES} allowed", bytes.len());
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let hash = keccak256(&bytes);
        let what = format!("put {hash}");
        let url = format!("{}/put?commitment_mode=standard", self.url);
        let request = || Request::post(&url).body(Full::new(bytes.clone()));
        let body = self.ask(&what, request, MAX_CERTIFICATE_BYTES).await?;
        check_version(&body)?;
        Certificate::new(Scheme::EIGEN_DA, hash, body)
    }

    async fn get(&self, certificate: &Certificate) -> Result<Bytes> {
        certificate.expect_scheme(Scheme::EIGEN_DA)?;
        check_version(certificate.body())?;
        let what = format!("get {}", certificate.hash());
        let url = format!("{}/get/{}?commitment_mode=standard", self.url, certificate.body());
        self.ask(&what, || Request::get(&url).body(Full::default()), MAX_PAYLOAD_BYTES).await
    }
}

impl<S, B> EigenDa<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    /// Sends a request until it is answered, as often as the backoff allows.
    async fn ask(
        &self,
        what: &str,
        request: impl Fn() -> http::Result<Request<Full<Bytes>>> + Send + Sync,
        most_bytes: usize,
    ) -> Result<Bytes> {
        let mut waits = self.backoff.waits();
        loop {
            let request = request().map_err(|e| {
                Error::invalid(format!("`{}` is not a URL", self.url)).with_source(e)
            })?;
            let error = match self.ask_once(what, request, most_bytes).await {
                Err(Failure::Passing(error)) => error,
                Err(Failure::Final(error)) => return Err(error),
                Ok(bytes) => return Ok(bytes),
            };
            let Some(wait) = waits.next() else { return Err(error) };
            self.pause.pause(wait).await;
        }
    }

    async fn ask_once(
        &self,
        what: &str,
        request: Request<Full<Bytes>>,
        most_bytes: usize,
    ) -> Result<Bytes, Failure> {
        let exchange = async {
            let mut service = self.service.clone();
            poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
            let (head, body) = service.call(request).await.map_err(Into::into)?.into_parts();
            if head.status == StatusCode::OK {
                let body = Limited::new(body, most_bytes).collect().await?;
                return Ok::<_, BoxError>((head.status, body.to_bytes()));
            }
            // What it says is worth showing; that it does not say it is not worth an error.
            let complaint = Limited::new(body, MAX_COMPLAINT_BYTES).collect().await;
            Ok((head.status, complaint.map_or_else(|_| Bytes::new(), |text| text.to_bytes())))
        };
        match select(pin!(exchange), self.pause.pause(self.backoff.answer)).await {
            Either::Left((Ok((StatusCode::OK, body)), _)) => Ok(body),
            Either::Left((Ok((status, complaint)), _)) => Err(refusal(
                &format!("EigenDA's proxy answered {status} to {what}"),
                status,
                &complaint,
            )),
            Either::Left((Err(e), _)) if e.is::<LengthLimitError>() => {
                let message = format!("over {most_bytes} bytes of answer to {what}");
                Err(Failure::Final(Error::new(ErrorKind::Limit, message)))
            }
            Either::Left((Err(e), _)) => Err(Failure::Passing(
                Error::new(
                    ErrorKind::Unavailable,
                    format!("no answer of EigenDA's proxy to {what}"),
                )
                .with_source(e),
            )),
            Either::Right(_) => {
                let time = self.backoff.answer;
                let message = format!("no answer of EigenDA's proxy to {what} within {time:?}");
                Err(Failure::Passing(Error::new(ErrorKind::Unavailable, message)))
            }
        }
    }
}

/// Why there is no answer yet.
enum Failure {
    /// The same request may succeed later.
    Passing(Error),
    /// It will not, or not soon.
    Final(Error),
}

/// What a status means; see the table at the top.
fn refusal(message: &str, status: StatusCode, complaint: &Bytes) -> Failure {
    let error = |kind| Error::new(kind, message).with_source(explain(complaint));
    match status {
        StatusCode::IM_A_TEAPOT => Failure::Final(error(ErrorKind::Corrupt)),
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            Failure::Final(error(ErrorKind::Denied))
        }
        StatusCode::TOO_MANY_REQUESTS => Failure::Passing(error(ErrorKind::Unavailable)),
        StatusCode::SERVICE_UNAVAILABLE => Failure::Final(error(ErrorKind::Unavailable)),
        _ if status.is_server_error() => Failure::Passing(error(ErrorKind::Unavailable)),
        _ => Failure::Final(error(ErrorKind::Invalid)),
    }
}

/// What a 418 says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DerivationError {
    status_code: u8,
    msg: String,
}

/// Makes one printable line of an answer's text.
fn explain(complaint: &Bytes) -> String {
    let text = match serde_json::from_slice::<DerivationError>(complaint) {
        Ok(DerivationError { status_code, msg }) => {
            format!("derivation error {status_code}: {msg}")
        }
        Err(_) => String::from_utf8_lossy(complaint).into_owned(),
    };
    let line: String = text.trim().chars().filter(|c| !c.is_control()).take(200).collect();
    if line.is_empty() { "it does not say why".to_owned() } else { line }
}

fn check_version(certificate: &[u8]) -> Result<()> {
    match certificate.first() {
        Some(version) if VERSIONS.contains(version) => Ok(()),
        Some(version) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("EigenDA certificate version 0x{version:02x}: known are 0x00, 0x01 and 0x02"),
        )),
        None => Err(Error::corrupt("an EigenDA certificate without a byte")),
    }
}
