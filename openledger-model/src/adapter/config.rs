//! `adapter_config.json`.

use openledger_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The largest rank accepted.
const MAX_RANK: usize = 4096;

/// What a LoRA adapter is made of, as `adapter_config.json` says it.
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
}

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

/// What PEFT calls all linear layers of the blocks.
pub(super) const EVERY: &str = "all-linear";

/// The linear layers of a Llama block.
const ALL: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

impl Default for LoraConfig {
    /// Rank 8 with alpha 16 on all seven linear layers.
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            rank_stabilised: false,
            targets: Targets::Names(ALL.map(str::to_owned).to_vec()),
            base: String::new(),
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

    /// Returns this with the scale of rsLoRA or without.
    #[must_use]
    pub const fn with_rank_stabilised(mut self, rank_stabilised: bool) -> Self {
        self.rank_stabilised = rank_stabilised;
        self
    }

    /// Returns this with the name of the base model.
    #[must_use]
    pub fn with_base(mut self, base: impl Into<String>) -> Self {
        self.base = base.into();
        self
    }

    /// Returns what the product of the matrices is multiplied by.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f64;
        (self.alpha / if self.rank_stabilised { rank.sqrt() } else { rank }) as f32
    }

    /// Parses `adapter_config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is not one; [`ErrorKind::Unsupported`] naming an option that
    /// would change the answer and is not there yet; [`ErrorKind::Invalid`] for a rank or alpha
    /// that makes no sense.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let raw: Raw = serde_json::from_slice(json)
            .map_err(|e| Error::corrupt("not the configuration of an adapter").with_source(e))?;
        raw.check_supported()?;
        let targets = match raw.target_modules {
            Some(targets) => targets,
            None => Targets::Names(Vec::new()),
        };
        if targets == Targets::Names(Vec::new()) {
            return Err(Error::invalid("the adapter targets no layer: set `target_modules`"));
        }
        if raw.r == 0 || raw.r > MAX_RANK {
            return Err(Error::invalid(format!("rank `r` is {}, not 1 to {MAX_RANK}", raw.r)));
        }
        if !raw.lora_alpha.is_finite() {
            return Err(Error::invalid(format!("`lora_alpha` is {}", raw.lora_alpha)));
        }
        Ok(Self {
            rank: raw.r,
            alpha: raw.lora_alpha,
            rank_stabilised: raw.use_rslora,
            targets,
            base: raw.base_model_name_or_path.unwrap_or_default(),
        })
    }

    /// Writes the `adapter_config.json` that PEFT loads.
    pub fn to_json(&self) -> Vec<u8> {
        let alpha = match self.alpha.fract() == 0.0 && self.alpha.abs() < 1e15 {
            true => json!(self.alpha as i64), // as PEFT writes it
            false => json!(self.alpha),
        };
        let config = json!({
            "alpha_pattern": {},
            "base_model_name_or_path": self.base,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "rank_pattern": {},
            "target_modules": self.targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.rank_stabilised,
        });
        serde_json::to_vec_pretty(&config).expect("strings and numbers are always JSON")
    }
}

#[derive(Deserialize)]
struct Raw {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    target_modules: Option<Targets>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    /// Options looked at only to refuse what they ask for.
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

impl Raw {
    fn check_supported(&self) -> Result<()> {
        if self.peft_type != "LORA" {
            return Err(unsupported(&format!("`peft_type`: `{}`", self.peft_type)));
        }
        for option in [
            "use_dora",
            "fan_in_fan_out",
            "modules_to_save",
            "rank_pattern",
            "alpha_pattern",
            "layers_to_transform",
            "layers_pattern",
            "layer_replication",
            "target_parameters",
            "trainable_token_indices",
            "exclude_modules",
            "lora_bias",
            "alora_invocation_tokens",
        ] {
            if self.others.get(option).is_some_and(asks_for_something) {
                return Err(unsupported(&format!("`{option}`: {}", self.others[option])));
            }
        }
        match self.others.get("bias").and_then(Value::as_str) {
            None | Some("none") => Ok(()),
            Some(bias) => Err(unsupported(&format!("`bias`: `{bias}`"))),
        }
    }
}

fn asks_for_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the adapter asks for {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_parsed() {
        for config in [
            LoraConfig::default(),
            LoraConfig {
                rank: 3,
                alpha: 2.5,
                rank_stabilised: true,
                targets: Targets::Names(vec!["v_proj".to_owned()]),
                base: "base".to_owned(),
            },
            LoraConfig::default().with_pattern(r".*\.(q|kv_b)_proj"),
        ] {
            assert_eq!(LoraConfig::parse(&config.to_json()).unwrap(), config);
        }
    }

    #[test]
    fn the_scale_is_alpha_over_rank_or_over_its_root() {
        let config = LoraConfig::default().with_rank(4, 6.0);
        assert_eq!(config.scale(), 1.5);
        assert_eq!(LoraConfig { rank_stabilised: true, ..config }.scale(), 3.0);
    }

    #[test]
    fn options_that_would_change_the_answer_are_refused_by_name() {
        for (option, value) in [
            ("use_dora", "true"),
            ("rank_pattern", r#"{"q_proj":4}"#),
            ("modules_to_save", r#"["lm_head"]"#),
            ("bias", r#""all""#),
            ("peft_type", r#""IA3""#),
        ] {
            let mut config: Value =
                serde_json::from_slice(&LoraConfig::default().to_json()).unwrap();
            config[option] = serde_json::from_str(value).unwrap();
            let error = LoraConfig::parse(config.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{option}");
            assert!(error.to_string().contains(option), "{error}");
        }
    }
}
