//! Which sources there are: the list of what may be loaded.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::AdapterFiles;

use super::{AdapterName, AdapterSource, FileLimits, source::not_found};

/// The sources adapters are loaded from, and no others.
///
/// `hub:owner/name` is `owner/name` of the source that was given as `hub`; a name without a colon is of
/// the source that was given as the default.
///
/// # Examples
/// ```
/// use openledger_serve::{Directory, Only, Sources};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let all = Directory::open(folder)?;
/// let ours = Only::new(all.clone(), |name| name.as_str().starts_with("ours/"));
/// let sources = Sources::new().with_default(ours).with("all", all);
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Sources {
    by_scheme: BTreeMap<Arc<str>, Arc<dyn AdapterSource>>,
}

/// An adapter's name with that of its source, empty for the default.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct SourceName {
    scheme: Arc<str>,
    name: AdapterName,
}

impl Sources {
    /// Makes an empty list: nothing is loaded by name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns this with a source for names without a colon.
    #[must_use]
    pub fn with_default(self, source: impl AdapterSource + 'static) -> Self {
        self.with("", source)
    }

    /// Returns this with a source for names that begin with `scheme` and a colon.
    #[must_use]
    pub fn with(
        mut self,
        scheme: impl Into<Arc<str>>,
        source: impl AdapterSource + 'static,
    ) -> Self {
        self.by_scheme.insert(scheme.into(), Arc::new(source));
        self
    }

    /// Finds which source a name is of.
    pub(super) fn parse(&self, text: &str) -> Result<SourceName> {
        let (scheme, name) = match text.split_once(':') {
            Some((scheme, name)) => (Some(scheme).filter(|scheme| !scheme.is_empty()), name),
            None => (Some(""), text),
        };
        match scheme.and_then(|scheme| self.by_scheme.get_key_value(scheme)) {
            Some((scheme, _)) => Ok(SourceName { scheme: Arc::clone(scheme), name: name.parse()? }),
            None => Err(not_found(text)),
        }
    }

    pub(super) async fn fetch(
        &self,
        source: &SourceName,
        limits: FileLimits,
    ) -> Result<AdapterFiles> {
        match self.by_scheme.get(&source.scheme) {
            Some(found) => found.fetch(&source.name, limits).await,
            None => Err(not_found(&source.to_string())),
        }
    }

    /// Checks what a source gave: it is somebody else's code.
    pub(super) fn check(
        source: &SourceName,
        files: &AdapterFiles,
        limits: FileLimits,
    ) -> Result<()> {
        limits.check(&source.name, AdapterFiles::CONFIG, files.config.len() as u64)?;
        limits.check(&source.name, AdapterFiles::WEIGHTS, files.weights.len() as u64)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.by_scheme).finish()
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.scheme {
            "" => write!(f, "{}", self.name),
            scheme => write!(f, "{scheme}:{}", self.name),
        }
    }
}

/// A source of which only some names are given.
#[derive(Clone)]
pub struct Only<S> {
    source: S,
    allowed: Arc<dyn Fn(&AdapterName) -> bool + Send + Sync>,
}

impl<S> Only<S> {
    /// Gives of `source` what is `allowed`; anything else is [`ErrorKind::Denied`], whether it is there
    /// or not.
    pub fn new(source: S, allowed: impl Fn(&AdapterName) -> bool + Send + Sync + 'static) -> Self {
        Self { source, allowed: Arc::new(allowed) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: AdapterSource> AdapterSource for Only<S> {
    async fn fetch(&self, name: &AdapterName, limits: FileLimits) -> Result<AdapterFiles> {
        if !(self.allowed)(name) {
            let message = format!("the adapter `{name}` may not be loaded here");
            return Err(Error::new(ErrorKind::Denied, message));
        }
        self.source.fetch(name, limits).await
    }
}

impl<S: fmt::Debug> fmt::Debug for Only<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Only({:?})", self.source)
    }
}
