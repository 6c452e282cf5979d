//! Leases on adapters, as the engine multiplies by them.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

use openledger_core::{AdapterId, Error, ErrorKind, Result};
use openledger_kernels::{Arithmetic, Mat, Packed, Packing, Storage};
use openledger_model::{
    Adapter, Linear, LoraConfig, Network, Pair, Param, Saved, StoredAdapter, Table,
};

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

/// What a lease is made of.
pub(crate) enum Source<'a> {
    /// An adapter in memory.
    Whole(&'a Adapter),
    /// One whose matrices are read as they are packed: all of them at once would take twice what comes out.
    Stored(&'a StoredAdapter),
}

impl<'a> Source<'a> {
    fn id(&self) -> AdapterId {
        match self {
            Self::Whole(adapter) => adapter.id(),
            Self::Stored(adapter) => adapter.id(),
        }
    }

    fn config(&self) -> &LoraConfig {
        match self {
            Self::Whole(adapter) => adapter.config(),
            Self::Stored(adapter) => adapter.config(),
        }
    }

    /// Lists the layers that have matrices, and their ranks.
    pub(crate) fn ranks(&self) -> Vec<(Param, usize)> {
        match self {
            Self::Whole(adapter) => {
                adapter.lora().pairs().map(|(site, pair)| (site, pair.rank)).collect()
            }
            Self::Stored(adapter) => adapter.ranks().collect(),
        }
    }

    fn pair(&self, site: Param) -> Option<Cow<'a, Pair>> {
        match self {
            Self::Whole(adapter) => adapter.lora().at(site).map(Cow::Borrowed),
            Self::Stored(adapter) => adapter.pair(site),
        }
    }

    fn tables(&self) -> BTreeMap<Saved, Table> {
        match self {
            Self::Whole(adapter) => {
                adapter.lora().tables().map(|(saved, table)| (saved, table.clone())).collect()
            }
            Self::Stored(adapter) => adapter.tables().collect(),
        }
    }
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
        Self::of_pairs(network, &Source::Whole(adapter), precision)
    }

    /// Makes an adapter ready by its matrices, kept in `precision`.
    pub(crate) fn of_pairs(
        network: &Network,
        source: &Source<'_>,
        precision: AdapterPrecision,
    ) -> Self {
        let groups = groups(network, source);
        let mut packing = packing(network, &groups, precision);
        let mut scales = Vec::new();
        for together in &groups {
            let pairs: Vec<Cow<'_, Pair>> = together
                .iter()
                .map(|&(site, _)| source.pair(site).expect("a listed layer has matrices"))
                .collect();
            // Rows of `A` are columns of what rows are multiplied by.
            let rows = pairs.iter().map(|pair| &pair.a[..]).collect::<Vec<_>>().concat();
            let [_, width] = network.sizes(together[0].0);
            packing.pack(Mat::new(&rows, rows.len() / width, width).t());
            for (&(site, rank), pair) in together.iter().zip(&pairs) {
                packing.pack(Mat::new(&pair.b, network.sizes(site)[0], rank).t());
                let direction = pair.direction(network, site);
                scales.push((pair.scale, direction.map(|direction| direction.factors)));
            }
        }
        let (mut packed, mut scales) = (packing.finish().into_iter(), scales.into_iter());
        let (mut sites, mut downs) = (BTreeMap::new(), Vec::new());
        for together in groups {
            downs.extend(packed.next());
            let (down, mut first) = (downs.len() - 1, 0);
            for (site, rank) in together {
                let (up, (scale, factors)) =
                    packed.next().zip(scales.next()).expect("one of each is packed for a layer");
                sites.insert(site, Site { down, first, up, scale, factors });
                first += rank;
            }
        }
        Self::of(network, source, Form::Pairs(precision), Matrices::Pairs { sites, downs })
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
        Self::merged_of(network, &Source::Whole(adapter))
    }

    /// Makes a merged copy.
    ///
    /// # Errors
    /// As [`merged`](Self::merged).
    pub(crate) fn merged_of(network: &Network, source: &Source<'_>) -> Result<Self> {
        let weights = network.weights();
        let merge = |(site, _)| {
            if is_quantised(network, site) {
                let name = weights.name(site);
                let message =
                    format!("`{name}` has eight bits or fewer, in which a sum would be lost");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            let [out, width] = network.sizes(site);
            let pair = source.pair(site).expect("a listed layer has matrices");
            let sum = pair.merged(network, site);
            let sum = Mat::new(&sum, out, width).t();
            Ok((
                site,
                match weights.arithmetic() {
                    Arithmetic::Bf16 => Packed::new_rounded(sum),
                    _ => Packed::new(sum),
                },
            ))
        };
        let merged = source.ranks().into_iter().map(merge).collect::<Result<_>>()?;
        Ok(Self::of(network, source, Form::Merged, Matrices::Merged(merged)))
    }

    /// How many bytes a merged copy takes, but for what packing adds at the edges.
    pub(crate) fn merged_bytes(network: &Network, source: &Source<'_>) -> usize {
        let element = match network.weights().arithmetic() {
            Arithmetic::Bf16 => 2,
            _ => 4,
        };
        let size = |site| network.sizes(site).into_iter().product::<usize>();
        let matrices = source.ranks().into_iter().map(|(site, _)| element * size(site));
        let tables = 4 * source.config().saved.len() * size(network.decoder().head().weight);
        matrices.sum::<usize>() + tables
    }

    fn of(network: &Network, source: &Source<'_>, form: Form, matrices: Matrices) -> Self {
        let numbers = Numbers { form, id: source.id() };
        let (base, tables) = (Fingerprint::of(network), source.tables());
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

/// Lists the layers that an adapter changes and their ranks, those together that read the same rows.
fn groups(network: &Network, source: &Source<'_>) -> Vec<Vec<(Param, usize)>> {
    let ranks: BTreeMap<Param, usize> = source.ranks().into_iter().collect();
    let changed = |linear: &Linear| Some((linear.weight, *ranks.get(&linear.weight)?));
    let groups = network.decoder().linears_by_input().into_iter();
    let groups = groups.map(|together| together.iter().filter_map(changed).collect());
    groups.filter(|together: &Vec<_>| !together.is_empty()).collect()
}

/// Takes room for what lowers the rows that a group reads and then what raises them at each of its layers,
/// group by group.
fn packing(
    network: &Network,
    groups: &[Vec<(Param, usize)>],
    precision: AdapterPrecision,
) -> Packing {
    let sizes = groups.iter().flat_map(|together| {
        let [_, width] = network.sizes(together[0].0);
        let down = [width, together.iter().map(|(_, rank)| rank).sum()];
        let ups = together.iter().map(|&(site, rank)| [rank, network.sizes(site)[0]]);
        std::iter::once(down).chain(ups)
    });
    match precision {
        AdapterPrecision::F32 => Packing::new(sizes),
        AdapterPrecision::Bf16 => Packing::new_bf16(sizes),
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.id())
    }
}
