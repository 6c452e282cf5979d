//! Llama (Touvron et al., 2023; Grattafiori et al., 2024): 2, 3 and whatever has their shape.

use openledger_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use super::dense::Dense;
use crate::config::{Fields, MAX_HEAD, MAX_SIZE, RopeConfig};

/// The shape of a Llama: every number positive and consistent with the others.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LlamaConfig {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub key_value_heads: usize,
    /// Elements of a head, even.
    pub head_dim: usize,
    /// Tokens known.
    pub vocabulary: usize,
    /// Longest sequence the model was made for.
    pub max_positions: usize,
    /// Added to the mean square before its root is taken.
    pub norm_eps: f32,
    /// The rotary frequencies.
    pub rope: RopeConfig,
    /// Whether the output projection is the embedding table.
    pub tied_embeddings: bool,
    /// Whether q, k, v and o have biases.
    pub attention_bias: bool,
    /// Whether gate, up and down have biases.
    pub mlp_bias: bool,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
}

/// What a family has where `config.json` says nothing.
pub(super) struct Defaults {
    pub(super) key_value_heads: Option<usize>,
    pub(super) head_dim: Option<usize>,
    pub(super) max_positions: usize,
    pub(super) attention_bias: bool,
}

pub(super) fn read(fields: &Fields) -> Result<Dense> {
    LlamaConfig::read(fields).map(Dense::llama)
}

impl LlamaConfig {
    /// Parses the `config.json` of a Llama, in the spelling of transformers 4 or 5.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if it is not such a file;
    /// [`ErrorKind::Unsupported`](openledger_core::ErrorKind::Unsupported) naming the option that is
    /// not there yet; [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if numbers
    /// contradict each other.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let fields = Fields::parse(json)?;
        match super::family(&fields)?.model_type {
            "llama" => Self::read(&fields),
            other => {
                let message = format!("the configuration of a `{other}`, not of a `llama`");
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    fn read(fields: &Fields) -> Result<Self> {
        // The defaults of transformers' LlamaConfig.
        let defaults = Defaults {
            key_value_heads: None,
            head_dim: None,
            max_positions: 2048,
            attention_bias: false,
        };
        Self::read_with(fields, &defaults)
    }

    pub(super) fn read_with(fields: &Fields, defaults: &Defaults) -> Result<Self> {
        let (hidden, heads) = (fields.size("hidden_size")?, fields.size("num_attention_heads")?);
        let max_positions = fields.size_or("max_position_embeddings", defaults.max_positions)?;
        let config = Self {
            hidden,
            intermediate: fields.size("intermediate_size")?,
            layers: fields.parts("num_hidden_layers")?,
            heads,
            key_value_heads: fields
                .size_or("num_key_value_heads", defaults.key_value_heads.unwrap_or(heads))?,
            head_dim: fields.size_or("head_dim", defaults.head_dim.unwrap_or(hidden / heads))?,
            vocabulary: fields.size("vocab_size")?,
            max_positions,
            norm_eps: fields.eps_or(1e-6)?,
            rope: RopeConfig::read(fields, max_positions)?,
            tied_embeddings: fields.flag_or("tie_word_embeddings", false)?,
            attention_bias: fields.flag_or("attention_bias", defaults.attention_bias)?,
            mlp_bias: fields.flag_or("mlp_bias", false)?,
            eos: fields.eos()?,
        };
        config.check()?;
        Ok(config)
    }

    /// Makes the shape of a small Llama with as many key heads as query heads, a feed-forward layer
    /// of 8/3 of the width rounded up to a multiple of 16, and tied embeddings.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if the heads do not divide the
    /// width into even parts.
    pub fn small(
        vocabulary: usize,
        hidden: usize,
        layers: usize,
        heads: usize,
        eos: u32,
    ) -> Result<Self> {
        let config = Self {
            hidden,
            intermediate: (8 * hidden).div_ceil(3).next_multiple_of(16),
            layers,
            heads,
            key_value_heads: heads,
            head_dim: hidden.checked_div(heads).unwrap_or(0),
            vocabulary,
            max_positions: 512,
            norm_eps: 1e-5,
            rope: RopeConfig::new(10_000.0),
            tied_embeddings: true,
            attention_bias: false,
            mlp_bias: false,
            eos: vec![eos],
        };
        config.check()?;
        Ok(config)
    }

    /// Writes the `config.json` that [`parse`](Self::parse) and transformers read.
    pub fn to_json(&self) -> Vec<u8> {
        let mut config = Value::Object(self.to_fields());
        config.sort_all_objects(); // the same bytes with serde_json's `preserve_order` as without
        serde_json::to_vec_pretty(&config).expect("strings and numbers are always JSON")
    }

    pub(crate) fn to_fields(&self) -> Map<String, Value> {
        let config = json!({
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": self.attention_bias,
            "eos_token_id": self.eos,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.max_positions,
            "mlp_bias": self.mlp_bias,
            "model_type": "llama",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.key_value_heads,
            "rms_norm_eps": self.norm_eps,
            "tie_word_embeddings": self.tied_embeddings,
            "torch_dtype": "float32",
            "vocab_size": self.vocabulary,
        });
        let mut fields = match config {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        fields.extend(self.rope.to_json().map(|(name, value)| (name.to_owned(), value)));
        fields
    }

    fn check(&self) -> Result<()> {
        for (name, size) in [
            ("hidden_size", self.hidden),
            ("intermediate_size", self.intermediate),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.key_value_heads),
            ("head_dim", self.head_dim),
            ("vocab_size", self.vocabulary),
            ("max_position_embeddings", self.max_positions),
        ] {
            if size == 0 || size > MAX_SIZE {
                return Err(Error::invalid(format!("`{name}` is {size}, not 1 to {MAX_SIZE}")));
            }
        }
        if !self.heads.is_multiple_of(self.key_value_heads) {
            return Err(Error::invalid(format!(
                "{} query heads cannot share {} key heads evenly",
                self.heads, self.key_value_heads
            )));
        }
        if !self.head_dim.is_multiple_of(2) || self.head_dim > MAX_HEAD {
            let dim = self.head_dim;
            return Err(Error::invalid(format!("`head_dim` is {dim}, not even and to {MAX_HEAD}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RopeScaling;

    fn json(change: &str, to: &str) -> Vec<u8> {
        let text = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":64,"intermediate_size":172,
            "num_hidden_layers":5,"num_attention_heads":8,"num_key_value_heads":4,"vocab_size":512,
            "eos_token_id":2,"rope_theta":10000.0,"rope_scaling":null,"tie_word_embeddings":true}"#;
        assert!(text.contains(change));
        text.replace(change, to).into_bytes()
    }

    #[test]
    fn both_spellings_of_the_rotary_base_are_read() {
        let old = LlamaConfig::parse(&json("10000.0", "5e5")).unwrap();
        assert_eq!((old.rope.theta, old.head_dim, old.eos), (5e5, 8, vec![2]));
        let new = json(
            "\"rope_theta\":10000.0",
            r#""rope_parameters":{"rope_type":"default","rope_theta":5e5}"#,
        );
        assert_eq!(LlamaConfig::parse(&new).unwrap().rope.theta, 5e5);
    }

    #[test]
    fn what_is_not_there_yet_is_named() {
        for (change, to, named) in [
            ("LlamaForCausalLM", "GPT2LMHeadModel", "GPT2LMHeadModel"),
            ("LlamaForCausalLM", "GPT2LMHeadModel", "known: LlamaForCausalLM, MistralForCausalLM"),
            ("LlamaForCausalLM", "Qwen2ForCausalLM", "qwen2"),
            ("\"rope_scaling\":null", r#""rope_scaling":{"rope_type":"longrope"}"#, "longrope"),
            ("\"rope_scaling\":null", r#""rope_scaling":{"factor":2}"#, "without a type"),
            ("\"eos_token_id\":2", r#""hidden_act":"gelu""#, "gelu"),
        ] {
            let error = LlamaConfig::parse(&json(change, to)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn numbers_that_contradict_each_other_are_refused() {
        for (change, to) in [
            ("\"hidden_size\":64", "\"hidden_size\":0"),
            ("\"num_attention_heads\":8", "\"num_attention_heads\":0"),
            ("\"num_key_value_heads\":4", "\"num_key_value_heads\":3"),
            ("\"vocab_size\":512", "\"vocab_size\":18446744073709551615"),
            ("\"vocab_size\":512", "\"vocab_size\":512,\"head_dim\":7"),
            ("\"vocab_size\":512", "\"vocab_size\":512,\"rms_norm_eps\":-1"),
            ("10000.0", "-1.0"),
            ("\"rope_scaling\":null", r#""rope_scaling":{"rope_type":"linear","factor":0}"#),
            (
                "\"rope_scaling\":null",
                r#""rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4}"#,
            ),
        ] {
            let error = LlamaConfig::parse(&json(change, to)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{to}");
        }
        for bad in ["", "[]", "null", "{}", "{\"hidden_size\":-1}"] {
            let error = LlamaConfig::parse(bad.as_bytes()).unwrap_err();
            let expected = if bad == "{}" { ErrorKind::Unsupported } else { ErrorKind::Corrupt };
            assert!([expected, ErrorKind::Unsupported].contains(&error.kind()), "{bad}");
        }
        let bad = json("\"hidden_size\":64", "\"hidden_size\":-1");
        assert_eq!(LlamaConfig::parse(&bad).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn what_is_written_is_parsed() {
        let mut config = LlamaConfig::small(300, 48, 2, 4, 7).unwrap();
        assert_eq!(LlamaConfig::parse(&config.to_json()).unwrap(), config);
        assert!(LlamaConfig::small(300, 12, 2, 4, 7).is_err(), "heads of 3");
        let (factor, positions) = (4.0, 128);
        for scaling in [
            RopeScaling::Linear { factor },
            RopeScaling::Dynamic { factor, positions: 512 },
            RopeScaling::Llama3 { factor, low: 1.5, high: 3.0, positions },
            RopeScaling::Yarn {
                factor,
                positions,
                fast: 16.0,
                slow: 2.0,
                truncate: false,
                attention: 1.25,
                softmax: 1.0,
            },
        ] {
            config.rope.scaling = scaling;
            assert_eq!(LlamaConfig::parse(&config.to_json()).unwrap(), config);
        }
    }

    #[test]
    fn frequencies_fall_from_one() {
        let config = LlamaConfig::parse(&json("64", "64")).unwrap();
        assert_eq!(config.rope.frequencies(config.head_dim), [1.0, 0.1, 0.01, 0.001]);
    }
}
