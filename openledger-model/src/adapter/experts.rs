//! Adapters at all experts of a layer at once.
//!
//! transformers 5 keeps the experts of a layer as two tensors, and PEFT since 0.21 puts one pair of
//! matrices at each: `gate_up_proj` and `down_proj`, of which the first gets the inner of two nested
//! wrappers. Of `E` experts with rank `r` (`ParamWrapper.get_delta_weight` of PEFT 0.21):
//!
//! ```text
//! experts.base_layer.lora_A   [E r, hidden]          expert by expert
//! experts.base_layer.lora_B   [2 intermediate, r E]  column j E + e is the j-th of expert e; gate over up
//! experts.lora_A              [E r, intermediate]
//! experts.lora_B              [hidden, r E]
//! ```
//!
//! If only one of the two is targeted there is no `base_layer` in its names. Here every expert has its
//! own layers, so such files are read as if they had been written expert by expert: gate and up share
//! `A` and each has its half of `B`.

use std::collections::BTreeMap;

use openledger_core::{Error, Result};
use openledger_kernels::Storage;

use super::{
    LoraConfig, Selection, Targets,
    targets::{Place, ends, module},
};
use crate::{NamedTensor, Network};

const GATE_UP: &str = "gate_up_proj";
const DOWN: &str = "down_proj";

/// A layer of an expert, by its module's name.
struct Expert<'a> {
    /// The module of all experts, up to `.experts`.
    all: &'a str,
    index: usize,
    leaf: &'a str,
}

impl<'a> Expert<'a> {
    fn parse(module: &'a str) -> Option<Self> {
        let (rest, leaf) = module.rsplit_once('.')?;
        let (all, index) = rest.rsplit_once('.')?;
        let index = index.parse().ok()?;
        all.ends_with(".experts").then_some(Self { all, index, leaf })
    }

    /// The name of the tensor that holds this layer's weight in transformers 5.
    fn parameter(&self) -> Option<String> {
        let parameter = match self.leaf {
            "gate_proj" | "up_proj" => GATE_UP,
            "down_proj" => DOWN,
            _ => return None,
        };
        Some(format!("{}.{parameter}", self.all))
    }
}

/// For each module the tensor of all experts that `parameters` names and it is a part of.
pub(super) fn targeted(parameters: &[String], modules: &[&str]) -> Result<Vec<Option<String>>> {
    if parameters.is_empty() {
        return Ok(vec![None; modules.len()]);
    }
    let all: Vec<Option<String>> =
        modules.iter().map(|module| Expert::parse(module)?.parameter()).collect();
    let meant = |found: &str| parameters.iter().any(|parameter| ends(found, parameter));
    let has = |parameter: &&String| all.iter().flatten().any(|found| ends(found, parameter));
    if let Some(missing) = parameters.iter().find(|parameter| !has(parameter)) {
        return Err(Error::invalid(format!(
            "the model has no experts' tensor `{missing}` for the adapter's `target_parameters`"
        )));
    }
    Ok(all.into_iter().map(|found| found.filter(|found| meant(found))).collect())
}

impl LoraConfig {
    /// Returns the same with each expert's layers targeted by themselves, as adapters are written.
    ///
    /// # Errors
    /// Those of [`sites`](Self::sites).
    pub fn per_expert(&self, network: &Network) -> Result<Self> {
        if self.parameters.is_empty() {
            return Ok(self.clone());
        }
        let places = self.places(network)?;
        let mut patterns: Vec<String> = match &self.targets {
            // Blocks cannot be chosen beside a pattern, and what is left out must not reach the
            // experts: each layer is named.
            _ if !self.selection.is_all() => {
                let others = places.iter().filter(|place| !place.fused);
                others.map(|place| regex::escape(module(network, place.site))).collect()
            }
            Targets::Names(names) => {
                names.iter().map(|name| format!(r"(?:.*\.)?{}", regex::escape(name))).collect()
            }
            Targets::Pattern(pattern) => vec![format!("(?:{pattern})")],
        };
        // What the layers of each tensor are like: the same for all experts.
        let mut tensors: BTreeMap<(&str, bool), (usize, f64)> = BTreeMap::new();
        for place in places.iter().filter(|place| place.fused) {
            if let Some(expert) = Expert::parse(module(network, place.site)) {
                let tensor = (expert.all, expert.leaf == DOWN);
                tensors.insert(tensor, (place.rank, place.alpha));
            }
        }
        let mut config =
            Self { parameters: Vec::new(), selection: Selection::default(), ..self.clone() };
        let (mut ranks, mut alphas) = (Vec::new(), Vec::new());
        for ((all, is_down), (rank, alpha)) in tensors {
            let all = regex::escape(all);
            let leaves = if is_down { DOWN } else { "(?:gate|up)_proj" };
            // PEFT looks for the layers of experts by a name without the expert's index.
            let pattern = format!(r"{all}\.(?:[0-9]+\.)?{leaves}");
            if (rank, alpha) != (self.rank, self.alpha) {
                ranks.push((pattern.clone(), rank));
                alphas.push((pattern.clone(), alpha));
                // It gives gate and up together twice their rank, of the configuration's unless a
                // pattern before its own says otherwise.
                if !is_down {
                    ranks.push((format!(r"{all}\.{GATE_UP}"), rank.saturating_mul(2)));
                    alphas.push((format!(r"{all}\.{GATE_UP}"), alpha * 2.0));
                }
            }
            patterns.push(pattern);
        }
        config.rank_pattern.0.splice(..0, ranks);
        config.alpha_pattern.0.splice(..0, alphas);
        config.targets = Targets::Pattern(patterns.join("|"));
        Ok(config)
    }
}

/// One of the layers that a tensor is for.
struct Layer<'a> {
    index: usize,
    leaf: &'a str,
    rank: usize,
}

/// Replaces tensors of all experts by those of each, under the names PEFT gives to layers of their own.
pub(super) fn split(
    network: &Network,
    places: &[Place],
    tensors: &mut BTreeMap<String, (Vec<usize>, Storage)>,
) -> Result<()> {
    // By the module of all experts and whether it is the last of the two: how many, and the rank.
    let mut groups: BTreeMap<(&str, bool), Vec<Layer<'_>>> = BTreeMap::new();
    for place in places.iter().filter(|place| place.fused) {
        let Some(expert) = Expert::parse(module(network, place.site)) else { continue };
        let group = groups.entry((expert.all, expert.leaf == DOWN)).or_default();
        group.push(Layer { index: expert.index, leaf: expert.leaf, rank: place.rank });
    }
    for (&(all, is_down), layers) in &groups {
        let nested = !is_down && groups.contains_key(&(all, true));
        let wrapper = if nested { ".base_layer" } else { "" };
        let count = layers.iter().map(|layer| layer.index + 1).max().unwrap_or(0);
        let rank = layers.first().map_or(0, |layer| layer.rank);
        let own = |index: usize, leaf: &str, side: &str| {
            format!("base_model.model.{all}.{index}.{leaf}.lora_{side}.weight")
        };
        // What was written here and is read with the same configuration is split already.
        if layers
            .iter()
            .any(|&Layer { index, leaf, .. }| tensors.contains_key(&own(index, leaf, "A")))
        {
            continue;
        }
        let mut take = |side: &str| -> Result<NamedTensor> {
            let name = format!("base_model.model.{all}{wrapper}.lora_{side}.weight");
            let (shape, data) = tensors.remove(&name).ok_or_else(|| {
                Error::invalid(format!("the adapter lacks the tensor `{name}` that it targets"))
            })?;
            Ok(NamedTensor { name, shape, data: data.to_vec() })
        };
        let (a, b) = (take("A")?, take("B")?);
        let experts = count.saturating_mul(rank);
        let [width, out] = match (&a.shape[..], &b.shape[..]) {
            (&[rows, width], &[out, columns]) if rows == experts && columns == experts => {
                [width, out]
            }
            _ => {
                return Err(Error::invalid(format!(
                    "the adapter's tensors `{}` and `{}` are {:?} and {:?}, not of rank {rank} for {count} experts",
                    a.name, b.name, a.shape, b.shape
                )));
            }
        };
        if !is_down && !out.is_multiple_of(2) {
            return Err(Error::invalid(format!(
                "the adapter's tensor `{}` is {:?}",
                b.name, b.shape
            )));
        }
        for &Layer { index, leaf, .. } in layers {
            let rows = match leaf {
                "gate_proj" => 0..out / 2,
                "up_proj" => out / 2..out,
                _ => 0..out,
            };
            let of_a = &a.data[index * rank * width..(index + 1) * rank * width];
            // A row of `B` has the first column of each expert, then the second of each, and so on.
            let of_b: Vec<f32> = rows
                .clone()
                .flat_map(|row| (0..rank).map(move |column| row * experts + column * count + index))
                .map(|at| b.data[at])
                .collect();
            tensors.insert(
                own(index, leaf, "A"),
                (vec![rank, width], Storage::F32(of_a.to_vec().into())),
            );
            tensors
                .insert(own(index, leaf, "B"), (vec![rows.len(), rank], Storage::F32(of_b.into())));
        }
    }
    Ok(())
}
