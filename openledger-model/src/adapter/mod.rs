//! LoRA adapters (Hu et al., 2021) in PEFT's layout.
//!
//! An adapter adds `scale * x A' B'` at some linear layers: `A` is `[rank, in]`, `B` `[out, rank]`.
//! Loading is strict. Every tensor must belong to a linear layer of the model and have its size,
//! every layer the configuration targets must have both tensors; otherwise it is an error, never an
//! answer from the base model.

mod config;
mod files;

use std::collections::BTreeMap;

use openledger_core::{AdapterId, Error, ErrorKind, Result};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use safetensors::Dtype;

pub use config::LoraConfig;
pub use files::AdapterFiles;

use crate::{
    Network, Param,
    random::symmetric,
    weights::{read_safetensors, write_safetensors},
};

/// An adapter for one network, named by its content.
#[derive(Clone, Debug)]
pub struct Adapter {
    id: AdapterId,
    config: LoraConfig,
    lora: Lora,
}

impl Adapter {
    /// Makes an adapter of `files` for `network`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if a file is not what it should be; [`ErrorKind::Unsupported`] naming
    /// an option of PEFT that is not there yet; [`ErrorKind::Invalid`] naming the first tensor or
    /// target that does not fit the model.
    pub fn load(network: &Network, files: &AdapterFiles) -> Result<Self> {
        let config = LoraConfig::parse(&files.config)?;
        let lora = Lora::from_safetensors(network, &config, &files.weights)?;
        Ok(Self { id: files.id(), config, lora })
    }

    /// Returns the hash of the adapter's files.
    pub const fn id(&self) -> AdapterId {
        self.id
    }

    /// Returns the configuration.
    pub const fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Returns the matrices.
    pub const fn lora(&self) -> &Lora {
        &self.lora
    }
}

/// The matrices of an adapter, by the linear layer they belong to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lora {
    pairs: BTreeMap<Param, Pair>,
}

/// The two matrices at one linear layer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pair {
    /// Down to the rank: `[rank, in]`.
    pub a: Vec<f32>,
    /// Up from the rank: `[out, rank]`.
    pub b: Vec<f32>,
    /// The rank.
    pub rank: usize,
    /// What the product is multiplied by.
    pub scale: f32,
}

impl Lora {
    /// Makes the matrices training starts from: `A` uniform within `1/sqrt(in)` as PEFT has it,
    /// `B` zero, so the model answers as before.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the target the model does not have.
    pub fn init(network: &Network, config: &LoraConfig, seed: u64) -> Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let pairs = config
            .sites(network)?
            .into_iter()
            .map(|site| {
                let [out, width] = network.sizes(site);
                let bound = 1.0 / (width as f32).sqrt();
                let a = (0..config.rank * width).map(|_| bound * symmetric(&mut random)).collect();
                let b = vec![0.0; out * config.rank];
                (site, Pair { a, b, rank: config.rank, scale: config.scale() })
            })
            .collect();
        Ok(Self { pairs })
    }

    /// Returns the matrices at `site`.
    pub fn at(&self, site: Param) -> Option<&Pair> {
        self.pairs.get(&site)
    }

    /// Lists the matrices by ascending layer.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (Param, &Pair)> {
        self.pairs.iter().map(|(site, pair)| (*site, pair))
    }

    /// Lists the matrices by ascending layer, to train them.
    pub fn pairs_mut(&mut self) -> impl ExactSizeIterator<Item = (Param, &mut Pair)> {
        self.pairs.iter_mut().map(|(site, pair)| (*site, pair))
    }

    /// Returns the number of elements of all matrices.
    pub fn elements(&self) -> usize {
        self.pairs.values().map(|pair| pair.a.len() + pair.b.len()).sum()
    }

    /// Writes the two files that PEFT loads, the same bytes every time.
    pub fn to_files(&self, network: &Network, config: &LoraConfig) -> AdapterFiles {
        let tensors: Vec<(String, [usize; 2], &[f32])> = self
            .pairs()
            .flat_map(|(site, pair)| {
                let [out, width] = network.sizes(site);
                let [a, b] = names(network, site);
                [(a, [pair.rank, width], &pair.a[..]), (b, [out, pair.rank], &pair.b[..])]
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, data)| (name.as_str(), &shape[..], *data));
        AdapterFiles { config: config.to_json(), weights: write_safetensors(views, Dtype::F32) }
    }

    /// Reads `adapter_model.safetensors`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes are not a whole one; [`ErrorKind::Invalid`] naming the
    /// first tensor or target that does not fit the network.
    pub fn from_safetensors(network: &Network, config: &LoraConfig, bytes: &[u8]) -> Result<Self> {
        let mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)> = read_safetensors(bytes)?
            .into_iter()
            .map(|tensor| (tensor.name, (tensor.shape, tensor.data)))
            .collect();
        let mut take = |name: &str, expected: [usize; 2]| {
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
        let mut pairs = BTreeMap::new();
        for site in config.sites(network)? {
            let [out, width] = network.sizes(site);
            let [a, b] = names(network, site);
            let pair = Pair {
                a: take(&a, [config.rank, width])?,
                b: take(&b, [out, config.rank])?,
                rank: config.rank,
                scale: config.scale(),
            };
            pairs.insert(site, pair);
        }
        match tensors.into_keys().next() {
            None => Ok(Self { pairs }),
            Some(name) => Err(Error::invalid(format!(
                "the adapter's tensor `{name}` belongs to no layer that its configuration targets"
            ))),
        }
    }
}

impl LoraConfig {
    /// Finds the model's linear layers that the configuration targets.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the first target that the model does not have.
    pub fn sites(&self, network: &Network) -> Result<Vec<Param>> {
        let all: Vec<Param> =
            network.decoder().linears().iter().map(|linear| linear.weight).collect();
        let matches = |site: Param, target: &str| {
            let module = module(network, site);
            module.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        for target in &self.targets {
            if !all.iter().any(|&site| matches(site, target)) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("the model has no linear layer `{target}` for the adapter"),
                ));
            }
        }
        let targeted = |site: &Param| self.targets.iter().any(|target| matches(*site, target));
        Ok(all.into_iter().filter(targeted).collect())
    }
}

/// The name of a layer's module: its weight's without `.weight`.
fn module(network: &Network, site: Param) -> &str {
    let name = network.weights().name(site);
    name.strip_suffix(".weight").unwrap_or(name)
}

/// The names PEFT gives to the two matrices at `site`.
fn names(network: &Network, site: Param) -> [String; 2] {
    ["A", "B"].map(|side| format!("base_model.model.{}.lora_{side}.weight", module(network, site)))
}
