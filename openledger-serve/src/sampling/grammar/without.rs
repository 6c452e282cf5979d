//! What stands in for automata in a build without them.

use std::sync::Arc;

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::Model;

use crate::Constraint;

/// Refuses every constraint.
#[derive(Clone, Debug)]
pub(crate) struct Grammars;

/// No answer has one.
#[derive(Debug)]
pub(crate) enum Grammar {}

impl Grammars {
    pub(crate) fn new(_: Arc<Model>) -> Self {
        Self
    }

    #[expect(clippy::unused_async, reason = "the other one waits")]
    pub(crate) async fn compile(&self, _: Option<Arc<str>>, _: Constraint) -> Result<Grammar> {
        let message = "this build cannot constrain answers: turn on the feature `constrain`";
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

impl Grammar {
    pub(crate) fn allowed(&mut self) -> Result<&[u32]> {
        match *self {}
    }

    pub(crate) fn push(&mut self, _: u32) -> Result<bool> {
        match *self {}
    }
}
