//! Retrieval: a query goes in, rows come out, the most relevant first.
//!
//!   a Datanet's index, an external vector store, yours ──▶ Retrieve ──▶ grounding, evaluation

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod rows;

use std::fmt;

use alloy_primitives::Address;
use async_trait::async_trait;

pub use rows::KeywordRows;

use crate::{DatanetId, Result, RowId};

/// Finds the rows that have to do with a query.
///
/// # Contract
/// - At most `limit` passages, by descending score; no row twice; scores are finite.
/// - Nothing relevant is an empty answer, not an error.
/// - Deterministic for an unchanged index: the same query gives the same passages in the same order.
/// - Dropping the future leaves nothing behind.
#[async_trait]
pub trait Retrieve: fmt::Debug + Send + Sync {
    /// Returns up to `limit` rows for `query`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the index does not answer;
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) for a query longer than it takes.
    async fn retrieve(&self, query: &str, limit: usize) -> Result<Vec<Passage>>;
}

/// A row that was found, with whose it is.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "what an index hands over is these five")]
pub struct Passage {
    /// The row's public name.
    pub row: RowId,
    /// Its Datanet.
    pub datanet: DatanetId,
    /// Who contributed it.
    pub contributor: Address,
    /// Its text.
    pub text: String,
    /// How relevant it is: larger is more. What it measures is the index's choice.
    pub score: f32,
}
