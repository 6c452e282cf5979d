//! One row of a file, before anybody knows what its columns mean.

use std::{fmt, sync::Arc};

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::Json;

/// Rows as a file has them.
pub(super) type Records = Box<dyn Iterator<Item = Result<Record>> + Send>;

/// Where a row lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    /// What the number counts: lines or rows.
    pub(super) unit: &'static str,
    /// From 1.
    pub(super) number: u64,
}

impl Place {
    /// An error about the row.
    pub(super) fn error(&self, kind: ErrorKind, why: impl fmt::Display) -> Error {
        Error::new(kind, format!("{self}: {why}"))
    }

    /// An error about one column of the row.
    pub(super) fn column(&self, column: &str, why: impl fmt::Display) -> Error {
        Error::invalid(format!("{self}, column `{column}`: {why}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, {} {}", self.file, self.unit, self.number)
    }
}

/// One row: named values.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) fields: Vec<(String, Json)>,
}

impl Record {
    /// Reads a row from JSON: an object, or a string, which is plain text.
    pub(super) fn from_json(place: Place, bytes: &[u8]) -> Result<Self> {
        let value = Json::from_bytes(bytes).map_err(|e| {
            let why = std::error::Error::source(&e).map(ToString::to_string);
            place.error(ErrorKind::Corrupt, format!("not JSON: {}", why.unwrap_or_default()))
        })?;
        let fields = match value {
            Json::Object(fields) => fields,
            Json::String(text) => vec![("text".to_owned(), Json::String(text))],
            other => {
                let why = format!("{} where an object with named columns should be", other.kind());
                return Err(place.error(ErrorKind::Invalid, why));
            }
        };
        Ok(Self { place, fields })
    }

    /// Returns a column's value; null is none.
    pub(super) fn get(&self, column: &str) -> Option<&Json> {
        let found = self.fields.iter().rev().find(|(name, _)| name == column);
        found.map(|(_, value)| value).filter(|value| !matches!(value, Json::Null))
    }
}
