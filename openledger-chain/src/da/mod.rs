//! Data availability: bytes go in, a certificate comes out.
//!
//! ```text
//! your code ──▶ Availability ──▶ DataLayer ──▶ Local | EigenDa | FailOver of both | yours
//!               checks the hash                 only moves bytes
//!               on every read
//! ```
//!
//! What a contract keeps is the keccak-256 of the bytes. A [`Certificate`] adds where they are.

mod certificate;
#[cfg(feature = "testing")]
pub mod conformance;
mod eigenda;
mod fail_over;
mod local;
#[cfg(feature = "testing")]
pub mod mock;
mod pause;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use openledger_core::{Error, Result, keccak256};

pub use certificate::{Certificate, MAX_CERTIFICATE_BYTES, Scheme};
#[cfg(feature = "http")]
pub use eigenda::HttpClient;
pub use eigenda::{Backoff, EigenDa, MAX_PAYLOAD_BYTES};
pub use fail_over::{FailOver, Reposted};
pub use local::Local;
pub use pause::{Pause, TokioPause};

/// Shared bytes, as [`DataLayer`] takes them.
pub use alloy::primitives::bytes::Bytes;

/// Publishes bytes where anyone can fetch them, and says how. Implement this; call [`Availability`].
///
/// # Contract
/// - `put` is idempotent: the same bytes twice give certificates for the same bytes and no error.
/// - What `put` returned a certificate for, `get` returns, as long as the layer promises to keep it.
/// - `get` of what was never put is an error that is not retryable, never empty bytes:
///   [`NotFound`](openledger_core::ErrorKind::NotFound), or
///   [`Corrupt`](openledger_core::ErrorKind::Corrupt) where a layer only sees that the certificate
///   does not verify.
/// - A certificate of another scheme is [`Invalid`](openledger_core::ErrorKind::Invalid).
/// - [`Unavailable`](openledger_core::ErrorKind::Unavailable) means that nobody is to blame but the
///   layer; the same call may go to another layer.
/// - Dropping a returned future cancels the call; what was stored stays stored.
#[async_trait]
pub trait DataLayer: fmt::Debug + Send + Sync {
    /// Publishes `bytes` and returns the certificate that fetches them.
    async fn put(&self, bytes: Bytes) -> Result<Certificate>;

    /// Fetches what a certificate was given for. The handle checks the hash, not the layer.
    async fn get(&self, certificate: &Certificate) -> Result<Bytes>;
}

/// A cloneable handle on a [`DataLayer`] that believes nothing.
///
/// # Examples
/// ```
/// use openledger_chain::da::{Availability, Local};
/// use openledger_core::Store;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let da = Availability::new(Local::new(Store::memory()));
/// let certificate = da.put("the leaves of an epoch").await?;
/// assert_eq!(da.get(&certificate).await?, "the leaves of an epoch");
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Availability {
    layer: Arc<dyn DataLayer>,
}

impl Availability {
    /// Wraps a layer.
    pub fn new(layer: impl DataLayer + 'static) -> Self {
        Self { layer: Arc::new(layer) }
    }

    /// Publishes bytes.
    ///
    /// # Errors
    /// Those of the layer; [`Corrupt`](openledger_core::ErrorKind::Corrupt) if its certificate is
    /// for other bytes.
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<Certificate> {
        let bytes = bytes.into();
        let hash = keccak256(&bytes);
        let certificate = self.layer.put(bytes).await?;
        if certificate.hash() != hash {
            let found = certificate.hash();
            return Err(Error::corrupt(format!("a certificate for {found}, not for {hash}")));
        }
        Ok(certificate)
    }

    /// Fetches bytes and checks that they are those the certificate names.
    ///
    /// # Errors
    /// Those of the layer; [`Corrupt`](openledger_core::ErrorKind::Corrupt) for other bytes.
    pub async fn get(&self, certificate: &Certificate) -> Result<Bytes> {
        let bytes = self.layer.get(certificate).await?;
        let (hash, found) = (certificate.hash(), keccak256(&bytes));
        if found != hash {
            return Err(Error::corrupt(format!("the data layer gave bytes of {found} for {hash}")));
        }
        Ok(bytes)
    }
}
