//! Rotary position embedding: its base, and how it is scaled for texts longer than those trained on.

use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::{Pairs, Rope, ln, pow};
use serde_json::{Map, Value, json};

use super::Fields;

/// The rotary frequencies of a model.
///
/// Source: `modeling_rope_utils.py` of transformers, whose numbers these are, in `f32` where it
/// has `f32`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RopeConfig {
    /// Base of the frequencies: pair `i` of a head of `d` elements turns by `theta^(-2i / d)` for
    /// each position.
    pub theta: f64,
    /// What is done for longer texts.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are scaled for texts longer than those a model was first trained on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies are divided (position interpolation, Chen et al., 2023).
    Linear {
        /// By this.
        factor: f64,
    },
    /// The base grows with the length of the text (dynamic NTK).
    Dynamic {
        /// How much longer texts may be.
        factor: f64,
        /// Positions up to which nothing changes.
        positions: usize,
    },
    /// Low frequencies are divided, high ones kept (Llama 3.1).
    Llama3 {
        /// By this.
        factor: f64,
        /// Frequencies of fewer turns than this in the first context are divided.
        low: f64,
        /// Those of more than this are kept.
        high: f64,
        /// The first context.
        positions: usize,
    },
    /// As above with a ramp over the pairs, and larger queries and keys (`YaRN`, Peng et al., 2023).
    Yarn {
        /// Divides the low frequencies.
        factor: f64,
        /// The first context.
        positions: usize,
        /// Turns in the first context from which on a frequency is kept.
        fast: f64,
        /// Turns up to which it is divided.
        slow: f64,
        /// Whether the ends of the ramp are whole pairs.
        truncate: bool,
        /// What cosines and sines are multiplied by.
        attention: f64,
        /// What scores are multiplied by, beside: `DeepSeek`'s `mscale_all_dim`.
        softmax: f64,
    },
}

impl RopeConfig {
    /// Takes a base, without scaling.
    pub const fn new(theta: f64) -> Self {
        Self { theta, scaling: RopeScaling::None }
    }

    /// Reads the spelling of transformers 5, `rope_parameters`, or that of published checkpoints,
    /// `rope_theta` with `rope_scaling`.
    pub(crate) fn read(fields: &Fields, max_positions: usize) -> Result<Self> {
        let scaling = match fields.part("rope_parameters")? {
            Some(new) => Some(new),
            None => fields.part("rope_scaling")?,
        };
        let theta = match scaling.as_ref().map(|new| new.positive("rope_theta")).transpose()? {
            Some(Some(theta)) => theta,
            _ => fields.positive("rope_theta")?.unwrap_or(10_000.0),
        };
        let scaling = match scaling {
            Some(scaling) => RopeScaling::read(&scaling, max_positions)?,
            None => RopeScaling::None,
        };
        Ok(Self { theta, scaling })
    }

    /// Makes the rotation of heads of which `dim` elements turn.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the numbers make frequencies that are not.
    pub(crate) fn rope(&self, dim: usize, pairs: Pairs) -> Result<Rope> {
        let frequencies = self.frequencies(dim);
        if frequencies.iter().any(|frequency| !frequency.is_finite()) {
            return Err(Error::invalid(format!("rotary frequencies of {self:?} are not finite")));
        }
        let rope = Rope::new(frequencies).with_pairs(pairs);
        Ok(match self.scaling {
            RopeScaling::Yarn { attention, .. } => rope.with_scale(attention as f32),
            RopeScaling::Dynamic { factor, positions } if dim > 2 => {
                rope.with_stretch(self.theta, factor, positions)
            }
            _ => rope,
        })
    }

    /// What scores are multiplied by, beside the root of the head's size.
    pub(crate) const fn softmax_scale(&self) -> f64 {
        match self.scaling {
            RopeScaling::Yarn { softmax, .. } => softmax,
            _ => 1.0,
        }
    }

    /// How many positions a model that says `max_positions` holds.
    #[expect(clippy::cast_sign_loss, reason = "a factor is above zero")]
    pub(crate) fn holds(&self, max_positions: usize) -> usize {
        match self.scaling {
            RopeScaling::Dynamic { factor, .. } => (max_positions as f64 * factor) as usize,
            _ => max_positions,
        }
    }

    /// Returns the frequencies of a head of `dim` elements; of a text no longer than the first
    /// context, if they depend on it.
    pub fn frequencies(&self, dim: usize) -> Vec<f32> {
        let plain = (0..dim / 2).map(|pair| {
            let exponent = (2 * pair) as f32 / dim as f32;
            // `powf` of the standard library is the C library's, which differs between systems.
            1.0 / pow(self.theta, f64::from(exponent)) as f32
        });
        match self.scaling {
            RopeScaling::None | RopeScaling::Dynamic { .. } => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|f| f / factor as f32).collect(),
            RopeScaling::Llama3 { factor, low, high, positions } => {
                let (positions, factor) = (positions as f32, factor as f32);
                let (low, high) = (low as f32, high as f32);
                let scaled = plain.map(|f| {
                    let wave = 2.0 * std::f32::consts::PI / f;
                    if wave < positions / high {
                        return f;
                    }
                    if wave > positions / low {
                        return f / factor;
                    }
                    let smooth = (positions / wave - low) / (high - low);
                    (1.0 - smooth) * f / factor + smooth * f
                });
                scaled.collect()
            }
            RopeScaling::Yarn { factor, positions, fast, slow, truncate, .. } => {
                let ends = self.ramp(dim, positions, [fast, slow], truncate);
                let scaled = plain.zip(0u16..).map(|(f, pair)| {
                    let kept = 1.0 - along(ends, pair);
                    f / factor as f32 * (1.0 - kept) + f * kept
                });
                scaled.collect()
            }
        }
    }

    /// The pairs between which `YaRN` goes over from kept to divided.
    fn ramp(&self, dim: usize, positions: usize, turns: [f64; 2], truncate: bool) -> [f64; 2] {
        let [low, high] = turns.map(|turns| {
            let wave = positions as f64 / (turns * 2.0 * std::f64::consts::PI);
            dim as f64 * ln(wave) / (2.0 * ln(self.theta))
        });
        let [low, high] = if truncate { [low.floor(), high.ceil()] } else { [low, high] };
        let (low, high) = (low.max(0.0), high.min(dim as f64 - 1.0));
        [low, if low == high { high + 0.001 } else { high }]
    }

    /// Writes the fields that [`read`](Self::read) and transformers 4 read.
    pub(crate) fn to_json(&self) -> [(&'static str, Value); 2] {
        let scaling = match self.scaling {
            RopeScaling::None => Value::Null,
            RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RopeScaling::Dynamic { factor, .. } => {
                json!({"rope_type": "dynamic", "factor": factor})
            }
            RopeScaling::Llama3 { factor, low, high, positions } => json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low,
                "high_freq_factor": high, "original_max_position_embeddings": positions,
            }),
            RopeScaling::Yarn { factor, positions, fast, slow, truncate, attention, softmax } => {
                let mut fields = Map::new();
                let numbers = [
                    ("factor", factor),
                    ("beta_fast", fast),
                    ("beta_slow", slow),
                    ("attention_factor", attention),
                ];
                fields.extend(numbers.map(|(name, number)| (name.to_owned(), json!(number))));
                fields.insert("rope_type".to_owned(), json!("yarn"));
                fields.insert("truncate".to_owned(), json!(truncate));
                fields.insert("original_max_position_embeddings".to_owned(), json!(positions));
                if softmax != 1.0 {
                    let all = (softmax.sqrt() - 1.0) / (0.1 * ln(factor));
                    fields.insert("mscale_all_dim".to_owned(), json!(all));
                }
                Value::Object(fields)
            }
        };
        [("rope_theta", json!(self.theta)), ("rope_scaling", scaling)]
    }
}

impl RopeScaling {
    fn read(fields: &Fields, max_positions: usize) -> Result<Self> {
        let kind = match fields.text("rope_type")? {
            Some(kind) => Some(kind),
            None => fields.text("type")?,
        };
        let factor = || {
            let factor = fields.positive("factor")?;
            factor.ok_or_else(|| Error::corrupt("rotary scaling lacks `factor`"))
        };
        let first = || fields.size_or("original_max_position_embeddings", max_positions);
        match kind {
            Some("default") => Ok(Self::None),
            Some("linear") => Ok(Self::Linear { factor: factor()? }),
            Some("dynamic") => Ok(Self::Dynamic { factor: factor()?, positions: max_positions }),
            Some("llama3") => {
                let low = fields.positive("low_freq_factor")?.unwrap_or(1.0);
                let high = fields.positive("high_freq_factor")?.unwrap_or(4.0);
                if low >= high {
                    return Err(Error::invalid(format!(
                        "`low_freq_factor` is {low}, not below `high_freq_factor`, {high}"
                    )));
                }
                Ok(Self::Llama3 { factor: factor()?, low, high, positions: first()? })
            }
            Some("yarn") => Self::yarn(fields, factor()?, first()?),
            // `rope_parameters` of transformers 5 may hold nothing but a base.
            None if fields.value("factor").is_none() => Ok(Self::None),
            kind => {
                let kind = kind.unwrap_or("without a type");
                Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "rotary scaling `{kind}`; known: default, linear, dynamic, llama3, yarn"
                    ),
                ))
            }
        }
    }

    fn yarn(fields: &Fields, factor: f64, positions: usize) -> Result<Self> {
        let larger = |by: f64| if factor <= 1.0 { 1.0 } else { 0.1 * by * ln(factor) + 1.0 };
        // Zero is as good as not there: transformers asks for both with `if`.
        let scale = |name: &str| -> Result<Option<f64>> {
            Ok(fields.number(name)?.filter(|scale| *scale != 0.0))
        };
        let (some, all) = (scale("mscale")?, scale("mscale_all_dim")?);
        let attention = match (fields.positive("attention_factor")?, some, all) {
            (Some(factor), _, _) => factor,
            (None, Some(some), Some(all)) => larger(some) / larger(all),
            _ => larger(1.0),
        };
        let softmax = all.map_or(1.0, |all| larger(all) * larger(all));
        let fast = fields.positive("beta_fast")?.unwrap_or(32.0);
        let slow = fields.positive("beta_slow")?.unwrap_or(1.0);
        let truncate = fields.flag_or("truncate", true)?;
        Ok(Self::Yarn { factor, positions, fast, slow, truncate, attention, softmax })
    }
}

/// How far a pair is along a ramp, 0 to 1.
fn along([low, high]: [f64; 2], pair: u16) -> f32 {
    let (low, high) = (low as f32, high as f32);
    ((f32::from(pair) - low) / (high - low)).clamp(0.0, 1.0)
}
