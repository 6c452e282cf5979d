//! A content-addressed store over any [`object_store`].
//!
//! Two kinds of things are kept. A **blob** is named by the hash of its bytes, so writing it twice
//! is harmless and reading it checks it. A **head** is a name that can be taken once: of many
//! writers that race for it, exactly one wins, which is all that versions and logs need.
//!
//! ```text
//! put(bytes) ─▶ hash ─▶ blobs/ab/abcd…         heads/datanet/0x…/00001 ◀─ create(name, bytes), once
//! ```

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod head;

use std::{fmt, sync::Arc};

use alloy_primitives::B256;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    Error as ObjectError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, memory::InMemory,
    path::Path,
};

pub use head::Head;

use crate::{ContentHash, Error, ErrorKind, Result};

/// The largest object [`Store`] reads or writes: 4 GiB.
pub const MAX_OBJECT_BYTES: u64 = 4 << 30;

/// A cloneable handle on a store.
///
/// # Contract
/// - [`put`](Self::put) is idempotent. What it returned can be read until it is erased.
/// - [`get`](Self::get) never returns bytes that differ from those named.
/// - [`create`](Self::create) succeeds for exactly one of any number of callers.
/// - Dropping a returned future cancels the call; a blob is then whole or absent.
///
/// # Examples
/// ```
/// use openledger_core::{ErrorKind, Store, store::Head};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = Store::memory();
/// let hash = store.put("rows".into()).await?;
/// assert_eq!(store.get(hash).await?, "rows");
///
/// let head: Head = "versions/1".parse()?;
/// store.create(&head, "first".into()).await?;
/// let late = store.create(&head, "second".into()).await.unwrap_err();
/// assert_eq!(late.kind(), ErrorKind::Conflict);
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
}

impl Store {
    /// Makes a store in memory, gone with its last handle.
    pub fn memory() -> Self {
        Self { objects: Arc::new(InMemory::new()) }
    }

    /// Opens a store in the folder `root`, which is made if it does not exist.
    ///
    /// Writes are flushed to the disk before they are acknowledged.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the folder cannot be made or written.
    #[cfg(feature = "fs")]
    pub async fn local(root: impl AsRef<std::path::Path>) -> Result<Self> {
        let root = root.as_ref();
        let opened = std::fs::create_dir_all(root)
            .map_err(|e| object_store::Error::Generic { store: "local", source: Box::new(e) })
            .and_then(|()| object_store::local::LocalFileSystem::new_with_prefix(root));
        let disk = opened.map_err(|e| {
            Error::new(
                ErrorKind::Unavailable,
                format!("cannot open a store in `{}`", root.display()),
            )
            .with_source(e)
        })?;
        Self::open(Arc::new(disk.with_fsync(true))).await
    }

    /// Opens a store on any backend, after checking that the backend keeps heads exclusive.
    ///
    /// Some S3 look-alikes accept a conditional write and ignore the condition, which loses data
    /// without a word. So a name nobody uses is taken twice here, and removed.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the second writer got the name as well or the backend knows
    /// no conditional writes; [`ErrorKind::Unavailable`] if the backend cannot be reached.
    pub async fn open(objects: Arc<dyn ObjectStore>) -> Result<Self> {
        let store = Self { objects };
        store.probe().await?;
        Ok(store)
    }

    /// Writes `bytes` and returns their name.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the backend did not take all of them; [`ErrorKind::Limit`]
    /// over [`MAX_OBJECT_BYTES`].
    pub async fn put(&self, bytes: Bytes) -> Result<ContentHash> {
        check_size(bytes.len() as u64, "blob")?;
        let hash = ContentHash::of(&bytes);
        let path = blob_path(hash);
        let present = match self.objects.head(&path).await {
            Ok(meta) => meta.size == bytes.len() as u64,
            Err(ObjectError::NotFound { .. }) => false,
            Err(e) => return Err(unavailable(format!("cannot look for blob {hash}"), e)),
        };
        if !present {
            let written = self.objects.put(&path, bytes.into()).await;
            written.map_err(|e| unavailable(format!("cannot write blob {hash}"), e))?;
        }
        Ok(hash)
    }

    /// Reads the blob named `hash` and checks it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Corrupt`] if the stored bytes are not those named;
    /// [`ErrorKind::Limit`]; [`ErrorKind::Unavailable`].
    pub async fn get(&self, hash: ContentHash) -> Result<Bytes> {
        let bytes = self.read_object(&blob_path(hash), || format!("blob {hash}")).await?;
        if ContentHash::of(&bytes) != hash {
            return Err(Error::corrupt(format!("blob {hash} holds other bytes than it was given")));
        }
        Ok(bytes)
    }

    /// Takes the name `head` for `bytes`, once and for all.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the name is taken; [`ErrorKind::Limit`]; [`ErrorKind::Unavailable`],
    /// after which the name may or may not be taken: read it before trying again.
    pub async fn create(&self, head: &Head, bytes: Bytes) -> Result<()> {
        check_size(bytes.len() as u64, "head")?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&head.path(), bytes.into(), options).await {
            Ok(_) => Ok(()),
            Err(e @ (ObjectError::AlreadyExists { .. } | ObjectError::Precondition { .. })) => {
                Err(Error::new(ErrorKind::Conflict, format!("`{head}` is taken")).with_source(e))
            }
            Err(e) => Err(unavailable(format!("cannot take `{head}`"), e)),
        }
    }

    /// Reads what `head` was created with.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Limit`]; [`ErrorKind::Unavailable`].
    pub async fn read(&self, head: &Head) -> Result<Bytes> {
        self.read_object(&head.path(), || format!("head `{head}`")).await
    }

    /// Lists the heads below the folder `prefix`, in ascending order.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn heads(&self, prefix: &Head) -> Result<Vec<Head>> {
        let listed: Vec<_> = self
            .objects
            .list(Some(&prefix.path()))
            .try_collect()
            .await
            .map_err(|e| unavailable(format!("cannot list `{prefix}`"), e))?;
        let mut heads: Vec<Head> =
            listed.iter().filter_map(|meta| Head::from_path(&meta.location)).collect();
        heads.sort_unstable();
        Ok(heads)
    }

    async fn read_object(&self, path: &Path, name: impl Fn() -> String) -> Result<Bytes> {
        let failed = |e| match e {
            ObjectError::NotFound { .. } => {
                Error::new(ErrorKind::NotFound, format!("no {}", name())).with_source(e)
            }
            e => unavailable(format!("cannot read {}", name()), e),
        };
        let found = self.objects.get(path).await.map_err(failed)?;
        check_size(found.meta.size, "object")?;
        found.bytes().await.map_err(failed)
    }

    async fn probe(&self) -> Result<()> {
        // Several probes may run at once: whoever finds a name taken tries the next.
        for attempt in 0..64u32 {
            let name = crate::digest("openledger.store.probe", &(std::process::id(), attempt));
            let head: Head = format!("probe/{name:x}").parse()?;
            match self.create(&head, Bytes::from_static(b"probe")).await {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::Conflict => continue,
                Err(e) => return Err(e),
            }
            let second = self.create(&head, Bytes::from_static(b"second")).await;
            self.objects
                .delete(&head.path())
                .await
                .map_err(|e| unavailable("cannot remove the probe".to_owned(), e))?;
            return match second {
                Err(e) if e.kind() == ErrorKind::Conflict => Ok(()),
                _ => Err(Error::new(
                    ErrorKind::Unsupported,
                    "this store lets two writers take one name (no put-if-absent): use another \
                     backend, or switch conditional writes on",
                )),
            };
        }
        Err(Error::new(ErrorKind::Unavailable, "64 probes in a row were in the way of another"))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.objects)
    }
}

fn blob_path(hash: ContentHash) -> Path {
    let digits = format!("{:x}", B256::from(hash));
    Path::from_iter(["blobs", &digits[..2], &digits])
}

fn check_size(size: u64, what: &str) -> Result<()> {
    if size <= MAX_OBJECT_BYTES {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Limit,
        format!("a {what} of {size} bytes, {MAX_OBJECT_BYTES} allowed"),
    ))
}

fn unavailable(message: String, source: ObjectError) -> Error {
    Error::new(ErrorKind::Unavailable, message).with_source(source)
}
