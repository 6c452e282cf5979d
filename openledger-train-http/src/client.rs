//! A worker's side.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use http_body_util::Full;
use hyper::{
    Request,
    body::{Bytes, Incoming},
};
use hyper_util::{
    client::legacy::{Client as Legacy, connect::HttpConnector},
    rt::TokioExecutor,
};
use openledger_core::{
    Error, ErrorKind, Result,
    message::{LocalUpdate, Signed},
};
use openledger_train::federated::{Exchange, Matrices, Round};

use crate::wire;

/// A run that a [`Server`](crate::Server) offers.
#[derive(Clone)]
pub struct Client {
    client: Legacy<HttpConnector, Full<Bytes>>,
    url: String,
    patience: Duration,
    largest: usize,
}

impl Client {
    /// Speaks plain HTTP to the server at `url`, for example `http://127.0.0.1:7000`. Needs a tokio runtime
    /// with time and I/O where it is used.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] unless the URL begins with `http://`.
    pub fn connect(url: &str) -> Result<Self> {
        if !url.starts_with("http://") {
            let message =
                format!("`{url}`: only plain http:// is built in; a local proxy does the rest");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(Self {
            client: Legacy::builder(TokioExecutor::new()).build_http(),
            url: url.trim_end_matches('/').to_owned(),
            patience: Duration::from_secs(120),
            largest: 1 << 30,
        })
    }

    /// Waits so long for each answer, two minutes unless told.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Takes matrices of so many bytes at most, 1 GiB unless told.
    #[must_use]
    pub const fn with_largest(mut self, bytes: usize) -> Self {
        self.largest = bytes;
        self
    }

    async fn get(&self, path: &str, limit: usize) -> Result<Bytes> {
        self.ask(path, Request::get(format!("{}{path}", self.url)), Bytes::new(), limit).await
    }

    async fn post(&self, path: &str, update: &Signed<LocalUpdate>, bytes: Bytes) -> Result<Bytes> {
        let signed = serde_json::to_string(update)
            .map_err(|e| Error::invalid("an update that is no JSON").with_source(e))?;
        let request = Request::post(format!("{}{path}", self.url)).header(wire::SIGNED, signed);
        self.ask(path, request, bytes, wire::SMALL).await
    }

    async fn ask(
        &self,
        path: &str,
        request: hyper::http::request::Builder,
        body: Bytes,
        limit: usize,
    ) -> Result<Bytes> {
        let what = format!("{}{path}", self.url);
        let request = request
            .body(Full::new(body))
            .map_err(|e| Error::invalid(format!("`{what}` is not a URL")).with_source(e))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|e| {
                Error::new(ErrorKind::Unavailable, format!("no answer of {what}")).with_source(e)
            })?;
            let (head, body): (_, Incoming) = answer.into_parts();
            if head.status.is_success() {
                return openledger_http::read(body, limit, self.patience).await;
            }
            // What it says is worth showing; that it does not say it is not worth an error.
            let said = openledger_http::read(body, wire::SMALL, self.patience).await;
            let said = said.unwrap_or_default();
            let said: String = String::from_utf8_lossy(&said)
                .chars()
                .filter(|c| !c.is_control())
                .take(300)
                .collect();
            let message = format!("{what} answered {}", head.status.as_u16());
            Err(Error::new(wire::kind(head.status), message).with_source(said))
        };
        tokio::time::timeout(self.patience, exchange).await.unwrap_or_else(|_| {
            let message = format!("no answer of {what} within {:?}", self.patience);
            Err(Error::new(ErrorKind::Unavailable, message))
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

#[async_trait]
impl Exchange for Client {
    async fn round(&self) -> Result<Round> {
        let json = self.get(wire::ROUND, wire::SMALL).await?;
        serde_json::from_slice(&json)
            .map_err(|e| Error::corrupt(format!("{} says no round", self.url)).with_source(e))
    }

    async fn matrices(&self, round: &Round) -> Result<openledger_core::Bytes> {
        if round.size > self.largest {
            let message = format!("matrices of {} bytes, {} allowed", round.size, self.largest);
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let bytes = self.get(&format!("{}{:?}", wire::MATRICES, round.start), round.size).await?;
        match Matrices::digest(&bytes) == round.start {
            true => Ok(bytes.into()),
            false => Err(Error::corrupt(format!("the bytes are not matrices {}", round.start))),
        }
    }

    async fn submit(
        &self,
        update: Signed<LocalUpdate>,
        bytes: openledger_core::Bytes,
    ) -> Result<()> {
        // An answer that comes before the bytes are read may be lost with the connection, so what can be
        // refused without them is asked first.
        self.post(wire::CLAIMS, &update, Bytes::new()).await?;
        self.post(wire::UPDATES, &update, bytes.0).await?;
        Ok(())
    }
}
