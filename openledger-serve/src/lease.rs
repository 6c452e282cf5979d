//! Leases on adapters, as the engine multiplies by them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use openledger_core::AdapterId;
use openledger_kernels::{Mat, Packed};
use openledger_model::{Adapter, Network, Pair, Param, Saved, Table};

use crate::fingerprint::Fingerprint;

/// What an engine keeps the numbers of adapters in.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum AdapterPrecision {
    /// As training had them.
    #[default]
    F32,
    /// Rounded to `bf16`, in half the memory; beside a base in `bf16` or less, where adapters would be read
    /// for longer than it.
    Bf16,
}

/// Which numbers an engine multiplies by: what was computed with one rounding of an adapter is not what
/// another computes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Numbers {
    pub(crate) id: AdapterId,
    pub(crate) precision: AdapterPrecision,
}

/// A hold on one adapter, named by content. Cheap to clone. Engines of another base than it was made for
/// refuse it.
#[derive(Clone)]
pub struct Lease(Arc<Generation>);

/// An adapter as the engine multiplies by it.
struct Generation {
    numbers: Numbers,
    base: Fingerprint,
    sites: BTreeMap<Param, Site>,
    /// `[in, ranks]` of the linear layers that read the same rows, side by side.
    downs: Vec<Packed>,
    tables: BTreeMap<Saved, Table>,
}

/// What an adapter has at one linear layer.
pub(crate) struct Site {
    /// Which of the matrices that lower rows, and from which column on.
    pub(crate) down: usize,
    pub(crate) first: usize,
    /// `[rank, out]`.
    pub(crate) up: Packed,
    pub(crate) scale: f32,
    /// With `DoRA` what each result is multiplied by, `[out]`.
    pub(crate) factors: Option<Vec<f32>>,
}

impl Lease {
    /// Makes an adapter ready without giving it an alias.
    pub fn new(network: &Network, adapter: &Adapter) -> Self {
        Self::with_precision(network, adapter, AdapterPrecision::F32)
    }

    /// Makes an adapter ready, its matrices kept in `precision`.
    pub fn with_precision(
        network: &Network,
        adapter: &Adapter,
        precision: AdapterPrecision,
    ) -> Self {
        let pack = |matrix: Mat<'_>| match precision {
            AdapterPrecision::F32 => Packed::new(matrix),
            AdapterPrecision::Bf16 => Packed::new_bf16(matrix),
        };
        let pairs: BTreeMap<Param, &Pair> = adapter.lora().pairs().collect();
        let (mut sites, mut downs) = (BTreeMap::new(), Vec::new());
        for together in network.decoder().linears_by_input() {
            let adapted: Vec<(Param, &Pair)> = together
                .iter()
                .filter_map(|linear| Some((linear.weight, *pairs.get(&linear.weight)?)))
                .collect();
            let Some((first, _)) = adapted.first() else { continue };
            let [_, width] = network.sizes(*first);
            let ranks = adapted.iter().map(|(_, pair)| pair.rank).sum();
            // Rows of `A` are columns of what rows are multiplied by.
            let rows: Vec<f32> = adapted.iter().flat_map(|(_, pair)| &pair.a).copied().collect();
            let mut first = 0;
            for (site, pair) in adapted {
                let [out, _] = network.sizes(site);
                let up = pack(Mat::new(&pair.b, out, pair.rank).t());
                let factors = pair.direction(network, site).map(|direction| direction.factors);
                let (down, scale) = (downs.len(), pair.scale);
                sites.insert(site, Site { down, first, up, scale, factors });
                first += pair.rank;
            }
            downs.push(pack(Mat::new(&rows, ranks, width).t()));
        }
        let tables = adapter.lora().tables().map(|(saved, table)| (saved, table.clone())).collect();
        let numbers = Numbers { id: adapter.id(), precision };
        let base = Fingerprint::of(network);
        Self(Arc::new(Generation { numbers, base, sites, downs, tables }))
    }

    /// Returns the adapter's id.
    pub fn id(&self) -> AdapterId {
        self.0.numbers.id
    }

    pub(crate) fn numbers(&self) -> Numbers {
        self.0.numbers
    }

    /// Returns which base it was made for.
    pub(crate) fn base(&self) -> Fingerprint {
        self.0.base
    }

    /// Returns how many bytes it takes, with tables of its own.
    pub fn bytes(&self) -> usize {
        let factors = |site: &Site| 4 * site.factors.as_ref().map_or(0, Vec::len);
        let sites = self.0.sites.values().map(|site| site.up.bytes() + factors(site));
        let tables = self.0.tables.values().map(|table| 4 * table.data().len());
        sites.chain(self.0.downs.iter().map(Packed::bytes)).chain(tables).sum()
    }

    /// How many holds there are on the adapter, this one included.
    pub(crate) fn holds(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(crate) fn at(&self, site: Param) -> Option<&Site> {
        self.0.sites.get(&site)
    }

    /// The matrix that lowers the rows of a site.
    pub(crate) fn down(&self, site: &Site) -> &Packed {
        &self.0.downs[site.down]
    }

    /// The table that takes the place of the base model's.
    pub(crate) fn table(&self, saved: Saved) -> Option<&Table> {
        self.0.tables.get(&saved)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.id())
    }
}
