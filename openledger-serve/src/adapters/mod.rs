//! Adapters by name.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{Adapter, Network};

use crate::Lease;

/// The adapters an application serves, by alias. Clones share them.
///
/// An alias names what it was last given. A [`Lease`] names one adapter by content and keeps it:
/// replacing an alias changes no answer that is under way.
#[derive(Clone, Default)]
pub struct Adapters {
    by_alias: Arc<RwLock<HashMap<String, Lease>>>,
}

impl Adapters {
    /// Makes room for adapters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `alias` to `adapter`, in place of what it named; returns the lease on the new one.
    pub fn insert(&self, alias: impl Into<String>, network: &Network, adapter: &Adapter) -> Lease {
        let lease = Lease::new(network, adapter);
        let mut by_alias = self.by_alias.write().unwrap_or_else(PoisonError::into_inner);
        by_alias.insert(alias.into(), lease.clone());
        lease
    }

    /// Takes the alias away; running answers keep their adapter.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn remove(&self, alias: &str) -> Result<()> {
        let mut by_alias = self.by_alias.write().unwrap_or_else(PoisonError::into_inner);
        by_alias.remove(alias).map(drop).ok_or_else(|| unknown(alias))
    }

    /// Takes a lease on what `alias` names now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: an unknown adapter is never answered by the base model.
    pub fn lease(&self, alias: &str) -> Result<Lease> {
        let by_alias = self.by_alias.read().unwrap_or_else(PoisonError::into_inner);
        by_alias.get(alias).cloned().ok_or_else(|| unknown(alias))
    }
}

impl fmt::Debug for Adapters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_alias = self.by_alias.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_map().entries(by_alias.iter()).finish()
    }
}

fn unknown(alias: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no adapter `{alias}`"))
}
