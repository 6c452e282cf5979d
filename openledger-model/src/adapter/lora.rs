//! The matrices of an adapter.

use std::collections::BTreeMap;

use bytes::Bytes;
use openledger_core::Result;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use safetensors::Dtype;

use super::{
    AdapterFiles, Direction, LoraConfig, Pair, Part, Saved, Table, pair, stored::StoredLora,
    targets::module,
};
use crate::{Network, Param, random::symmetric, weights::write_safetensors};

/// The matrices of an adapter, by the linear layer they belong to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lora {
    pub(super) pairs: BTreeMap<Param, Pair>,
    pub(super) tables: BTreeMap<Saved, Table>,
}

impl Lora {
    /// Makes the matrices training starts from: `A` uniform within `1/sqrt(in)` as PEFT has it,
    /// `B` zero, magnitudes the lengths of the weight's rows, tables those of the base, so the model
    /// answers as before. For `PiSSA`, which changes the base, see [`pissa`](Self::pissa).
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) naming the target the model does
    /// not have.
    pub fn init(network: &Network, config: &LoraConfig, seed: u64) -> Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let pairs = config
            .places(network)?
            .into_iter()
            .map(|place| {
                let [out, width] = network.sizes(place.site);
                let bound = 1.0 / (width as f32).sqrt();
                let pair = Pair {
                    a: (0..place.rank * width).map(|_| bound * symmetric(&mut random)).collect(),
                    b: vec![0.0; out * place.rank],
                    rank: place.rank,
                    scale: place.scale,
                    magnitude: config.dora.then(|| pair::lengths(network, place.site)),
                };
                (place.site, pair)
            })
            .collect();
        let table = |&saved: &Saved| {
            let param = place(network, saved);
            let data = network.weights().data(param).to_vec();
            (saved, Table::new(data, network.sizes(param)[1]))
        };
        Ok(Self { pairs, tables: config.saved.iter().map(table).collect() })
    }

    /// Takes matrices, without tables.
    pub(crate) const fn of_pairs(pairs: BTreeMap<Param, Pair>) -> Self {
        Self { pairs, tables: BTreeMap::new() }
    }

    /// Returns the matrices at `site`.
    pub fn at(&self, site: Param) -> Option<&Pair> {
        self.pairs.get(&site)
    }

    /// Returns the table that takes the place of the base model's, if the adapter has one.
    pub fn table(&self, saved: Saved) -> Option<&Table> {
        self.tables.get(&saved)
    }

    /// Lists the matrices by ascending layer.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (Param, &Pair)> {
        self.pairs.iter().map(|(site, pair)| (*site, pair))
    }

    /// Lists the matrices by ascending layer, to train them.
    pub fn pairs_mut(&mut self) -> impl ExactSizeIterator<Item = (Param, &mut Pair)> {
        self.pairs.iter_mut().map(|(site, pair)| (*site, pair))
    }

    /// Lists the tables: embeddings, then head.
    pub fn tables(&self) -> impl ExactSizeIterator<Item = (Saved, &Table)> {
        self.tables.iter().map(|(saved, table)| (*saved, table))
    }

    /// Lists everything that is trained: each layer's matrices and magnitude, layers ascending, then
    /// the tables. The order of [`Gradients`](crate::Gradients).
    pub fn parts(&self) -> impl Iterator<Item = (Part, &[f32])> {
        let tables = self.tables.values().map(|table| (Part::Table, table.data()));
        self.pairs.values().flat_map(Pair::parts).chain(tables)
    }

    /// Lists everything that is trained, to train it.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = (Part, &mut [f32])> {
        let tables = self.tables.values_mut().map(|table| (Part::Table, table.data_mut()));
        self.pairs.values_mut().flat_map(Pair::parts_mut).chain(tables)
    }

    /// Returns what `DoRA` multiplies the results of the layer at `site` by; nothing without it.
    /// It costs a product as large as the weight.
    pub fn direction(&self, network: &Network, site: Param) -> Option<Direction> {
        self.at(site)?.direction(network, site)
    }

    /// Returns the weight at `site` with the adapter in it, `W + scale * B A`, its rows as long as the
    /// magnitudes with `DoRA`; `W` where there is none.
    ///
    /// Tables are not in it: a model whose head and embeddings are one tensor has no place for them.
    /// Look at [`table`](Self::table).
    pub fn merged(&self, network: &Network, site: Param) -> Vec<f32> {
        match self.at(site) {
            Some(pair) => pair.merged(network, site),
            None => network.weights().data(site).to_vec(),
        }
    }

    /// Returns the names PEFT gives to the two matrices at `site`, `A`'s first.
    pub fn names(network: &Network, site: Param) -> [String; 2] {
        ["A", "B"]
            .map(|side| format!("base_model.model.{}.lora_{side}.weight", module(network, site)))
    }

    /// Lists name and shape of everything that is trained as PEFT saves it, in the order of
    /// [`parts`](Self::parts).
    pub fn tensors(&self, network: &Network) -> Vec<(String, Vec<usize>)> {
        let mut tensors = Vec::new();
        for (site, pair) in self.pairs() {
            let [out, width] = network.sizes(site);
            let [a, b] = Self::names(network, site);
            tensors.extend([(a, vec![pair.rank, width]), (b, vec![out, pair.rank])]);
            tensors.extend(pair.magnitude.as_ref().map(|_| (magnitude(network, site), vec![out])));
        }
        for (saved, _) in self.tables() {
            let sizes = network.sizes(place(network, saved));
            tensors.push((table(saved), sizes.to_vec()));
        }
        tensors
    }

    /// Returns the number of elements of all matrices, magnitudes and tables.
    pub fn elements(&self) -> usize {
        self.parts().map(|(_, data)| data.len()).sum()
    }

    /// Writes the two files that PEFT loads, the same bytes every time; experts one by one, whatever
    /// `config` says (see [`LoraConfig::per_expert`]).
    pub fn to_files(&self, network: &Network, config: &LoraConfig) -> AdapterFiles {
        let tensors = self.tensors(network);
        let views = tensors
            .iter()
            .zip(self.parts())
            .map(|((name, shape), (_, data))| (name.as_str(), &shape[..], data));
        let weights = write_safetensors(views, Dtype::F32);
        // A configuration that does not fit the network is written as it is.
        let config = config.per_expert(network).unwrap_or_else(|_| config.clone());
        AdapterFiles::new(config.to_json(), weights)
    }

    /// Reads `adapter_model.safetensors`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if the bytes are not a whole one;
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) naming the first tensor or target
    /// that does not fit the network.
    pub fn from_safetensors(network: &Network, config: &LoraConfig, bytes: &[u8]) -> Result<Self> {
        Ok(StoredLora::open(network, config, &Bytes::copy_from_slice(bytes))?.load())
    }
}

/// The base model's tensor that a table takes the place of.
pub(super) fn place(network: &Network, saved: Saved) -> Param {
    match saved {
        Saved::Embedding => network.decoder().embedding,
        Saved::Head => network.decoder().head().weight,
    }
}

pub(super) fn table(saved: Saved) -> String {
    format!("base_model.model.{}.weight", saved.module())
}

pub(super) fn magnitude(network: &Network, site: Param) -> String {
    format!("base_model.model.{}.lora_magnitude_vector", module(network, site))
}
