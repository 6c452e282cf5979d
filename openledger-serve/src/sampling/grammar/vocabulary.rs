//! What each token of a model spells, for automata.

use std::{panic::AssertUnwindSafe, sync::Arc};

use llguidance::{
    ParserFactory,
    panic_utils::catch_unwind,
    token_bytes_from_tokenizer_json,
    toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie},
};
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::Model;

/// Reads the vocabulary of a model into a tree of bytes: once, as it takes a moment.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a tokenizer that is neither of bytes nor falls back to them, or a model
/// without a token that ends a text.
pub(super) fn factory(model: &Model) -> Result<ParserFactory> {
    let decoder = model.network().decoder();
    let ends = |token: &&u32| (**token as usize) < decoder.vocabulary();
    let eos: Vec<u32> = decoder.eos().iter().filter(ends).copied().collect();
    let Some(&first) = eos.first() else {
        let message = "answers of this model cannot be constrained: no token ends a text";
        return Err(Error::new(ErrorKind::Unsupported, message));
    };
    // The library asserts what it expects of a tokenizer.
    catch_unwind(AssertUnwindSafe(|| {
        let json = serde_json::from_slice(&model.tokenizer().to_json())?;
        let mut words = token_bytes_from_tokenizer_json(&json)?;
        // Heads can be longer than vocabularies; a token without bytes is never allowed.
        words.resize(decoder.vocabulary(), Vec::new());
        let info = TokRxInfo::new(words.len() as u32, first);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(&eos);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment)?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.verbose_errors = false;
        // What one answer may cost all others, each step and in memory. With a vocabulary of 32,000 schemas of
        // hundreds of fields, choices between a thousand and the usual patterns took at most 9,400 of the
        // lexer's fuel in a step (about 14,000 a millisecond) and 200 items.
        limits.step_lexer_fuel = 50_000;
        limits.step_max_items = 20_000;
        limits.max_lexer_states = 10_000; // of 1 to 2 kB
        Ok(factory)
    }))
    .map_err(|e| {
        let message = "answers of this model cannot be constrained: its tokens are not bytes";
        Error::new(ErrorKind::Unsupported, message).with_source(e.to_string())
    })
}
