//! A method of attribution: a recipe, then the recipe tied to a corpus.
//!
//! ```text
//! Method ─ bind(corpus) ─▶ Bound ─ influence(output) ─▶ one number a row ─ Corpus::shares ─▶ Shares
//! ```

use std::fmt;

use openledger_core::Result;
use openledger_model::Tokens;

use crate::Corpus;

/// A way to say how much each row of a corpus had to do with an output. Implement this for a new
/// way; what a service calls is [`Bound`].
///
/// # Contract
/// - Deterministic: the same recipe, corpus and output give the same bits on every machine.
/// - [`describe`](Self::describe) names everything that changes the result, so that whoever reads
///   it in a receipt can compute the same.
pub trait Method: fmt::Debug + Send + Sync {
    /// Returns the method's name and parameters, as they stand in receipts.
    fn describe(&self) -> String;

    /// Prepares everything that does not depend on the output.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for a corpus the method cannot
    /// work on; [`ErrorKind::Limit`](openledger_core::ErrorKind::Limit) if it would take too much
    /// memory.
    fn bind(&self, corpus: &Corpus) -> Result<Box<dyn Bound>>;
}

/// A [`Method`] tied to a corpus.
pub trait Bound: fmt::Debug + Send + Sync {
    /// Returns the influence of each row on the loss of `output`'s completion, in the corpus's
    /// order. Negative: the row lowers the loss, it helped.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if `output` has no completion or
    /// a token that the model does not know.
    fn influence(&self, output: &Tokens) -> Result<Vec<f64>>;
}

/// Returns what rows are paid for: how much they helped, nothing for those that did not.
pub fn credit(influence: &[f64]) -> Vec<f64> {
    influence.iter().map(|influence| (-influence).max(0.0)).collect()
}
