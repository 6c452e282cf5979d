//! Metadata of one architecture, by the part of the key after its name.

use openledger_core::{Error, Result};

use super::{Gguf, Value};

/// Reads keys such as `llama.block_count`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys<'f, 'a> {
    file: &'f Gguf<'a>,
    architecture: &'a str,
}

impl<'f, 'a> Keys<'f, 'a> {
    pub(super) fn new(file: &'f Gguf<'a>) -> Result<Self> {
        let key = "general.architecture";
        let named = file.get(key).ok_or_else(|| missing(key))?;
        let architecture = named.as_str().ok_or_else(|| wrong(key, named, "text"))?;
        Ok(Self { file, architecture })
    }

    pub(super) const fn architecture(&self) -> &'a str {
        self.architecture
    }

    fn read<T>(
        &self,
        key: &str,
        kind: &str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let key = format!("{}.{key}", self.architecture);
        let value = self.file.get(&key);
        value.map(|value| read(&value).ok_or_else(|| wrong(&key, value, kind))).transpose()
    }

    pub(super) fn some_count(&self, key: &str) -> Result<Option<u64>> {
        self.read(key, "a whole number", Value::as_u64)
    }

    pub(super) fn count(&self, key: &str) -> Result<u64> {
        let count = self.some_count(key)?;
        count.ok_or_else(|| missing(&format!("{}.{key}", self.architecture)))
    }

    pub(super) fn some_number(&self, key: &str) -> Result<Option<f64>> {
        self.read(key, "a number", Value::as_f64)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.read(key, "text", Value::as_str)
    }

    pub(super) fn flags(&self, key: &str) -> Result<Option<Vec<bool>>> {
        self.read(key, "a list of true or false", |value| {
            value.as_list()?.iter().map(|flag| flag.as_bool()).collect()
        })
    }
}

pub(super) fn missing(key: &str) -> Error {
    Error::corrupt(format!("the metadata lacks `{key}`"))
}

pub(super) fn wrong(key: &str, value: Value<'_>, kind: &str) -> Error {
    // A list may be long.
    let value = match value {
        Value::List(list) => format!("a list of {}", list.len()),
        value => format!("{value:?}").chars().take(80).collect(),
    };
    Error::corrupt(format!("`{key}` is {value}, not {kind}"))
}
