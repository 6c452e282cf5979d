//! An adapter whose matrices stay in its files.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use openledger_core::{AdapterId, Error, Result};
use openledger_kernels::Storage;

use super::{
    Adapter, AdapterFiles, Lora, LoraConfig, Pair, Saved, Start, Table, experts,
    lora::{magnitude, place, table},
};
use crate::{Network, Param, weights::find_tensors};

/// An adapter that is checked and named, its matrices read from its files one layer at a time: for who
/// keeps them in a form of its own, as servers do. All of them in `f32` take twice the memory of a file in
/// `bf16`.
///
/// # Examples
/// ```
/// use openledger_model::{LoraConfig, StoredAdapter, testing};
///
/// let model = testing::tiny(1)?;
/// let config = LoraConfig::default();
/// let lora = testing::lora(&model, &config, 1)?;
/// let stored = StoredAdapter::open(model.network(), &lora.to_files(model.network(), &config))?;
/// for (site, rank) in stored.ranks() {
///     assert_eq!(stored.pair(site).unwrap().rank, rank);
/// }
/// assert_eq!(stored.load().lora(), &lora);
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Debug)]
pub struct StoredAdapter {
    id: AdapterId,
    config: LoraConfig,
    matrices: Matrices,
}

#[derive(Debug)]
enum Matrices {
    Stored(StoredLora),
    /// Those that are computed of the base first.
    Whole(Lora),
}

impl StoredAdapter {
    /// Checks `files` against `network`. Matrices are read here and kept in `f32` only where they are not one
    /// tensor each: of a `PiSSA` adapter, and of tensors for all experts at once.
    ///
    /// # Errors
    /// Those of [`Adapter::load`], all of them.
    pub fn open(network: &Network, files: &AdapterFiles) -> Result<Self> {
        let config = LoraConfig::parse(&files.config)?;
        let stored = StoredLora::open(network, &config, &files.weights)?;
        let config = config.per_expert(network)?;
        let (config, matrices) = match config.start {
            Start::Zero => (config, Matrices::Stored(stored)),
            Start::Pissa => {
                let start = Lora::pissa_start(network, &config)?;
                let lora = stored.load().without_pissa(&start)?;
                (config.without_pissa()?, Matrices::Whole(lora))
            }
        };
        Ok(Self { id: files.id(), config, matrices })
    }

    /// Returns the hash of the adapter's files.
    pub const fn id(&self) -> AdapterId {
        self.id
    }

    /// Returns the configuration, as [`Adapter::load`] says it.
    pub const fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Lists the layers that have matrices, ascending, and their ranks.
    pub fn ranks(&self) -> impl Iterator<Item = (Param, usize)> {
        let (stored, whole) = self.matrices.either();
        let stored = stored.into_iter().flat_map(|lora| &lora.pairs);
        let whole = whole.into_iter().flat_map(Lora::pairs);
        stored.map(|(site, pair)| (*site, pair.rank)).chain(whole.map(|(s, pair)| (s, pair.rank)))
    }

    /// Reads the matrices at `site`.
    pub fn pair(&self, site: Param) -> Option<Cow<'_, Pair>> {
        match &self.matrices {
            Matrices::Stored(lora) => lora.pairs.get(&site).map(|pair| Cow::Owned(pair.load())),
            Matrices::Whole(lora) => lora.at(site).map(Cow::Borrowed),
        }
    }

    /// Lists the tables: embeddings, then head.
    pub fn tables(&self) -> impl Iterator<Item = (Saved, Table)> {
        let (stored, whole) = self.matrices.either();
        let stored = stored.into_iter().flat_map(StoredLora::tables);
        let whole = whole.into_iter().flat_map(Lora::tables);
        stored.chain(whole.map(|(saved, table)| (saved, table.clone())))
    }

    /// Reads all of it.
    pub fn load(self) -> Adapter {
        let lora = match self.matrices {
            Matrices::Stored(lora) => lora.load(),
            Matrices::Whole(lora) => lora,
        };
        Adapter { id: self.id, config: self.config, lora }
    }
}

impl Matrices {
    const fn either(&self) -> (Option<&StoredLora>, Option<&Lora>) {
        match self {
            Self::Stored(lora) => (Some(lora), None),
            Self::Whole(lora) => (None, Some(lora)),
        }
    }
}

/// The matrices of an adapter where they lie in its file.
#[derive(Debug, Default)]
pub(super) struct StoredLora {
    pairs: BTreeMap<Param, StoredPair>,
    /// Elements, and how many are a row.
    tables: BTreeMap<Saved, (Storage, usize)>,
}

#[derive(Debug)]
struct StoredPair {
    a: Storage,
    b: Storage,
    rank: usize,
    scale: f32,
    magnitude: Option<Storage>,
}

impl StoredLora {
    /// Finds every tensor that `config` targets, and none besides.
    ///
    /// # Errors
    /// Those of [`Lora::from_safetensors`].
    pub(super) fn open(network: &Network, config: &LoraConfig, file: &Bytes) -> Result<Self> {
        let found = find_tensors(file)?;
        let named = |found: crate::weights::Found| (found.name, (found.shape, found.storage));
        let mut tensors: BTreeMap<String, (Vec<usize>, Storage)> =
            found.into_iter().map(named).collect();
        let places = config.places(network)?;
        experts::split(network, &places, &mut tensors)?;
        let mut take = |name: &str, expected: &[usize]| {
            let (shape, data) = tensors.remove(name).ok_or_else(|| {
                Error::invalid(format!("the adapter lacks the tensor `{name}` that it targets"))
            })?;
            if shape != expected {
                return Err(Error::invalid(format!(
                    "the adapter's tensor `{name}` is {shape:?}, this model and rank ask for {expected:?}"
                )));
            }
            Ok(data)
        };
        let mut lora = Self::default();
        for place in places {
            let [out, width] = network.sizes(place.site);
            let [a, b] = Lora::names(network, place.site);
            let pair = StoredPair {
                a: take(&a, &[place.rank, width])?,
                b: take(&b, &[out, place.rank])?,
                rank: place.rank,
                scale: place.scale,
                magnitude: match config.dora {
                    true => Some(take(&magnitude(network, place.site), &[out])?),
                    false => None,
                },
            };
            lora.pairs.insert(place.site, pair);
        }
        for &saved in &config.saved {
            let sizes = network.sizes(place(network, saved));
            lora.tables.insert(saved, (take(&table(saved), &sizes)?, sizes[1]));
        }
        match tensors.into_keys().next() {
            None => Ok(lora),
            Some(name) => Err(Error::invalid(format!(
                "the adapter's tensor `{name}` belongs to no layer that its configuration targets"
            ))),
        }
    }

    fn tables(&self) -> impl Iterator<Item = (Saved, Table)> {
        self.tables.iter().map(|(&saved, (data, width))| (saved, Table::new(data.to_vec(), *width)))
    }

    /// Reads all of it, and lets go of the file.
    pub(super) fn load(self) -> Lora {
        let tables = self.tables().collect();
        let pairs = self.pairs.into_iter().map(|(site, pair)| (site, pair.load())).collect();
        Lora { pairs, tables }
    }
}

impl StoredPair {
    fn load(&self) -> Pair {
        Pair {
            a: self.a.to_vec(),
            b: self.b.to_vec(),
            rank: self.rank,
            scale: self.scale,
            magnitude: self.magnitude.as_ref().map(Storage::to_vec),
        }
    }
}
