//! Leases on adapters, as the engine multiplies by them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use openledger_core::AdapterId;
use openledger_kernels::{Mat, Packed};
use openledger_model::{Adapter, Network, Param, Saved, Table};

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
