//! Adapters in an object store.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{Error as ObjectError, ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::Apart;
use openledger_model::AdapterFiles;

use super::{AdapterName, AdapterSource, FileLimits, ListAdapters};

/// The most objects that are looked at to list adapters.
const MAX_OBJECTS: usize = 1 << 17;

/// Adapters in any [`object_store`]: `law` is the two objects below `PREFIX/law/`.
///
/// An object that is replaced while the two are read is an error that passes. An adapter of which one
/// object was replaced and the other not yet looks like any other: give what is new a new name.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Objects {
    /// Takes a store and the folder in it, which may be empty.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if `prefix` is no path.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        let prefix = Path::parse(prefix)
            .map_err(|e| Error::invalid(format!("`{prefix}` is no path")).with_source(e))?;
        Ok(Self { store, prefix })
    }

    fn path(&self, name: &AdapterName, file: &str) -> Path {
        let parts = name.parts().chain([file]);
        Path::from_iter(self.prefix.parts().chain(parts.map(Into::into)))
    }

    async fn read(
        &self,
        name: &AdapterName,
        file: &str,
        limits: FileLimits,
    ) -> Result<(Bytes, ObjectMeta)> {
        let failed = |e| failed(name, file, e);
        let found = self.store.get(&self.path(name, file)).await.map_err(failed)?;
        let meta = found.meta.clone();
        limits.check(name, file, meta.size)?;
        let no_room = |e| {
            let message = format!("no memory for the {} bytes of `{file}` of `{name}`", meta.size);
            Error::new(ErrorKind::Unavailable, message).with_source(e)
        };
        let size = usize::try_from(meta.size).unwrap_or(usize::MAX);
        let (mut bytes, mut came) = (Apart::new(size).map_err(no_room)?, 0);
        let mut stream = found.into_stream();
        while let Some(more) = stream.next().await {
            let more = more.map_err(failed)?;
            came += more.len() as u64;
            limits.check(name, file, came)?;
            let mut more = &more[..];
            while bytes.read_from(&mut more).map_err(no_room)? > 0 {}
        }
        if came != meta.size {
            let message =
                format!("{came} bytes came of `{file}` of `{name}`, which has {}", meta.size);
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok((bytes.freeze(), meta))
    }

    async fn look(&self, name: &AdapterName, file: &str) -> Result<ObjectMeta> {
        let found = self.store.head(&self.path(name, file)).await;
        found.map_err(|e| failed(name, file, e))
    }
}

#[async_trait]
impl AdapterSource for Objects {
    async fn fetch(&self, name: &AdapterName, limits: FileLimits) -> Result<AdapterFiles> {
        let before = self.look(name, AdapterFiles::WEIGHTS).await?;
        limits.check(name, AdapterFiles::WEIGHTS, before.size)?;
        let (config, config_read) = self.read(name, AdapterFiles::CONFIG, limits).await?;
        let (weights, weights_read) = self.read(name, AdapterFiles::WEIGHTS, limits).await?;
        let after = self.look(name, AdapterFiles::CONFIG).await?;
        let stamp = |meta: &ObjectMeta| (meta.e_tag.clone(), meta.last_modified, meta.size);
        if stamp(&before) != stamp(&weights_read) || stamp(&config_read) != stamp(&after) {
            let message = format!("`{name}` is being replaced: it changed while it was read");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(AdapterFiles::new(config.to_vec(), weights))
    }
}

#[async_trait]
impl ListAdapters for Objects {
    async fn list(&self) -> Result<Vec<AdapterName>> {
        let listed: Vec<ObjectMeta> = self
            .store
            .list(Some(&self.prefix).filter(|prefix| prefix.parts().next().is_some()))
            .take(MAX_OBJECTS + 1)
            .try_collect()
            .await
            .map_err(|e| {
                Error::new(ErrorKind::Unavailable, "cannot list adapters").with_source(e)
            })?;
        if listed.len() > MAX_OBJECTS {
            let message = format!("over {MAX_OBJECTS} objects to look for adapters in");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let folder = |file: &'static str| {
            listed.iter().filter_map(move |meta| {
                let parts: Vec<_> = meta.location.prefix_match(&self.prefix)?.collect();
                let (last, folder) = parts.split_last()?;
                let folder: Vec<&str> = folder.iter().map(AsRef::as_ref).collect();
                (last.as_ref() == file).then(|| folder.join("/").parse::<AdapterName>().ok())?
            })
        };
        let whole: std::collections::BTreeSet<AdapterName> =
            folder(AdapterFiles::WEIGHTS).collect();
        let mut names: Vec<_> =
            folder(AdapterFiles::CONFIG).filter(|name| whole.contains(name)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({}, `{}`)", self.store, self.prefix)
    }
}

fn failed(name: &AdapterName, file: &str, e: ObjectError) -> Error {
    match e {
        ObjectError::NotFound { .. } => {
            Error::new(ErrorKind::NotFound, format!("no adapter `{name}`: it has no `{file}`"))
        }
        ObjectError::PermissionDenied { .. } | ObjectError::Unauthenticated { .. } => {
            Error::new(ErrorKind::Denied, format!("the store does not give `{file}` of `{name}`"))
        }
        _ => Error::new(ErrorKind::Unavailable, format!("cannot read `{file}` of `{name}`")),
    }
    .with_source(e)
}
