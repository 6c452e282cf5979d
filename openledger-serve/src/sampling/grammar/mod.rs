//! Constraints as automata over tokens.
//!
//! ```text
//! Constraint ─▶ Grammars (one for a model) ─▶ Grammar (one for an answer) ─▶ tokens allowed now
//! ```

#[cfg(feature = "constrain")]
mod automaton;
#[cfg(feature = "constrain")]
mod compile;
#[cfg(feature = "constrain")]
mod patience;
#[cfg(feature = "constrain")]
mod places;
#[cfg(feature = "constrain")]
mod vocabulary;
#[cfg(not(feature = "constrain"))]
mod without;

#[cfg(feature = "constrain")]
pub(crate) use automaton::Grammar;
#[cfg(feature = "constrain")]
pub(crate) use compile::Grammars;
#[cfg(not(feature = "constrain"))]
pub(crate) use without::Grammar;
#[cfg(not(feature = "constrain"))]
pub(crate) use without::Grammars;
