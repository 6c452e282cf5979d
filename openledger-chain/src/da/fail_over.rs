//! A layer that may be down, with a store of your own beneath it.

use async_trait::async_trait;
use openledger_core::{B256, Error, ErrorKind, Result, Store, store::Head};

use super::{Availability, Bytes, Certificate, DataLayer, Local, Scheme};

/// Publishes to a layer, and keeps what it does not take until it does.
///
/// ```text
/// put ─▶ store ─▶ layer ─▶ its certificate
///                   └ down ─▶ pending ─▶ a local certificate        repost ─▶ layer ─▶ posted
/// ```
///
/// Bytes lie in the store before the layer is asked, so an outage of any length and a process
/// killed at any point lose nothing that was acknowledged. They stay there: EigenDA forgets a blob
/// after about two weeks, and reads prefer the copy, which has the same hash and no network. Where
/// the copy is lost, the layer is asked, for what was pending by its posted certificate.
///
/// Only [`ErrorKind::Unavailable`] fails over. Bytes that are too large, or that the layer forbids,
/// are the caller's to change: posted later they would fail again.
#[derive(Clone, Debug)]
pub struct FailOver {
    layer: Availability,
    local: Availability,
    store: Store,
}

/// What [`FailOver::repost`] did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reposted {
    /// The layer's certificates for what it took now.
    pub certificates: Vec<Certificate>,
    /// How many are pending still.
    pub left: usize,
    /// Why, for the first of them.
    pub reason: Option<Error>,
}

impl FailOver {
    /// Puts `store` beneath `layer`. The list of what is pending is in the store as well: open the
    /// same one after a restart.
    pub fn new(layer: impl DataLayer + 'static, store: Store) -> Self {
        let local = Availability::new(Local::new(store.clone()));
        Self { layer: Availability::new(layer), local, store }
    }

    /// Returns the hashes of what the layer has yet to take, ascending.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the store cannot be listed.
    pub async fn pending(&self) -> Result<Vec<B256>> {
        let pending = self.store.heads(&PENDING.parse()?).await?;
        let posted = self.store.heads(&POSTED.parse()?).await?;
        let is_posted =
            |head: &Head| posted.binary_search_by(|p| p.name().cmp(head.name())).is_ok();
        pending
            .iter()
            .filter(|head| !is_posted(head))
            .map(|head| {
                let hash = head.name().parse::<B256>();
                hash.map_err(|e| Error::corrupt(format!("head `{head}`")).with_source(e))
            })
            .collect()
    }

    /// Offers the layer again what is pending, and stops when it is down again.
    ///
    /// Call it from time to time. What the layer refuses for good, or whose copy is lost, stays pending
    /// and is passed over.
    ///
    /// # Errors
    /// Those of the store's heads; what the layer or a copy says is in the result.
    pub async fn repost(&self) -> Result<Reposted> {
        let pending = self.pending().await?;
        let mut certificates = Vec::new();
        let mut reason = None;
        for &hash in &pending {
            let bytes = match self.local.get(&Certificate::local(hash)).await {
                Ok(bytes) => bytes,
                Err(e) => {
                    reason.get_or_insert(e);
                    continue;
                }
            };
            match self.layer.put(bytes).await {
                Ok(certificate) => {
                    self.mark_posted(&certificate).await?;
                    certificates.push(certificate);
                }
                Err(e) => {
                    let is_down = e.kind() == ErrorKind::Unavailable;
                    reason.get_or_insert(e);
                    if is_down {
                        break;
                    }
                }
            }
        }
        let left = pending.len() - certificates.len();
        Ok(Reposted { certificates, left, reason })
    }

    /// Returns the layer's certificate for what was pending once.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it is pending still, or never was.
    pub async fn posted(&self, hash: B256) -> Result<Certificate> {
        Certificate::decode(&self.store.read(&head(POSTED, hash)?).await?)
    }

    async fn mark_pending(&self, hash: B256) -> Result<()> {
        once(self.store.create(&head(PENDING, hash)?, Bytes::new()).await)
    }

    async fn mark_posted(&self, certificate: &Certificate) -> Result<()> {
        let head = head(POSTED, certificate.hash())?;
        once(self.store.create(&head, certificate.encode().into()).await)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DataLayer for FailOver {
    async fn put(&self, bytes: Bytes) -> Result<Certificate> {
        let local = self.local.put(bytes.clone()).await?;
        match self.layer.put(bytes).await {
            Err(e) if e.kind() == ErrorKind::Unavailable => {
                self.mark_pending(local.hash()).await?;
                Ok(local)
            }
            result => result,
        }
    }

    async fn get(&self, certificate: &Certificate) -> Result<Bytes> {
        let hash = certificate.hash();
        let lost = match self.local.get(&Certificate::local(hash)).await {
            Ok(bytes) => return Ok(bytes),
            Err(e) => e,
        };
        if certificate.scheme() != Scheme::LOCAL {
            return self.layer.get(certificate).await;
        }
        match self.posted(hash).await {
            Ok(posted) => self.layer.get(&posted).await,
            Err(e) if e.kind() == ErrorKind::NotFound => Err(lost),
            Err(e) => Err(e),
        }
    }
}

const PENDING: &str = "da/pending";
const POSTED: &str = "da/posted";

fn head(folder: &str, hash: B256) -> Result<Head> {
    format!("{folder}/{hash:x}").parse()
}

/// A name that is taken already was taken for the same thing.
fn once(created: Result<()>) -> Result<()> {
    match created {
        Err(e) if e.kind() == ErrorKind::Conflict => Ok(()),
        result => result,
    }
}
