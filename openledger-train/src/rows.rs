//! Rows to learn, wherever they lie.

use std::fmt;

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::Tokens;

/// Rows by number, in memory or on disk. Implement this to train on more than memory holds.
///
/// # Contract
/// - The same number gives the same row, as often as it is asked for.
pub trait Rows: fmt::Debug {
    /// Returns how many rows there are.
    fn count(&self) -> usize;

    /// Returns the row `index`, from 0.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] past the last;
    /// [`ErrorKind::Unavailable`] if it cannot be read.
    fn row(&self, index: usize) -> Result<Tokens>;

    /// Returns how many tokens the row `index` has, for whoever can say it without reading the row.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    fn length(&self, index: usize) -> Result<usize> {
        Ok(self.row(index)?.tokens.len())
    }
}

impl Rows for [Tokens] {
    fn count(&self) -> usize {
        self.len()
    }

    fn row(&self, index: usize) -> Result<Tokens> {
        self.get(index).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no row {index} of {}", self.len()))
        })
    }
}

impl Rows for Vec<Tokens> {
    fn count(&self) -> usize {
        self[..].count()
    }

    fn row(&self, index: usize) -> Result<Tokens> {
        self[..].row(index)
    }
}

impl<const N: usize> Rows for [Tokens; N] {
    fn count(&self) -> usize {
        N
    }

    fn row(&self, index: usize) -> Result<Tokens> {
        self[..].row(index)
    }
}
