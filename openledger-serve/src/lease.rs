//! Leases on adapters, as the engine multiplies by them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

use openledger_core::{AdapterId, Error, ErrorKind, Result};
use openledger_kernels::{Arithmetic, Mat, Packed, Storage};
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

impl AdapterPrecision {
    /// Returns what adapters are kept in beside a base: `bf16` if that is rounded to as much or less.
    pub fn beside(network: &Network) -> Self {
        let weights = network.weights();
        let rounded = weights.arithmetic() == Arithmetic::Bf16
            || network
                .decoder()
                .linears()
                .iter()
                .any(|linear| is_quantised(network, linear.weight));
        if rounded { Self::Bf16 } else { Self::F32 }
    }
}

fn is_quantised(network: &Network, site: Param) -> bool {
    let storage = network.weights().matrix(site).storage();
    matches!(storage, Storage::Nf4(_) | Storage::Quantised(_))
}

/// Which numbers an engine multiplies by: what was computed with one rounding of an adapter is not what
/// another computes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Numbers {
    /// Before the id, so that rows of merged copies, which the base's matrices pass over, come last.
    pub(crate) form: Form,
    pub(crate) id: AdapterId,
}

/// How an engine multiplies by an adapter.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Form {
    /// By its matrices, beside the base's.
    Pairs(AdapterPrecision),
    /// By the base's matrices with its own in them.
    Merged,
}

/// A hold on one adapter, named by content. Cheap to clone. Engines of another base than it was made for
/// refuse it.
#[derive(Clone)]
pub struct Lease(Arc<Generation>);

/// What was a lease, and keeps nothing.
pub(crate) struct WeakLease(Weak<Generation>);

impl WeakLease {
    pub(crate) fn is_held(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// An adapter as the engine multiplies by it.
struct Generation {
    numbers: Numbers,
    base: Fingerprint,
    matrices: Matrices,
    tables: BTreeMap<Saved, Table>,
}

enum Matrices {
    Pairs {
        sites: BTreeMap<Param, Site>,
        /// `[in, ranks]` of the linear layers that read the same rows, side by side.
        downs: Vec<Packed>,
    },
    /// `[in, out]`: the base's with the adapter's in them.
    Merged(BTreeMap<Param, Packed>),
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
        Packed::gather(sites.values_mut().map(|site| &mut site.up).chain(&mut downs));
        Self::of(network, adapter, Form::Pairs(precision), Matrices::Pairs { sites, downs })
    }

    /// Makes a merged copy of an adapter: the base's matrices with the adapter's added, so that its answers
    /// cost what those of the base alone do. In exchange it takes as much memory as the base does at the
    /// layers it adapts, and rows of a step that are its own share no product with those of others.
    ///
    /// In `f32` results differ from those of the adapter beside its base by rounding alone; beside a base
    /// in `bf16` sums are rounded to `bf16`, as PEFT's `merge_and_unload` does.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] beside a base in eight or four bits, in which most of what an adapter adds
    /// would be rounded away.
    pub fn merged(network: &Network, adapter: &Adapter) -> Result<Self> {
        let weights = network.weights();
        let merge = |(site, _): (Param, &Pair)| {
            if is_quantised(network, site) {
                let name = weights.name(site);
                let message =
                    format!("`{name}` has eight bits or fewer, in which a sum would be lost");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            let [out, width] = network.sizes(site);
            let sum = adapter.lora().merged(network, site);
            let sum = Mat::new(&sum, out, width).t();
            Ok((
                site,
                match weights.arithmetic() {
                    Arithmetic::Bf16 => Packed::new_rounded(sum),
                    _ => Packed::new(sum),
                },
            ))
        };
        let merged = adapter.lora().pairs().map(merge).collect::<Result<_>>()?;
        Ok(Self::of(network, adapter, Form::Merged, Matrices::Merged(merged)))
    }

    /// How many bytes a merged copy takes, but for what packing adds at the edges.
    pub(crate) fn merged_bytes(network: &Network, adapter: &Adapter) -> usize {
        let element = match network.weights().arithmetic() {
            Arithmetic::Bf16 => 2,
            _ => 4,
        };
        let size = |site| network.sizes(site).into_iter().product::<usize>();
        let matrices = adapter.lora().pairs().map(|(site, _)| element * size(site));
        let tables = adapter.lora().tables().map(|(_, table)| 4 * table.data().len());
        matrices.chain(tables).sum()
    }

    fn of(network: &Network, adapter: &Adapter, form: Form, matrices: Matrices) -> Self {
        let tables = adapter.lora().tables().map(|(saved, table)| (saved, table.clone())).collect();
        let numbers = Numbers { form, id: adapter.id() };
        let base = Fingerprint::of(network);
        Self(Arc::new(Generation { numbers, base, matrices, tables }))
    }

    /// Returns the adapter's id.
    pub fn id(&self) -> AdapterId {
        self.0.numbers.id
    }

    /// Whether it is on a [merged copy](Self::merged).
    pub fn is_merged(&self) -> bool {
        self.0.numbers.form == Form::Merged
    }

    pub(crate) fn downgrade(&self) -> WeakLease {
        WeakLease(Arc::downgrade(&self.0))
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
        let matrices: usize = match &self.0.matrices {
            Matrices::Pairs { sites, downs } => {
                let sites = sites.values().map(|site| site.up.bytes() + factors(site));
                sites.chain(downs.iter().map(Packed::bytes)).sum()
            }
            Matrices::Merged(merged) => merged.values().map(Packed::bytes).sum(),
        };
        let tables = self.0.tables.values().map(|table| 4 * table.data().len());
        matrices + tables.sum::<usize>()
    }

    /// How many holds there are on the adapter, this one included.
    pub(crate) fn holds(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// What it adds to the results of a linear layer, and the matrix that lowers its rows.
    pub(crate) fn at(&self, site: Param) -> Option<(&Site, &Packed)> {
        match &self.0.matrices {
            Matrices::Pairs { sites, downs } => sites.get(&site).map(|s| (s, &downs[s.down])),
            Matrices::Merged(_) => None,
        }
    }

    /// The matrix that takes the place of the base's.
    pub(crate) fn merged_at(&self, site: Param) -> Option<&Packed> {
        match &self.0.matrices {
            Matrices::Pairs { .. } => None,
            Matrices::Merged(merged) => merged.get(&site),
        }
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
