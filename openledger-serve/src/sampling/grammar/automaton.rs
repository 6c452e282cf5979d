//! Where an answer is in its constraint.

use std::fmt;

use llguidance::{Matcher, api::StopReason, toktrie::SimpleVob};
use openledger_core::{Error, ErrorKind, Result};

/// The automaton of one answer.
pub(crate) struct Grammar {
    matcher: Matcher,
    allowed: SimpleVob,
}

impl Grammar {
    /// Starts at the beginning of what `compiled` accepts; it learns nothing from other answers.
    pub(super) fn new(compiled: &Matcher) -> Self {
        Self { matcher: compiled.deep_clone(), allowed: SimpleVob::new() }
    }

    /// Returns the tokens that may come next, a bit each in words of 32.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if the constraint became too costly to follow; [`ErrorKind::Invalid`] if no
    /// token goes on.
    pub(crate) fn allowed(&mut self) -> Result<&[u32]> {
        match self.matcher.compute_mask() {
            Ok(allowed) => self.allowed = allowed,
            Err(e) => return Err(self.lost(&e)),
        }
        Ok(self.allowed.as_slice())
    }

    /// Takes the token chosen; `true` if the answer is complete and nothing may follow.
    ///
    /// # Errors
    /// As [`allowed`](Self::allowed).
    pub(crate) fn push(&mut self, token: u32) -> Result<bool> {
        match self.matcher.consume_token(token) {
            Ok(()) => Ok(self.matcher.is_stopped()),
            Err(e) => Err(self.lost(&e)),
        }
    }

    fn lost(&self, error: &impl fmt::Display) -> Error {
        let kind = match self.matcher.stop_reason() {
            StopReason::LexerTooComplex | StopReason::ParserTooComplex => ErrorKind::Limit,
            _ => ErrorKind::Invalid,
        };
        Error::new(kind, "the answer cannot go on within its constraint")
            .with_source(error.to_string())
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammar")
            .field("stopped", &self.matcher.is_stopped())
            .finish_non_exhaustive()
    }
}
