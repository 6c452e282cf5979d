//! What adapters are made ready from.

use std::sync::Arc;

use openledger_core::{AdapterId, Error, ErrorKind, Result};
use openledger_model::{Adapter, AdapterFiles, Combine, Lora, LoraConfig, Network, StoredAdapter};

use super::{AdapterOptions, tier::Kept};
use crate::{AdapterPrecision, Lease, lease::Source};

/// An adapter in memory.
#[derive(Clone, Debug)]
pub(super) enum Material {
    /// As its source has it: smaller, because files often have two bytes an element.
    Files(AdapterId, Arc<AdapterFiles>),
    /// As the application gave it.
    Adapter(Arc<Adapter>),
}

/// How an adapter is made ready.
#[derive(Clone, Debug)]
pub(super) enum Recipe {
    One(Material),
    Several(Combine, Vec<(Material, f64)>),
}

/// Why nothing came of a recipe.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) error: Error,
    /// What is wrong by itself, and not only together with the rest.
    pub(super) part: Option<AdapterId>,
}

/// An adapter to multiply by.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) lease: Lease,
    /// Its ranks, ascending.
    pub(super) ranks: Arc<[usize]>,
}

/// How one adapter is made ready, and how large it may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    max_bytes: u64,
    max_rank: usize,
    precision: AdapterPrecision,
}

impl Material {
    pub(super) fn id(&self) -> AdapterId {
        match self {
            Self::Files(id, _) => *id,
            Self::Adapter(adapter) => adapter.id(),
        }
    }

    fn open(&self, network: &Network, limits: Limits) -> Result<Opened> {
        match self {
            Self::Files(_, files) => {
                // Ranks are known before any matrix is.
                let config = LoraConfig::parse(&files.config)?;
                let others = config.rank_pattern.0.iter().map(|(_, rank)| *rank);
                limits.check_rank(others.chain([config.rank]).max().unwrap_or(0))?;
                Ok(Opened::Stored(Box::new(StoredAdapter::open(network, files)?)))
            }
            Self::Adapter(adapter) => Ok(Opened::Whole(Arc::clone(adapter))),
        }
    }
}

/// An adapter that fits the network, its matrices in memory or not.
enum Opened {
    Stored(Box<StoredAdapter>),
    Whole(Arc<Adapter>),
}

impl Opened {
    fn source(&self) -> Source<'_> {
        match self {
            Self::Stored(adapter) => Source::Stored(adapter),
            Self::Whole(adapter) => Source::Whole(adapter),
        }
    }

    fn load(self) -> Arc<Adapter> {
        match self {
            Self::Stored(adapter) => Arc::new(adapter.load()),
            Self::Whole(adapter) => adapter,
        }
    }
}

impl Recipe {
    /// Names what comes out.
    pub(super) fn id(&self) -> AdapterId {
        match self {
            Self::One(material) => material.id(),
            Self::Several(combine, parts) => {
                combine.id(parts.iter().map(|(part, coefficient)| (part.id(), *coefficient)))
            }
        }
    }

    /// Whether it takes whole weights apart, which may be minutes.
    pub(super) const fn takes_long(&self) -> bool {
        matches!(self, Self::Several(Combine::Ties { .. } | Combine::Dare { .. }, _))
    }

    /// Parses, checks, composes and packs: milliseconds, or more for a composition that is not a sum.
    ///
    /// # Errors
    /// Those of [`Adapter::load`] and [`Combine::adapters`]; [`ErrorKind::Limit`].
    pub(super) fn prepare(&self, network: &Network, limits: Limits) -> Result<Ready, Unfit> {
        self.make(network, limits, &|source| Ready::new(network, source, limits))
    }

    /// Makes a merged copy, if `room` says that there is some for so many bytes: it reads all of the base that
    /// the adapter changes.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare); those of [`Lease::merged`] and of `room`.
    pub(super) fn merge(
        &self,
        network: &Network,
        limits: Limits,
        room: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Ready, Unfit> {
        self.make(network, limits, &|source| {
            let ranks = limits.ranks(source)?;
            room(Lease::merged_bytes(network, source) as u64)?;
            Ok(Ready { lease: Lease::merged_of(network, source)?, ranks })
        })
    }

    fn make(
        &self,
        network: &Network,
        limits: Limits,
        ready: &dyn Fn(&Source<'_>) -> Result<Ready>,
    ) -> Result<Ready, Unfit> {
        let open = |part: &Material| {
            let unfit = |error| Unfit { error, part: Some(part.id()) };
            part.open(network, limits).map_err(unfit)
        };
        match self {
            Self::One(material) => {
                let unfit = |error| Unfit { error, part: Some(material.id()) };
                ready(&open(material)?.source()).map_err(unfit)
            }
            Self::Several(combine, parts) => {
                let unfit = |error| Unfit { error, part: None };
                let parts = parts
                    .iter()
                    .map(|(part, coefficient)| Ok((open(part)?.load(), *coefficient)))
                    .collect::<Result<Vec<(Arc<Adapter>, f64)>, Unfit>>()?;
                let parts: Vec<(&Adapter, f64)> =
                    parts.iter().map(|(part, coefficient)| (&**part, *coefficient)).collect();
                let composed = combine.adapters(network, &parts).map_err(unfit)?;
                ready(&Source::Whole(&composed.adapter)).map_err(unfit)
            }
        }
    }
}

impl Ready {
    fn new(network: &Network, source: &Source<'_>, limits: Limits) -> Result<Self> {
        let ranks = limits.ranks(source)?;
        let lease = Lease::of_pairs(network, source, limits.precision);
        limits.check_bytes(lease.bytes() as u64)?;
        Ok(Self { lease, ranks })
    }
}

impl Limits {
    pub(super) fn new(options: &AdapterOptions) -> Self {
        // What is larger than all may be would never find room.
        let max_bytes = options.max_bytes.min(options.ready_bytes);
        Self { max_bytes, max_rank: options.max_rank, precision: options.precision }
    }

    /// Lists the different ranks of an adapter, ascending, if all are allowed.
    fn ranks(self, source: &Source<'_>) -> Result<Arc<[usize]>> {
        let mut ranks: Vec<usize> = source.ranks().into_iter().map(|(_, rank)| rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        self.check_rank(ranks.last().copied().unwrap_or(0))?;
        Ok(ranks.into())
    }

    fn check_rank(self, rank: usize) -> Result<()> {
        if rank <= self.max_rank {
            return Ok(());
        }
        let message = format!("the adapter has rank {rank}, at most {} is served", self.max_rank);
        Err(Error::new(ErrorKind::Limit, message))
    }

    fn check_bytes(self, bytes: u64) -> Result<()> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        let message =
            format!("the adapter takes {bytes} bytes of memory, {} are allowed", self.max_bytes);
        Err(Error::new(ErrorKind::Limit, message))
    }
}

impl Kept for Material {
    fn bytes(&self) -> u64 {
        match self {
            Self::Files(_, files) => (files.config.len() + files.weights.len()) as u64,
            Self::Adapter(adapter) => bytes_of(adapter.lora()),
        }
    }

    fn holds(&self) -> usize {
        match self {
            Self::Files(_, files) => Arc::strong_count(files),
            Self::Adapter(adapter) => Arc::strong_count(adapter),
        }
    }
}

impl Kept for Ready {
    fn bytes(&self) -> u64 {
        self.lease.bytes() as u64
    }

    fn holds(&self) -> usize {
        self.lease.holds()
    }
}

fn bytes_of(lora: &Lora) -> u64 {
    (lora.elements() * size_of::<f32>()) as u64
}
