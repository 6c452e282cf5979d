//! `config.json` of a checkpoint, checked.

use openledger_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::Value;

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
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Whether the output projection is the embedding table.
    pub tied_embeddings: bool,
    /// Whether q, k, v and o have biases.
    pub attention_bias: bool,
    /// Whether gate, up and down have biases.
    pub mlp_bias: bool,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
}

/// Families known, by what `architectures` in `config.json` calls them.
const KNOWN: [&str; 1] = ["LlamaForCausalLM"];

/// The largest size any field may claim: keeps products of two within 64 bits.
const MAX_SIZE: usize = 1 << 26;

impl LlamaConfig {
    /// Parses `config.json`, in the spelling of transformers 4 or 5.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is not such a file; [`ErrorKind::Unsupported`] naming the
    /// architecture or option that is not there yet; [`ErrorKind::Invalid`] if numbers contradict
    /// each other.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let raw: Raw = serde_json::from_slice(json)
            .map_err(|e| Error::corrupt("not the configuration of a model").with_source(e))?;
        raw.check_family()?;
        let rope_theta = raw.rope_theta()?;
        let config = Self {
            hidden: raw.hidden_size,
            intermediate: raw.intermediate_size,
            layers: raw.num_hidden_layers,
            heads: raw.num_attention_heads,
            key_value_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
            head_dim: match raw.head_dim {
                Some(dim) => dim,
                None => raw.hidden_size.checked_div(raw.num_attention_heads).unwrap_or(0),
            },
            vocabulary: raw.vocab_size,
            max_positions: raw.max_position_embeddings,
            norm_eps: raw.rms_norm_eps,
            rope_theta,
            tied_embeddings: raw.tie_word_embeddings,
            attention_bias: raw.attention_bias,
            mlp_bias: raw.mlp_bias,
            eos: match raw.eos_token_id {
                Some(Ids::One(id)) => vec![id],
                Some(Ids::Many(ids)) => ids,
                None => Vec::new(),
            },
        };
        config.check()?;
        Ok(config)
    }

    /// Makes the shape of a small Llama with as many key heads as query heads, a feed-forward layer
    /// of 8/3 of the width rounded up to a multiple of 16, and tied embeddings.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the heads do not divide the width into even parts.
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
            rope_theta: 10_000.0,
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
        let config = serde_json::json!({
            "architectures": [KNOWN[0]],
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
            "rope_scaling": null,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tied_embeddings,
            "torch_dtype": "float32",
            "vocab_size": self.vocabulary,
        });
        serde_json::to_vec_pretty(&config).expect("strings and numbers are always JSON")
    }

    /// Returns the inverse rotary frequencies, `theta^(-2i / head_dim)`, in `f32` as transformers
    /// has them.
    pub fn rope_frequencies(&self) -> Vec<f32> {
        (0..self.head_dim / 2)
            .map(|pair| {
                let exponent = (2 * pair) as f32 / self.head_dim as f32;
                // `powf` of the standard library is the C library's, which differs between systems.
                1.0 / pow(self.rope_theta, exponent)
            })
            .collect()
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
        if !self.head_dim.is_multiple_of(2) {
            return Err(Error::invalid(format!("`head_dim` is {}, not even", self.head_dim)));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return Err(Error::invalid(format!("`rms_norm_eps` is {}", self.norm_eps)));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Err(Error::invalid(format!("`rope_theta` is {}", self.rope_theta)));
        }
        Ok(())
    }
}

/// Returns `base^exponent` rounded to `f32`, from the pure-Rust `libm` in `f64`.
fn pow(base: f64, exponent: f32) -> f32 {
    openledger_kernels::pow(base, f64::from(exponent)) as f32
}

/// The fields as the file has them.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    model_type: Option<String>,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    #[serde(default)]
    num_key_value_heads: Option<usize>,
    #[serde(default)]
    head_dim: Option<usize>,
    vocab_size: usize,
    #[serde(default = "default_positions")]
    max_position_embeddings: usize,
    #[serde(default = "default_eps")]
    rms_norm_eps: f32,
    #[serde(default = "default_activation")]
    hidden_act: String,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    eos_token_id: Option<Ids>,
    /// transformers 4.
    #[serde(default)]
    rope_theta: Option<f64>,
    #[serde(default)]
    rope_scaling: Option<Value>,
    /// transformers 5.
    #[serde(default)]
    rope_parameters: Option<RopeParameters>,
}

#[derive(Deserialize)]
struct RopeParameters {
    #[serde(default)]
    rope_theta: Option<f64>,
    #[serde(default)]
    rope_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

// The defaults of transformers' LlamaConfig.
const fn default_positions() -> usize {
    2048
}

const fn default_eps() -> f32 {
    1e-6
}

fn default_activation() -> String {
    "silu".to_owned()
}

impl Raw {
    fn check_family(&self) -> Result<()> {
        let named = self.architectures.iter().flatten().next();
        let known = match (named, self.model_type.as_deref()) {
            (Some(name), _) => KNOWN.contains(&name.as_str()),
            (None, model_type) => model_type == Some("llama"),
        };
        if !known {
            let name =
                named.map(String::as_str).or(self.model_type.as_deref()).unwrap_or("nothing");
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("architecture `{name}`; known: {}", KNOWN.join(", ")),
            ));
        }
        if self.hidden_act != "silu" {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("activation `{}`; known: silu", self.hidden_act),
            ));
        }
        Ok(())
    }

    fn rope_theta(&self) -> Result<f64> {
        let scaling = match (&self.rope_scaling, &self.rope_parameters) {
            (Some(Value::Object(fields)), _) => {
                let kind = fields.get("rope_type").or_else(|| fields.get("type"));
                Some(kind.and_then(Value::as_str).unwrap_or("without a type"))
            }
            (_, Some(parameters)) => parameters.rope_type.as_deref(),
            _ => None,
        };
        match scaling {
            None | Some("default") => {}
            Some(kind) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("rotary scaling `{kind}`; known: default"),
                ));
            }
        }
        let new = self.rope_parameters.as_ref().and_then(|parameters| parameters.rope_theta);
        Ok(new.or(self.rope_theta).unwrap_or(10_000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((old.rope_theta, old.head_dim, old.eos), (5e5, 8, vec![2]));
        let new = json(
            "\"rope_theta\":10000.0",
            r#""rope_parameters":{"rope_type":"default","rope_theta":5e5}"#,
        );
        assert_eq!(LlamaConfig::parse(&new).unwrap().rope_theta, 5e5);
    }

    #[test]
    fn what_is_not_there_yet_is_named() {
        for (change, to, named) in [
            ("LlamaForCausalLM", "GPT2LMHeadModel", "GPT2LMHeadModel"),
            ("\"rope_scaling\":null", r#""rope_scaling":{"rope_type":"yarn"}"#, "yarn"),
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
        ] {
            let error = LlamaConfig::parse(&json(change, to)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{to}");
        }
        for bad in ["", "[]", "null", "{}", "{\"hidden_size\":-1}"] {
            assert_eq!(LlamaConfig::parse(bad.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn what_is_written_is_parsed() {
        let config = LlamaConfig::small(300, 48, 2, 4, 7).unwrap();
        assert_eq!(LlamaConfig::parse(&config.to_json()).unwrap(), config);
        assert!(LlamaConfig::small(300, 12, 2, 4, 7).is_err(), "heads of 3");
    }

    #[test]
    fn frequencies_fall_from_one() {
        let frequencies = LlamaConfig::parse(&json("64", "64")).unwrap().rope_frequencies();
        assert_eq!(frequencies, [1.0, 0.1, 0.01, 0.001]);
    }
}
