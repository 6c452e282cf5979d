//! What an objective learns from: answers, and what somebody said of them.

use std::fmt;

use openledger_core::{B256, Error, ErrorKind, Result, digest};
use openledger_model::Tokens;

/// Answers, and what somebody said of them: an example of an [`Objective`](super::Objective).
pub trait Judgement: fmt::Debug {
    /// Returns the answers, each behind its prompt.
    fn answers(&self) -> Vec<&Tokens>;

    /// Returns a digest of the answers and of what was said.
    fn digest(&self) -> B256;
}

/// The digest of answers and of what was said of them, as a number.
pub(super) fn digest_of(domain: &str, answers: &[&Tokens], said: f64) -> B256 {
    let answers: Vec<_> = answers.iter().map(|it| (&it.tokens, it.labels())).collect();
    digest(domain, &(answers, said.to_bits()))
}

/// Judgements by number, in memory or on disk.
///
/// # Contract
/// - The same number gives the same judgement, as often as it is asked for.
pub trait Judgements<J: Judgement>: fmt::Debug {
    /// Returns how many there are.
    fn count(&self) -> usize;

    /// Returns the judgement `index`, from 0.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] past the last; [`ErrorKind::Unavailable`] if it cannot be read.
    fn judgement(&self, index: usize) -> Result<J>;

    /// Returns how many tokens its answers have, for whoever can say it without reading them.
    ///
    /// # Errors
    /// As [`judgement`](Self::judgement).
    fn length(&self, index: usize) -> Result<usize> {
        Ok(self.judgement(index)?.answers().iter().map(|answer| answer.tokens.len()).sum())
    }
}

impl<J: Clone + Judgement> Judgements<J> for Vec<J> {
    fn count(&self) -> usize {
        self.len()
    }

    fn judgement(&self, index: usize) -> Result<J> {
        self.get(index).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no judgement {index} of {}", self.len()))
        })
    }
}
