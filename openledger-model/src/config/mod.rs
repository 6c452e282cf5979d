//! `config.json` of a checkpoint, field by field.
//!
//! Families share most fields and disagree about defaults, so each reads what it needs through
//! [`Fields`], which knows the limits and names what is wrong.

mod rope;

use openledger_core::{Error, Result};
use serde_json::{Map, Value};

pub use rope::{RopeConfig, RopeScaling};

/// The largest size any field may claim: keeps products of two within 64 bits.
pub(crate) const MAX_SIZE: usize = 1 << 26;
/// The most blocks a model may claim, and the most experts in one: each is something in memory before
/// the first tensor is looked for.
const MAX_PARTS: usize = 1 << 12;
/// The most elements of a head: rotary frequencies are made of it.
pub(crate) const MAX_HEAD: usize = 1 << 16;

/// The fields of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if it is not an object of JSON.
    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map(Self)
            .map_err(|e| Error::corrupt("not the configuration of a model").with_source(e))
    }

    /// Returns a field that is there and not null.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Whether a field is there, be it null.
    pub(crate) fn mentions(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns a field that may be left out, if it is of the kind that `read` takes.
    fn optional<'a, T>(
        &'a self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let wrong = |value: &Value| Error::corrupt(format!("`{name}` is {value}, not {kind}"));
        self.value(name).map(|value| read(value).ok_or_else(|| wrong(value))).transpose()
    }

    fn required<T>(&self, name: &str, field: Option<T>) -> Result<T> {
        field.ok_or_else(|| Error::corrupt(format!("the configuration lacks `{name}`")))
    }

    /// Returns a size, of one at the least.
    pub(crate) fn size(&self, name: &str) -> Result<usize> {
        self.required(name, self.some_size(name)?)
    }

    /// Returns a number of blocks or experts.
    pub(crate) fn parts(&self, name: &str) -> Result<usize> {
        match self.size(name)? {
            parts if parts > MAX_PARTS => {
                Err(Error::invalid(format!("`{name}` is {parts}, not 1 to {MAX_PARTS}")))
            }
            parts => Ok(parts),
        }
    }

    /// As [`size`](Self::size), with a default.
    pub(crate) fn size_or(&self, name: &str, default: usize) -> Result<usize> {
        Ok(self.some_size(name)?.unwrap_or(default))
    }

    /// As [`size`](Self::size), of a field that may be left out or null.
    pub(crate) fn some_size(&self, name: &str) -> Result<Option<usize>> {
        match self.some_count(name)? {
            Some(0) => Err(Error::invalid(format!("`{name}` is 0, not 1 to {MAX_SIZE}"))),
            size => Ok(size),
        }
    }

    /// Returns a number of things, which may be none.
    pub(crate) fn count_or(&self, name: &str, default: usize) -> Result<usize> {
        Ok(self.some_count(name)?.unwrap_or(default))
    }

    fn some_count(&self, name: &str) -> Result<Option<usize>> {
        let count = self.optional(name, "a whole number", Value::as_u64)?;
        match count {
            Some(count) if count > MAX_SIZE as u64 => {
                Err(Error::invalid(format!("`{name}` is {count}, not 1 to {MAX_SIZE}")))
            }
            count => Ok(count.map(|count| count as usize)),
        }
    }

    /// Returns a number of floating point.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>> {
        let number = self.optional(name, "a number", Value::as_f64)?;
        match number {
            Some(number) if !number.is_finite() => {
                Err(Error::invalid(format!("`{name}` is {number}")))
            }
            number => Ok(number),
        }
    }

    /// Returns a number of floating point that must be above zero.
    pub(crate) fn positive(&self, name: &str) -> Result<Option<f64>> {
        match self.number(name)? {
            Some(number) if number <= 0.0 => {
                Err(Error::invalid(format!("`{name}` is {number}, not above zero")))
            }
            number => Ok(number),
        }
    }

    /// Returns what a norm adds to the mean square.
    pub(crate) fn eps_or(&self, default: f32) -> Result<f32> {
        let name = "rms_norm_eps";
        match self.number(name)? {
            Some(eps) if eps < 0.0 => Err(Error::invalid(format!("`{name}` is {eps}"))),
            eps => Ok(eps.map_or(default, |eps| eps as f32)),
        }
    }

    /// Returns a yes or no.
    pub(crate) fn flag_or(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.optional(name, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// Returns a word.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>> {
        self.optional(name, "text", Value::as_str)
    }

    /// Returns a list of words.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>> {
        self.optional(name, "a list of text", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    /// Returns the fields of a part.
    pub(crate) fn part(&self, name: &str) -> Result<Option<Self>> {
        let part = self.optional(name, "an object", Value::as_object)?;
        Ok(part.map(|part| Self(part.clone())))
    }

    /// Returns the tokens that end a text: one, several or none.
    pub(crate) fn eos(&self) -> Result<Vec<u32>> {
        let token = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let read = |value: &Value| match value.as_array() {
            Some(ids) => ids.iter().map(token).collect::<Option<Vec<u32>>>(),
            None => token(value).map(|id| vec![id]),
        };
        Ok(self.optional("eos_token_id", "a token or a list of tokens", read)?.unwrap_or_default())
    }
}
