//! `adapter_config.json`.

use openledger_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::targets::{check_alpha, check_rank};
use super::{LoraConfig, Patterns, Saved, Selection, Start, Targets};

impl LoraConfig {
    /// Parses `adapter_config.json`.
    ///
    /// `fan_in_fan_out` is ignored: PEFT sets it to false where the layer is a linear one, and all of
    /// ours are.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is not one; [`ErrorKind::Unsupported`] naming an option that
    /// would change the answer and is not there yet; [`ErrorKind::Invalid`] for a rank or alpha
    /// that makes no sense, or options that contradict each other.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let raw: Raw = serde_json::from_slice(json)
            .map_err(|e| Error::corrupt("not the configuration of an adapter").with_source(e))?;
        raw.check_supported()?;
        let targets = raw.target_modules.unwrap_or_else(|| Targets::Names(Vec::new()));
        let parameters = raw.target_parameters.unwrap_or_default();
        if targets.is_empty() && parameters.is_empty() {
            return Err(Error::invalid("the adapter targets no layer: set `target_modules`"));
        }
        check_rank(raw.r)?;
        check_alpha(raw.lora_alpha)?;
        let layers = raw.layers_to_transform.map_or_else(Vec::new, OneOrMore::into_vec);
        let layers_pattern: Vec<String> =
            raw.layers_pattern.map_or_else(Vec::new, OneOrMore::into_vec);
        if layers.is_empty() && !layers_pattern.is_empty() {
            return Err(Error::invalid("`layers_pattern` needs `layers_to_transform`"));
        }
        if !layers.is_empty() && matches!(targets, Targets::Pattern(_)) {
            return Err(Error::invalid(
                "`layers_to_transform` needs `target_modules` to be a list of names",
            ));
        }
        let start = start(raw.init_lora_weights.as_ref())?;
        if start == Start::Pissa && raw.use_dora {
            return Err(unsupported("`init_lora_weights`: `pissa` together with `use_dora`"));
        }
        let saved = saved(raw.modules_to_save.unwrap_or_default())?;
        if raw.use_dora && !parameters.is_empty() {
            return Err(Error::invalid("`target_parameters` cannot have `use_dora`"));
        }
        Ok(Self {
            rank: raw.r,
            alpha: raw.lora_alpha,
            rank_stabilised: raw.use_rslora,
            targets,
            base: raw.base_model_name_or_path.unwrap_or_default(),
            parameters,
            selection: Selection {
                exclude: raw.exclude_modules.filter(|exclude| !exclude.is_empty()),
                layers,
                layers_pattern,
            },
            rank_pattern: raw.rank_pattern.unwrap_or_default(),
            alpha_pattern: raw.alpha_pattern.unwrap_or_default(),
            dora: raw.use_dora,
            saved,
            start,
        })
    }

    /// Writes the `adapter_config.json` that PEFT loads.
    pub fn to_json(&self) -> Vec<u8> {
        let some = |list: &[usize]| (!list.is_empty()).then(|| list.to_vec());
        let Selection { exclude, layers, layers_pattern } = &self.selection;
        let config = Written {
            alpha_pattern: Patterns(
                self.alpha_pattern
                    .0
                    .iter()
                    .map(|(key, alpha)| (key.clone(), whole(*alpha)))
                    .collect(),
            ),
            base_model_name_or_path: &self.base,
            bias: "none",
            exclude_modules: exclude.as_ref(),
            fan_in_fan_out: false,
            inference_mode: true,
            init_lora_weights: match self.start {
                Start::Zero => Value::Bool(true),
                Start::Pissa => Value::from(PISSA),
            },
            layers_pattern: (!layers_pattern.is_empty()).then_some(layers_pattern),
            layers_to_transform: some(layers),
            lora_alpha: whole(self.alpha),
            lora_dropout: 0.0,
            modules_to_save: (!self.saved.is_empty()).then_some(&self.saved),
            peft_type: "LORA",
            r: self.rank,
            rank_pattern: &self.rank_pattern,
            target_modules: &self.targets,
            target_parameters: (!self.parameters.is_empty()).then_some(&self.parameters),
            task_type: "CAUSAL_LM",
            use_dora: self.dora,
            use_rslora: self.rank_stabilised,
        };
        serde_json::to_vec_pretty(&config).expect("strings and numbers are always JSON")
    }
}

const PISSA: &str = "pissa";

/// A number, without a point if it is whole, as PEFT writes it.
fn whole(number: f64) -> Value {
    match number.fract() == 0.0 && number.abs() < 1e15 {
        true => Value::from(number as i64),
        false => Value::from(number),
    }
}

/// What `init_lora_weights` says. What leaves the base as it is needs no telling apart.
fn start(init: Option<&Value>) -> Result<Start> {
    match init {
        None | Some(Value::Null | Value::Bool(_)) => Ok(Start::Zero),
        Some(Value::String(init)) if init == PISSA => Ok(Start::Pissa),
        Some(Value::String(init)) if ["gaussian", "eva", "orthogonal"].contains(&init.as_str()) => {
            Ok(Start::Zero)
        }
        Some(other) => Err(unsupported(&format!(
            "`init_lora_weights`: {other}, which changes the base model: save it with `path_initial_model_for_weight_conversion`"
        ))),
    }
}

fn saved(modules: Vec<String>) -> Result<Vec<Saved>> {
    let mut saved = modules
        .into_iter()
        .map(|module| {
            [Saved::Embedding, Saved::Head]
                .into_iter()
                .find(|saved| super::targets::ends(saved.module(), &module))
                .ok_or_else(|| {
                    unsupported(&format!(
                        "`modules_to_save`: `{module}`; known: embed_tokens, lm_head"
                    ))
                })
        })
        .collect::<Result<Vec<_>>>()?;
    saved.sort_unstable();
    saved.dedup();
    Ok(saved)
}

#[derive(Deserialize)]
struct Raw {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    target_modules: Option<Targets>,
    target_parameters: Option<Vec<String>>,
    exclude_modules: Option<Targets>,
    layers_to_transform: Option<OneOrMore<usize>>,
    layers_pattern: Option<OneOrMore<String>>,
    rank_pattern: Option<Patterns<usize>>,
    alpha_pattern: Option<Patterns<f64>>,
    modules_to_save: Option<Vec<String>>,
    init_lora_weights: Option<Value>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    base_model_name_or_path: Option<String>,
    /// Options looked at only to refuse what they ask for.
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

/// PEFT takes one as well as a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

impl Raw {
    fn check_supported(&self) -> Result<()> {
        if self.peft_type != "LORA" {
            return Err(unsupported(&format!("`peft_type`: `{}`", self.peft_type)));
        }
        for option in [
            "layer_replication",
            "trainable_token_indices",
            "lora_bias",
            "alora_invocation_tokens",
            "ensure_weight_tying",
            "use_qalora",
            "use_bdlora",
            "kasa_config",
            "arrow_config",
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

/// The file as it is written: its fields in this order. What is not in use and was not always written
/// is left out, so that the name of an adapter does not change.
#[derive(Serialize)]
struct Written<'a> {
    alpha_pattern: Patterns<Value>,
    base_model_name_or_path: &'a str,
    bias: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude_modules: Option<&'a Targets>,
    fan_in_fan_out: bool,
    inference_mode: bool,
    init_lora_weights: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers_pattern: Option<&'a Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers_to_transform: Option<Vec<usize>>,
    lora_alpha: Value,
    lora_dropout: f32,
    modules_to_save: Option<&'a Vec<Saved>>,
    peft_type: &'static str,
    r: usize,
    rank_pattern: &'a Patterns<usize>,
    target_modules: &'a Targets,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_parameters: Option<&'a Vec<String>>,
    task_type: &'static str,
    use_dora: bool,
    use_rslora: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(option: &str, value: &str) -> Result<LoraConfig> {
        let mut config: Value = serde_json::from_slice(&LoraConfig::default().to_json()).unwrap();
        config[option] = serde_json::from_str(value).unwrap();
        LoraConfig::parse(config.to_string().as_bytes())
    }

    #[test]
    fn what_is_written_is_parsed() {
        let plain = LoraConfig::default();
        let only = Selection::default().with_layers([0, 3]);
        let only = only.with_exclude(Targets::Pattern(".*up_proj".to_owned()));
        for config in [
            plain.clone(),
            plain.clone().with_rank(3, 2.5).with_rank_stabilised(true).with_base("base"),
            plain.clone().with_targets(["v_proj"]).with_selection(only),
            plain.clone().with_pattern(r".*\.(q|kv_b)_proj"),
            plain.clone().with_rank_pattern("z", 2).with_rank_pattern("a", 3).with_dora(true),
            plain.clone().with_alpha_pattern("z", 2.5).with_alpha_pattern("a", 3.0),
            plain.clone().with_saved([Saved::Head, Saved::Embedding]),
            LoraConfig { start: Start::Pissa, ..plain.clone() },
            LoraConfig { parameters: vec!["gate_up_proj".to_owned()], ..plain },
        ] {
            assert_eq!(LoraConfig::parse(&config.to_json()).unwrap(), config);
        }
    }

    #[test]
    fn options_that_would_change_the_answer_are_refused_by_name() {
        for (option, value) in [
            ("layer_replication", "[[0,2]]"),
            ("modules_to_save", r#"["classifier"]"#),
            ("init_lora_weights", r#""pissa_niter_4""#),
            ("init_lora_weights", r#""olora""#),
            ("bias", r#""all""#),
            ("peft_type", r#""IA3""#),
        ] {
            let error = with(option, value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{option}");
            assert!(error.to_string().contains(option), "{error}");
        }
    }

    #[test]
    fn options_are_read_in_each_spelling() {
        assert_eq!(with("layers_to_transform", "3").unwrap().selection.layers, [3]);
        let saved = with("modules_to_save", r#"["lm_head","model.embed_tokens"]"#).unwrap().saved;
        assert_eq!(saved, [Saved::Embedding, Saved::Head]);
        assert!(with("fan_in_fan_out", "true").is_ok());
        assert!(with("layers_pattern", r#""h""#).is_err());
        assert!(with("rank_pattern", r#"{"q_proj":-1}"#).is_err());
    }
}
