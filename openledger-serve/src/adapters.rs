//! Adapters by name, and leases on what a name meant.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use openledger_core::{AdapterId, Error, ErrorKind, Result};
use openledger_kernels::{Mat, Packed};
use openledger_model::{Adapter, Network, Param, Saved, Table};

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

/// A hold on one adapter, named by content. Cheap to clone.
#[derive(Clone)]
pub struct Lease(Arc<Generation>);

/// An adapter as the engine multiplies by it.
struct Generation {
    id: AdapterId,
    pairs: BTreeMap<Param, PackedPair>,
    tables: BTreeMap<Saved, Table>,
}

/// The two matrices at one linear layer, transposed and packed.
pub(crate) struct PackedPair {
    /// `[in, rank]`.
    pub(crate) down: Packed,
    /// `[rank, out]`.
    pub(crate) up: Packed,
    pub(crate) scale: f32,
    /// With `DoRA` what each result is multiplied by, `[out]`.
    pub(crate) factors: Option<Vec<f32>>,
}

impl Lease {
    /// Makes an adapter ready without giving it an alias.
    pub fn new(network: &Network, adapter: &Adapter) -> Self {
        let pairs = adapter
            .lora()
            .pairs()
            .map(|(site, pair)| {
                let [out, width] = network.sizes(site);
                let packed = PackedPair {
                    down: Packed::new(Mat::new(&pair.a, pair.rank, width).t()),
                    up: Packed::new(Mat::new(&pair.b, out, pair.rank).t()),
                    scale: pair.scale,
                    factors: pair.direction(network, site).map(|direction| direction.factors),
                };
                (site, packed)
            })
            .collect();
        let tables = adapter.lora().tables().map(|(saved, table)| (saved, table.clone())).collect();
        Self(Arc::new(Generation { id: adapter.id(), pairs, tables }))
    }

    /// Returns the adapter's id.
    pub fn id(&self) -> AdapterId {
        self.0.id
    }

    pub(crate) fn at(&self, site: Param) -> Option<&PackedPair> {
        self.0.pairs.get(&site)
    }

    /// The table that takes the place of the base model's.
    pub(crate) fn table(&self, saved: Saved) -> Option<&Table> {
        self.0.tables.get(&saved)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.0.id)
    }
}
