//! Rows on their way in.

use std::fmt;

use openledger_core::Row;

/// A row as a file gave it, before anybody contributed it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Draft {
    /// The row.
    pub row: Row,
    /// Where it was found.
    pub origin: Origin,
}

impl Draft {
    /// Makes a draft.
    pub const fn new(row: Row, origin: Origin) -> Self {
        Self { row, origin }
    }
}

/// Where a row was found: a file and a place in it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Origin {
    /// The file's name.
    pub file: String,
    /// The line or record, from 1.
    pub place: usize,
}

impl Origin {
    /// Names a place.
    pub fn new(file: impl Into<String>, place: usize) -> Self {
        Self { file: file.into(), place }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.place)
    }
}

/// What a review left in and took out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Review {
    /// Rows that may be contributed.
    pub kept: Vec<Draft>,
    /// Rows that may not, and why.
    pub refused: Vec<Refusal>,
}

/// A row refused.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// Where the row was found.
    pub origin: Origin,
    /// Why it was refused.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.reason)
    }
}

impl Review {
    pub(crate) fn refuse(&mut self, origin: Origin, reason: impl Into<String>) {
        self.refused.push(Refusal { origin, reason: reason.into() });
    }
}
