//! Which layers of a model an adapter is at, and with which rank.

use openledger_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{LoraConfig, experts, pattern};
use crate::{Network, Param};

/// The largest rank accepted.
pub(super) const MAX_RANK: usize = 4096;

/// What PEFT calls all linear layers of the blocks.
const EVERY: &str = "all-linear";

/// Which linear layers an adapter is at.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::exhaustive_enums, reason = "PEFT has these two")]
pub enum Targets {
    /// Those whose module names are one of these or end in a dot and one of them, such as `q_proj`.
    Names(Vec<String>),
    /// Those whose whole module names match a regular expression; all of them for `all-linear`.
    Pattern(String),
}

/// What of the targets is left out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Selection {
    /// Targets without matrices: PEFT's `exclude_modules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Targets>,
    /// The only blocks with matrices, by their index; all if empty: PEFT's `layers_to_transform`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
    /// What stands before the index in a module's name; whatever stands before the first number if
    /// empty: PEFT's `layers_pattern`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers_pattern: Vec<String>,
}

impl Selection {
    /// Returns this without the layers of `exclude`.
    #[must_use]
    pub fn with_exclude(mut self, exclude: Targets) -> Self {
        self.exclude = Some(exclude);
        self
    }

    /// Returns this with matrices in some blocks only.
    #[must_use]
    pub fn with_layers(mut self, layers: impl IntoIterator<Item = usize>) -> Self {
        self.layers = layers.into_iter().collect();
        self
    }

    pub(super) fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Says for each module whether it stays, and checks that every index names a block.
    fn keeps(&self, modules: &[&str], targeted: &[bool]) -> Result<Vec<bool>> {
        let mut kept = targeted.to_vec();
        if !self.layers.is_empty() {
            let indices = self.indices(modules)?;
            let has = |layer: &&usize| {
                indices.iter().zip(targeted).any(|(index, hit)| *hit && *index == Some(**layer))
            };
            if let Some(missing) = self.layers.iter().find(|layer| !has(layer)) {
                return Err(Error::invalid(format!(
                    "the model has no layer {missing} with the adapter's targets, which `layers_to_transform` asks for"
                )));
            }
            for (kept, index) in kept.iter_mut().zip(indices) {
                *kept &= index.is_some_and(|index| self.layers.contains(&index));
            }
        }
        if let Some(exclude) = &self.exclude {
            for (kept, left_out) in kept.iter_mut().zip(exclude.hits(modules)?) {
                *kept &= !left_out;
            }
        }
        Ok(kept)
    }

    /// The index of each module's block. The first number of a name counts, not that of an expert.
    fn indices(&self, modules: &[&str]) -> Result<Vec<Option<usize>>> {
        let any = [String::new()];
        let patterns = if self.layers_pattern.is_empty() { &any[..] } else { &self.layers_pattern };
        let mut indices = vec![None; modules.len()];
        for before in patterns {
            let regex = match before.is_empty() {
                true => r"^.*?\.[^.]*\.(?P<index>[0-9]+)\.".to_owned(),
                false => format!(r"^(?:.*?\.)??(?:{before})\.(?P<index>[0-9]+)\."),
            };
            let regex = pattern::compile(before, &regex)?;
            for (index, module) in indices.iter_mut().zip(modules).filter(|(i, _)| i.is_none()) {
                let found = regex.captures(module).and_then(|found| found.name("index"));
                *index = found.and_then(|found| found.as_str().parse().ok());
            }
        }
        Ok(indices)
    }
}

impl Targets {
    /// Returns whether nothing is targeted.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Names(names) if names.is_empty())
    }

    /// Says for each module whether it is meant.
    fn hits(&self, modules: &[&str]) -> Result<Vec<bool>> {
        Ok(match self {
            Self::Names(names) => {
                let meant = |module: &&str| names.iter().any(|name| ends(module, name));
                modules.iter().map(meant).collect()
            }
            Self::Pattern(every) if every.eq_ignore_ascii_case(EVERY) => vec![true; modules.len()],
            Self::Pattern(pattern) => {
                let whole = pattern::whole(pattern)?;
                modules.iter().map(|module| whole.is_match(module)).collect()
            }
        })
    }

    /// As [`hits`](Self::hits), and checks that everything named is there.
    fn found(&self, modules: &[&str]) -> Result<Vec<bool>> {
        let hits = self.hits(modules)?;
        let missing = match self {
            Self::Names(names) => {
                let missing = |name: &&String| !modules.iter().any(|module| ends(module, name));
                names.iter().find(missing).map(|name| format!("`{name}`"))
            }
            Self::Pattern(pattern) => {
                (!hits.contains(&true)).then(|| format!("that matches `{pattern}`"))
            }
        };
        match missing {
            None => Ok(hits),
            Some(missing) => Err(Error::invalid(format!(
                "the model has no linear layer {missing} for the adapter"
            ))),
        }
    }
}

/// Whether a module is `name`, or ends in a dot and it.
pub(super) fn ends(module: &str, name: &str) -> bool {
    let rest = module.strip_suffix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A linear layer that carries matrices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) site: Param,
    pub(super) rank: usize,
    pub(super) alpha: f64,
    pub(super) scale: f32,
    /// Whether it is one of experts that are named all at once.
    pub(super) fused: bool,
}

impl LoraConfig {
    /// Finds the model's linear layers that the configuration targets.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) naming the first target that the
    /// model does not have, or a rank that makes no sense;
    /// [`ErrorKind::Unsupported`](openledger_core::ErrorKind::Unsupported) for a pattern that is not a
    /// regular expression as Rust has them.
    pub fn sites(&self, network: &Network) -> Result<Vec<Param>> {
        Ok(self.places(network)?.into_iter().map(|place| place.site).collect())
    }

    /// Finds the layers and what their matrices are like.
    pub(super) fn places(&self, network: &Network) -> Result<Vec<Place>> {
        let linears = network.decoder().linears();
        let modules: Vec<&str> =
            linears.iter().map(|linear| module(network, linear.weight)).collect();
        let targeted = match self.targets.is_empty() && !self.parameters.is_empty() {
            true => vec![false; modules.len()],
            false => self.targets.found(&modules)?,
        };
        let kept = self.selection.keeps(&modules, &targeted)?;
        let fused = experts::targeted(&self.parameters, &modules)?;
        let chosen: Vec<usize> =
            (0..modules.len()).filter(|&at| kept[at] || fused[at].is_some()).collect();
        if chosen.is_empty() {
            return Err(Error::invalid(
                "the adapter's targets are all left out: look at `exclude_modules`",
            ));
        }
        let keys: Vec<&str> =
            chosen.iter().map(|&at| fused[at].as_deref().unwrap_or(modules[at])).collect();
        let ranks = self.rank_pattern.of_each(&keys, self.rank)?;
        let alphas = self.alpha_pattern.of_each(&keys, self.alpha)?;
        let places = chosen.into_iter().zip(ranks.into_iter().zip(alphas));
        places
            .map(|(at, (rank, alpha))| {
                check_rank(rank)?;
                check_alpha(alpha)?;
                let (site, scale) = (linears[at].weight, self.scale_of(rank, alpha));
                if !scale.is_finite() {
                    return Err(Error::invalid(format!("`lora_alpha` is {alpha}, too large")));
                }
                Ok(Place { site, rank, alpha, scale, fused: fused[at].is_some() })
            })
            .collect()
    }
}

pub(super) fn check_rank(rank: usize) -> Result<()> {
    match rank {
        1..=MAX_RANK => Ok(()),
        _ => Err(Error::invalid(format!("rank `r` is {rank}, not 1 to {MAX_RANK}"))),
    }
}

pub(super) fn check_alpha(alpha: f64) -> Result<()> {
    match alpha.is_finite() {
        true => Ok(()),
        false => Err(Error::invalid(format!("`lora_alpha` is {alpha}"))),
    }
}

/// The name of a layer's module: its weight's without `.weight`.
pub(super) fn module(network: &Network, site: Param) -> &str {
    let name = network.weights().name(site);
    name.strip_suffix(".weight").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// The modules an adapter is at, without what stands before the block's index.
    fn chosen(config: &LoraConfig) -> Result<Vec<String>> {
        let model = testing::tiny(1)?;
        let name = |site| module(model.network(), site).trim_start_matches("model.layers.");
        Ok(config.sites(model.network())?.into_iter().map(|site| name(site).to_owned()).collect())
    }

    fn queries() -> LoraConfig {
        LoraConfig::default().with_targets(["q_proj"])
    }

    #[test]
    fn only_some_blocks_are_chosen() {
        let selection = Selection::default().with_layers([1]);
        let config = queries().with_selection(selection.clone());
        assert_eq!(chosen(&config).unwrap(), ["1.self_attn.q_proj"]);
        for (before, found) in [("layers", true), ("model.layers", true), ("h", false)] {
            let pattern = vec![before.to_owned()];
            let selection = Selection { layers_pattern: pattern, ..selection.clone() };
            let config = queries().with_selection(selection);
            assert_eq!(chosen(&config).is_ok(), found, "{before}");
        }
        let error = chosen(&queries().with_selection(Selection::default().with_layers([0, 7])));
        assert!(error.unwrap_err().to_string().contains("layer 7"));
    }

    #[test]
    fn what_is_excluded_is_left_out() {
        let without =
            |exclude| queries().with_selection(Selection::default().with_exclude(exclude));
        let names = |name: &str| Targets::Names(vec![name.to_owned()]);
        let pattern = |pattern: &str| Targets::Pattern(pattern.to_owned());
        for exclude in [names("layers.0.self_attn.q_proj"), pattern(r".*\.0\..*")] {
            assert_eq!(chosen(&without(exclude)).unwrap(), ["1.self_attn.q_proj"]);
        }
        assert_eq!(chosen(&without(pattern("q_proj"))).unwrap().len(), 2, "whole names only");
        let error = chosen(&without(names("q_proj"))).unwrap_err();
        assert!(error.to_string().contains("exclude_modules"), "{error}");
    }

    #[test]
    fn a_rank_that_makes_no_sense_is_refused_wherever_it_stands() {
        for rank in [0, MAX_RANK + 1, usize::MAX] {
            assert!(chosen(&queries().with_rank_pattern("q_proj", rank)).is_err());
        }
        assert!(chosen(&queries().with_alpha_pattern("q_proj", f64::NAN)).is_err());
    }
}
