//! Several adapters as one.
//!
//! What adapters add to a weight are products, and a weighted sum of products is one product of a
//! larger rank, exactly:
//!
//! ```text
//! c1 s1 B1 A1 + c2 s2 B2 A2  =  [c1 s1 B1, c2 s2 B2] [A1; A2]
//! ```
//!
//! Summing the `A`s and the `B`s by themselves, as some do, is something else. TIES and DARE choose
//! among the elements of what is added, so they need it whole; what they make is of full rank and is
//! brought back to a given one by its largest singular values. See [`delta`].

mod delta;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use openledger_core::{AdapterId, Error, ErrorKind, Result, digest};

use super::{
    Adapter, Lora, LoraConfig, Pair, Patterns, Targets,
    targets::{check_rank, module},
};
use crate::{Network, Param};

/// The most adapters that are made one.
const MAX_PARTS: usize = 64;

/// How several adapters become one.
///
/// `density` is the part of the elements that is kept, above 0 and at most 1; `rank` what the result
/// is brought back to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Combine {
    /// The sum of what they add, each times its coefficient: exact, of the sum of their ranks.
    Sum,
    /// TIES (Yadav et al., 2023): the largest elements of each, those of the elected sign, their mean.
    Ties {
        /// The rank of the result.
        rank: usize,
        /// The part of the elements of each weight that is kept.
        density: f64,
        /// How the sign is elected.
        election: Election,
    },
    /// DARE (Yu et al., 2023): elements are dropped at random, the others grow by as much; their sum,
    /// or with an election the mean as TIES has it.
    Dare {
        /// The rank of the result.
        rank: usize,
        /// The chance of each element to be kept.
        density: f64,
        /// What decides which are.
        seed: u64,
        /// How a sign is elected, if one is.
        election: Option<Election>,
    },
}

/// How the sign of an element is elected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the two that are published")]
pub enum Election {
    /// By the sum of the values.
    Total,
    /// By the number of adapters.
    Frequency,
}

/// Several adapters as one, and what was lost.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Composed {
    /// The adapter. Its id is [`Combine::id`]; written to files it gets that of its files.
    pub adapter: Adapter,
    /// How much of what is added to a weight the rank left out, at the layer where it is most: the
    /// length (Frobenius norm) of the rest over that of the whole. Zero for [`Combine::Sum`].
    pub error: f64,
}

impl Combine {
    /// Names what these adapters become with their coefficients: equal for equal parts in equal
    /// order, whatever they are called.
    pub fn id(&self, parts: impl IntoIterator<Item = (AdapterId, f64)>) -> AdapterId {
        // What a method does not have is zero. Adding zero makes of -0 what equals it.
        let (method, rank, density, seed, election) = match *self {
            Self::Sum => (0u8, 0, 0.0, 0, None),
            Self::Ties { rank, density, election } => (1, rank, density, 0, Some(election)),
            Self::Dare { rank, density, seed, election } => (2, rank, density, seed, election),
        };
        let election = match election {
            None => 0u8,
            Some(Election::Total) => 1,
            Some(Election::Frequency) => 2,
        };
        let parts: Vec<(AdapterId, u64)> = parts
            .into_iter()
            .map(|(id, coefficient)| (id, (coefficient + 0.0).to_bits()))
            .collect();
        let value = (method, rank as u64, density.to_bits(), seed, election, parts);
        AdapterId::from(digest("openledger.adapter.composed", &value))
    }

    /// Makes one adapter of several for `network`, each with its coefficient, which may be negative.
    ///
    /// A layer that only some adapters have gets what these add. TIES and DARE cost the decomposition
    /// of every weight that is adapted, seconds for a small model and minutes for a large one, and
    /// memory for one weight as many times as there are adapters.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for no adapter, a coefficient that is no number, only zeros, a density
    /// or rank out of range; [`ErrorKind::Limit`] for more than 64 adapters;
    /// [`ErrorKind::Unsupported`] for one with `DoRA`, whose effect is no sum, or with embeddings or a
    /// head of its own.
    ///
    /// # Examples
    /// ```
    /// use openledger_model::{Adapter, Combine, LoraConfig, testing};
    ///
    /// let model = testing::tiny(1)?;
    /// let adapter = |rank, seed| {
    ///     let config = LoraConfig::default().with_rank(rank, 6.0);
    ///     let lora = testing::lora(&model, &config, seed)?;
    ///     Adapter::load(model.network(), &lora.to_files(model.network(), &config))
    /// };
    /// let (law, style) = (adapter(4, 1)?, adapter(2, 2)?);
    /// let both = Combine::Sum.adapters(model.network(), &[(&law, 1.0), (&style, -0.5)])?;
    /// assert!(both.adapter.lora().pairs().all(|(_, pair)| pair.rank == 6));
    /// # Ok::<(), openledger_core::Error>(())
    /// ```
    pub fn adapters(&self, network: &Network, parts: &[(&Adapter, f64)]) -> Result<Composed> {
        self.check(parts.iter().map(|(_, coefficient)| *coefficient))?;
        parts.iter().try_for_each(|(part, _)| check_sum(part))?;
        let lora: Vec<(&Lora, f64)> = parts.iter().map(|(part, c)| (part.lora(), *c)).collect();
        let (lora, error) = match *self {
            Self::Sum => (sum(&lora)?, 0.0),
            Self::Ties { .. } | Self::Dare { .. } => delta::combine(network, &lora, self)?,
        };
        let base = &parts[0].0.config().base;
        let config = config_of(network, &lora)?.with_base(base);
        let id = self.id(parts.iter().map(|(part, coefficient)| (part.id(), *coefficient)));
        Ok(Composed { adapter: Adapter { id, config, lora }, error })
    }

    /// Checks all that can be known before the adapters are there: how many, their coefficients, and what
    /// the method is given.
    ///
    /// # Errors
    /// Those of [`adapters`](Self::adapters) for these.
    ///
    /// # Examples
    /// ```
    /// use openledger_model::{Combine, Election};
    ///
    /// let ties = |density| Combine::Ties { rank: 8, density, election: Election::Total };
    /// assert!(ties(0.2).check([1.0, -0.5]).is_ok());
    /// assert!(ties(2.0).check([1.0, -0.5]).is_err());
    /// assert!(Combine::Sum.check([f64::NAN]).is_err());
    /// ```
    pub fn check(&self, coefficients: impl IntoIterator<Item = f64>) -> Result<()> {
        let (mut parts, mut zeros) = (0, 0);
        for coefficient in coefficients {
            if !(coefficient as f32).is_finite() {
                let message = format!("the coefficient {coefficient} is no number");
                return Err(Error::invalid(message));
            }
            parts += 1;
            zeros += usize::from(coefficient == 0.0);
        }
        if parts > MAX_PARTS {
            let message = format!("{parts} adapters to make one, at most {MAX_PARTS}");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        if zeros == parts {
            return Err(Error::invalid("no adapter with a coefficient other than zero"));
        }
        let (rank, density) = match *self {
            Self::Sum => return Ok(()),
            Self::Ties { rank, density, .. } | Self::Dare { rank, density, .. } => (rank, density),
        };
        if !(density > 0.0 && density <= 1.0) {
            return Err(Error::invalid(format!(
                "the density {density} is not above 0 and up to 1"
            )));
        }
        check_rank(rank)
    }
}

/// Checks that what `part` does to a weight is a sum.
fn check_sum(part: &Adapter) -> Result<()> {
    let reason = match part.lora() {
        lora if lora.pairs().any(|(_, pair)| pair.magnitude.is_some()) => "DoRA",
        lora if lora.tables().len() > 0 => "embeddings or a head of its own",
        _ => return Ok(()),
    };
    let message = format!("the adapter {} has {reason}: it is no part of a sum", part.id());
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// Ranks one below the other.
fn sum(parts: &[(&Lora, f64)]) -> Result<Lora> {
    let parts = parts.iter().filter(|(_, coefficient)| *coefficient != 0.0);
    let mut at: BTreeMap<Param, Vec<(&Pair, f32)>> = BTreeMap::new();
    for (lora, coefficient) in parts {
        for (site, pair) in lora.pairs() {
            let scale = (coefficient * f64::from(pair.scale)) as f32;
            at.entry(site).or_default().push((pair, scale));
        }
    }
    let pairs = at.into_iter().map(|(site, parts)| Ok((site, concatenated(&parts)?)));
    Ok(Lora { pairs: pairs.collect::<Result<_>>()?, tables: BTreeMap::new() })
}

fn concatenated(parts: &[(&Pair, f32)]) -> Result<Pair> {
    let rank = parts.iter().map(|(pair, _)| pair.rank).sum();
    check_rank(rank)?;
    if let Some((_, scale)) = parts.iter().find(|(_, scale)| !scale.is_finite()) {
        return Err(Error::invalid(format!("coefficient times scale is {scale}")));
    }
    let a = parts.iter().flat_map(|(pair, _)| &pair.a).copied().collect();
    let out = parts.first().map_or(0, |(pair, _)| pair.b.len() / pair.rank);
    let row = |(pair, scale): &(&Pair, f32), row: usize| -> Vec<f32> {
        pair.b[row * pair.rank..(row + 1) * pair.rank].iter().map(|b| b * scale).collect()
    };
    let b = (0..out).flat_map(|at| parts.iter().flat_map(move |part| row(part, at))).collect();
    Ok(Pair { a, b, rank, scale: 1.0, magnitude: None })
}

/// The configuration with which `lora`, whose scales are one, is written and read.
fn config_of(network: &Network, lora: &Lora) -> Result<LoraConfig> {
    let rank = lora.pairs().map(|(_, pair)| pair.rank).max().unwrap_or(0);
    check_rank(rank)?;
    let names = lora.pairs().map(|(site, _)| module(network, site).to_owned()).collect();
    let others = || lora.pairs().filter(|(_, pair)| pair.rank != rank);
    let name = |site| regex::escape(module(network, site));
    Ok(LoraConfig {
        targets: Targets::Names(names),
        rank_pattern: Patterns(others().map(|(site, pair)| (name(site), pair.rank)).collect()),
        alpha_pattern: Patterns(
            others().map(|(site, pair)| (name(site), pair.rank as f64)).collect(),
        ),
        ..LoraConfig::default().with_rank(rank, rank as f64)
    })
}
