//! Bytes in a store of your own.

use async_trait::async_trait;
use openledger_core::{B256, ContentHash, Error, ErrorKind, Result, Store, keccak256, store::Head};

use super::{Bytes, Certificate, DataLayer, Scheme};

/// Keeps bytes in a [`Store`]: memory, a folder, or any bucket that others can read.
///
/// The store names blobs by BLAKE3 and contracts name them by keccak-256, so a head leads from one
/// to the other. The hash that is on chain is then all that is needed to find the bytes.
#[derive(Clone, Debug)]
pub struct Local {
    store: Store,
}

impl Local {
    /// Keeps bytes in `store`.
    pub const fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl DataLayer for Local {
    async fn put(&self, bytes: Bytes) -> Result<Certificate> {
        let hash = keccak256(&bytes);
        let blob = self.store.put(bytes).await?;
        let head = head(hash)?;
        match self.store.create(&head, Bytes::copy_from_slice(blob.as_bytes())).await {
            Err(e) if e.kind() != ErrorKind::Conflict => return Err(e),
            _ => Ok(Certificate::local(hash)),
        }
    }

    async fn get(&self, certificate: &Certificate) -> Result<Bytes> {
        certificate.expect_scheme(Scheme::LOCAL)?;
        let head = head(certificate.hash())?;
        let blob = self.store.read(&head).await?;
        let blob = B256::try_from(&blob[..])
            .map_err(|e| Error::corrupt(format!("head `{head}` is not a hash")).with_source(e))?;
        self.store.get(ContentHash::from(blob)).await
    }
}

fn head(hash: B256) -> Result<Head> {
    format!("da/blobs/{hash:x}").parse()
}
