//! What an adapter is made of.

use serde::{Deserialize, Serialize};

use super::{Patterns, Selection, Targets};

/// The linear layers of a Llama block.
const ALL: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// What a LoRA adapter is made of, as `adapter_config.json` says it.
///
/// # Examples
/// ```
/// use openledger_model::{Lora, LoraConfig, testing};
///
/// let model = testing::tiny(1)?;
/// let config = LoraConfig::default()
///     .with_rank(8, 16.0)
///     .with_rank_pattern(r"layers\.1\.mlp\..*", 4)
///     .with_dora(true);
/// let lora = Lora::init(model.network(), &config, 1)?;
/// assert_eq!(lora.pairs().filter(|(_, pair)| pair.rank == 4).count(), 3);
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LoraConfig {
    /// The rank of the matrices.
    pub rank: usize,
    /// Their product counts `alpha / rank`, or `alpha / sqrt(rank)` with `rank_stabilised`.
    pub alpha: f64,
    /// Whether the scale is that of rsLoRA (Kalajdzievski, 2023).
    pub rank_stabilised: bool,
    /// The linear layers that carry matrices.
    pub targets: Targets,
    /// The base model, as the adapter's author names it.
    pub base: String,
    /// Tensors of all experts of a layer at once, as PEFT since 0.21 targets them
    /// (`target_parameters`): read so, and written expert by expert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<String>,
    /// Which of the targets are left out.
    #[serde(default, skip_serializing_if = "Selection::is_all")]
    pub selection: Selection,
    /// Another rank for some layers.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub rank_pattern: Patterns<usize>,
    /// Another alpha for some layers.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub alpha_pattern: Patterns<f64>,
    /// Whether rows have a magnitude of their own (`DoRA`: Liu et al., 2024).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dora: bool,
    /// Tables of the base model that the adapter replaces, and trains whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub saved: Vec<Saved>,
    /// What the matrices are before training.
    #[serde(default, skip_serializing_if = "Start::is_zero")]
    pub start: Start,
}

/// A table of the base model that an adapter may replace: PEFT's `modules_to_save`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[expect(clippy::exhaustive_enums, reason = "a decoder has these two")]
pub enum Saved {
    /// The embeddings of tokens. Of a model whose head is the same table the head stays as it was.
    #[serde(rename = "embed_tokens")]
    Embedding,
    /// The projection to the vocabulary. Of a model whose embeddings are the same table they stay as
    /// they were.
    #[serde(rename = "lm_head")]
    Head,
}

impl Saved {
    /// The name of its module in every known family.
    pub(super) const fn module(self) -> &'static str {
        match self {
            Self::Embedding => "model.embed_tokens",
            Self::Head => "lm_head",
        }
    }
}

/// What the matrices of an adapter are before training.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Start {
    /// Random `A`, zero `B`: the model answers as before.
    #[default]
    Zero,
    /// The largest singular parts of each weight, which are taken out of the base (`PiSSA`: Meng et
    /// al., 2024): see [`Lora::pissa`](crate::Lora::pissa).
    Pissa,
}

impl Start {
    fn is_zero(&self) -> bool {
        *self == Self::Zero
    }
}

impl Default for LoraConfig {
    /// Rank 8 with alpha 16 on all seven linear layers.
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            rank_stabilised: false,
            targets: Targets::Names(ALL.map(str::to_owned).to_vec()),
            base: String::new(),
            parameters: Vec::new(),
            selection: Selection::default(),
            rank_pattern: Patterns::default(),
            alpha_pattern: Patterns::default(),
            dora: false,
            saved: Vec::new(),
            start: Start::Zero,
        }
    }
}

impl LoraConfig {
    /// Returns this with another rank and alpha.
    #[must_use]
    pub fn with_rank(mut self, rank: usize, alpha: f64) -> Self {
        (self.rank, self.alpha) = (rank, alpha);
        self
    }

    /// Returns this with another rank for the layers whose names end in a match of `pattern`, if no
    /// earlier pattern matches them.
    #[must_use]
    pub fn with_rank_pattern(mut self, pattern: impl Into<String>, rank: usize) -> Self {
        self.rank_pattern.0.push((pattern.into(), rank));
        self
    }

    /// Returns this with another alpha for the layers whose names end in a match of `pattern`, if no
    /// earlier pattern matches them.
    #[must_use]
    pub fn with_alpha_pattern(mut self, pattern: impl Into<String>, alpha: f64) -> Self {
        self.alpha_pattern.0.push((pattern.into(), alpha));
        self
    }

    /// Returns this with other target layers.
    #[must_use]
    pub fn with_targets<'a>(mut self, targets: impl IntoIterator<Item = &'a str>) -> Self {
        self.targets = Targets::Names(targets.into_iter().map(str::to_owned).collect());
        self
    }

    /// Returns this with the layers whose module names match `pattern`.
    #[must_use]
    pub fn with_pattern(mut self, pattern: impl Into<String>) -> Self {
        self.targets = Targets::Pattern(pattern.into());
        self
    }

    /// Returns this with some of the targets left out.
    #[must_use]
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Returns this with the scale of rsLoRA or without.
    #[must_use]
    pub const fn with_rank_stabilised(mut self, rank_stabilised: bool) -> Self {
        self.rank_stabilised = rank_stabilised;
        self
    }

    /// Returns this with magnitudes or without.
    #[must_use]
    pub const fn with_dora(mut self, dora: bool) -> Self {
        self.dora = dora;
        self
    }

    /// Returns this with tables that the adapter replaces.
    #[must_use]
    pub fn with_saved(mut self, saved: impl IntoIterator<Item = Saved>) -> Self {
        self.saved = saved.into_iter().collect();
        self.saved.sort_unstable();
        self.saved.dedup();
        self
    }

    /// Returns this with the name of the base model.
    #[must_use]
    pub fn with_base(mut self, base: impl Into<String>) -> Self {
        self.base = base.into();
        self
    }

    /// Returns what the product of the matrices is multiplied by, where no pattern says otherwise.
    pub fn scale(&self) -> f32 {
        self.scale_of(self.rank, self.alpha)
    }

    pub(super) fn scale_of(&self, rank: usize, alpha: f64) -> f32 {
        let rank = rank as f64;
        (alpha / if self.rank_stabilised { rank.sqrt() } else { rank }) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_alpha_over_rank_or_over_its_root() {
        let config = LoraConfig::default().with_rank(4, 6.0);
        assert_eq!(config.scale(), 1.5);
        assert_eq!(config.with_rank_stabilised(true).scale(), 3.0);
    }

    #[test]
    fn options_not_in_use_are_not_written() {
        let json = serde_json::to_value(LoraConfig::default()).unwrap();
        let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        // Whether they come sorted depends on a feature of serde_json.
        fields.sort_unstable();
        assert_eq!(fields, ["alpha", "base", "rank", "rank_stabilised", "targets"]);
        assert_eq!(serde_json::from_value::<LoraConfig>(json).unwrap(), LoraConfig::default());
    }
}
