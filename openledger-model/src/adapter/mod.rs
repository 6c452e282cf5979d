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
use openledger_kernels::{Into, Mat, gemm};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use regex::RegexBuilder;
use safetensors::Dtype;

pub use config::{LoraConfig, Targets};
pub use files::AdapterFiles;

use crate::{
    Network, Param,
    random::symmetric,
    weights::{read_safetensors, write_safetensors},
};

/// The most bytes a pattern may take once compiled: 1 MiB.
const MAX_PATTERN: usize = 1 << 20;

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

    /// Returns the weight at `site` with the adapter in it, `W + scale * B A`; `W` where there is none.
    pub fn merged(&self, network: &Network, site: Param) -> Vec<f32> {
        let mut merged = network.weights().data(site).to_vec();
        if let Some(Pair { a, b, rank, scale }) = self.at(site) {
            let [out, width] = network.sizes(site);
            let scaled: Vec<f32> = b.iter().map(|b| b * scale).collect();
            gemm(Into::Add(&mut merged), Mat::new(&scaled, out, *rank), Mat::new(a, *rank, width));
        }
        merged
    }

    /// Returns the names PEFT gives to the two matrices at `site`, `A`'s first.
    pub fn names(network: &Network, site: Param) -> [String; 2] {
        ["A", "B"]
            .map(|side| format!("base_model.model.{}.lora_{side}.weight", module(network, site)))
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
                let [a, b] = Self::names(network, site);
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
            let [a, b] = Self::names(network, site);
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
    /// [`ErrorKind::Invalid`] naming the first target that the model does not have;
    /// [`ErrorKind::Unsupported`] for a pattern that is not a regular expression as Rust has them.
    pub fn sites(&self, network: &Network) -> Result<Vec<Param>> {
        let linears = network.decoder().linears();
        let all = linears.iter().map(|linear| linear.weight);
        match &self.targets {
            Targets::Names(names) => {
                let ends = |site: Param, name: &str| {
                    let rest = module(network, site).strip_suffix(name);
                    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                };
                let missing = |name: &&String| !all.clone().any(|site| ends(site, name));
                match names.iter().find(missing) {
                    Some(missing) => Err(Error::invalid(format!(
                        "the model has no linear layer `{missing}` for the adapter"
                    ))),
                    None => {
                        Ok(all.filter(|&site| names.iter().any(|name| ends(site, name))).collect())
                    }
                }
            }
            Targets::Pattern(pattern) if pattern == config::EVERY => Ok(all.collect()),
            Targets::Pattern(pattern) => {
                // PEFT asks for a match of the whole name.
                let whole = RegexBuilder::new(&format!("^(?:{pattern})$"))
                    .size_limit(MAX_PATTERN)
                    .build()
                    .map_err(|e| {
                        let message = format!("the adapter's targets `{pattern}`");
                        Error::new(ErrorKind::Unsupported, message).with_source(e)
                    })?;
                let sites: Vec<Param> =
                    all.filter(|&site| whole.is_match(module(network, site))).collect();
                if sites.is_empty() {
                    return Err(Error::invalid(format!(
                        "the model has no linear layer that matches `{pattern}` for the adapter"
                    )));
                }
                Ok(sites)
            }
        }
    }
}

/// The name of a layer's module: its weight's without `.weight`.
fn module(network: &Network, site: Param) -> &str {
    let name = network.weights().name(site);
    name.strip_suffix(".weight").unwrap_or(name)
}
