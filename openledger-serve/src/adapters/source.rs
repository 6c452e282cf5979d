//! Where adapters come from.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::AdapterFiles;

use super::AdapterName;

/// A place that adapters are fetched from by name. Implement this; give it to [`Sources`](super::Sources).
///
/// # Contract
/// - `fetch` returns both files as they were at one time, whole, or an error.
/// - An unknown name is [`ErrorKind::NotFound`], never empty files.
/// - A file over its limit is [`ErrorKind::Limit`], before more of it than that is read.
/// - What may pass is [`ErrorKind::Unavailable`]; only such errors are retryable.
/// - `fetch` may run on any thread and does not block it for long.
/// - Dropping a returned future ends the work, at the latest with what it reads at the time.
///
/// Bytes need not be checked: whoever fetches parses them strictly.
#[async_trait]
pub trait AdapterSource: fmt::Debug + Send + Sync {
    /// Fetches the two files of the adapter that is called `name` there.
    async fn fetch(&self, name: &AdapterName, limits: FileLimits) -> Result<AdapterFiles>;
}

/// The ability of a source to say what there is.
#[async_trait]
pub trait ListAdapters: AdapterSource {
    /// Lists the names that [`fetch`](AdapterSource::fetch) knows, in ascending order.
    async fn list(&self) -> Result<Vec<AdapterName>>;
}

#[async_trait]
impl<S: AdapterSource + ?Sized> AdapterSource for Arc<S> {
    async fn fetch(&self, name: &AdapterName, limits: FileLimits) -> Result<AdapterFiles> {
        (**self).fetch(name, limits).await
    }
}

/// The most bytes that are read of each file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileLimits {
    /// Of `adapter_config.json`: 1 MiB.
    pub config: u64,
    /// Of `adapter_model.safetensors`: 2 GiB.
    pub weights: u64,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { config: 1 << 20, weights: 2 << 30 }
    }
}

impl FileLimits {
    /// Returns this with another limit on weights.
    #[must_use]
    pub const fn with_weights(mut self, weights: u64) -> Self {
        self.weights = weights;
        self
    }

    /// Returns the limit of `file`, [`AdapterFiles::CONFIG`] or [`AdapterFiles::WEIGHTS`].
    pub fn of(self, file: &str) -> u64 {
        if file == AdapterFiles::CONFIG { self.config } else { self.weights }
    }

    /// Refuses `bytes` of `file` if they are too many.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] naming the file and both numbers.
    pub fn check(self, name: &AdapterName, file: &str, bytes: u64) -> Result<()> {
        let most = self.of(file);
        if bytes <= most {
            return Ok(());
        }
        let message = format!("`{file}` of `{name}` is larger than the {most} bytes allowed");
        Err(Error::new(ErrorKind::Limit, message))
    }
}

/// The error for a name nobody knows. It may be anything, so it is shown short and escaped.
pub(super) fn not_found(name: &str) -> Error {
    let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
    Error::new(ErrorKind::NotFound, format!("no adapter `{shown}`"))
}
