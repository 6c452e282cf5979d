//! Where an answer is in its constraint.

use std::{fmt, sync::Arc};

use llguidance::{Matcher, toktrie::SimpleVob};
use openledger_core::{Error, ErrorKind, Result};

/// The automaton of one answer, which learns nothing from other answers.
pub(crate) struct Grammar {
    /// Where all answers of this constraint begin.
    compiled: Arc<Matcher>,
    /// Its own from the first token on: an answer that waits takes no memory.
    own: Option<Matcher>,
    allowed: SimpleVob,
}

impl Grammar {
    /// Starts at the beginning of what `compiled` accepts.
    pub(super) fn new(compiled: Arc<Matcher>) -> Self {
        Self { compiled, own: None, allowed: SimpleVob::new() }
    }

    /// Whether both were compiled at once.
    #[cfg(test)]
    pub(super) fn begins_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.compiled, &other.compiled)
    }

    /// Returns the tokens that may come next, a bit each in words of 32.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if the constraint became too costly to follow; [`ErrorKind::Invalid`] if no
    /// token goes on.
    pub(crate) fn allowed(&mut self) -> Result<&[u32]> {
        let matcher = self.own.get_or_insert_with(|| self.compiled.deep_clone());
        self.allowed = matcher.compute_mask().map_err(|e| lost(&e.to_string()))?;
        Ok(self.allowed.as_slice())
    }

    /// Takes the token chosen; `true` if the answer is complete and nothing may follow.
    ///
    /// # Errors
    /// As [`allowed`](Self::allowed).
    pub(crate) fn push(&mut self, token: u32) -> Result<bool> {
        let matcher = self.own.get_or_insert_with(|| self.compiled.deep_clone());
        matcher.consume_token(token).map_err(|e| lost(&e.to_string()))?;
        Ok(matcher.is_stopped())
    }
}

fn lost(error: &str) -> Error {
    // After an error a matcher knows no other reason than the text; of lexer and parser it is a limit.
    let kind = match error.starts_with("lexer error") || error.starts_with("parser error") {
        true => ErrorKind::Limit,
        false => ErrorKind::Invalid,
    };
    Error::new(kind, "the answer cannot go on within its constraint").with_source(error)
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammar").field("begun", &self.own.is_some()).finish_non_exhaustive()
    }
}
