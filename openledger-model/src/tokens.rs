//! A sequence of tokens, and which of them are to be learned.

use openledger_core::{Error, Result};

/// A sequence of tokens of which some are given and the others are to be said.
///
/// In a question with its answer the question is given; in a conversation what the user says is
/// given each time it is the user's turn.
///
/// # Examples
/// ```
/// use openledger_model::Tokens;
///
/// let tokens = Tokens::new(&[1, 2, 3], &[4, 5]);
/// assert_eq!(tokens.learn, [false, false, false, true, true]);
/// // At each place the label is the token after it, if that one is to be learned.
/// assert_eq!(tokens.labels(), [None, None, Some(4), Some(5), None]);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tokens {
    /// All tokens.
    pub tokens: Vec<u32>,
    /// For each of them, whether it is to be learned.
    pub learn: Vec<bool>,
}

impl Tokens {
    /// Joins a prompt and what followed it.
    pub fn new(prompt: &[u32], completion: &[u32]) -> Self {
        Self::from_parts([prompt, completion].concat(), prompt.len())
    }

    /// Takes tokens of which the first `prompt` are given.
    pub fn from_parts(tokens: Vec<u32>, prompt: usize) -> Self {
        let learn = (0..tokens.len()).map(|index| index >= prompt).collect();
        Self { tokens, learn }
    }

    /// Takes tokens and, for each, whether it is to be learned.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if one is longer than the other.
    pub fn masked(tokens: Vec<u32>, learn: Vec<bool>) -> Result<Self> {
        if tokens.len() != learn.len() {
            let message = format!("{} tokens with a mask of {}", tokens.len(), learn.len());
            return Err(Error::invalid(message));
        }
        Ok(Self { tokens, learn })
    }

    /// Returns how many tokens are given before the first that is to be learned: a prompt's length.
    pub fn prompt(&self) -> usize {
        self.learn.iter().position(|&learn| learn).unwrap_or(self.tokens.len())
    }

    /// Returns, for each token, the next one if the model has to say it.
    ///
    /// The first token of a sequence is nobody's next: it is never a label.
    pub fn labels(&self) -> Vec<Option<u32>> {
        let said = self.tokens.iter().zip(&self.learn);
        let labels = said.map(|(&token, &learn)| learn.then_some(token));
        labels.skip(1).chain([None]).take(self.tokens.len()).collect()
    }

    /// Returns how many tokens are labels: what a loss is the mean over.
    pub fn learned(&self) -> usize {
        self.learn.iter().skip(1).filter(|&&learn| learn).count()
    }

    /// Drops all tokens past the first `limit`.
    pub fn truncate(&mut self, limit: usize) {
        self.tokens.truncate(limit);
        self.learn.truncate(limit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_the_next_tokens_of_the_completion() {
        let tokens = Tokens::new(&[1, 2, 3], &[4, 5]);
        assert_eq!(tokens.labels(), [None, None, Some(4), Some(5), None]);
        assert_eq!(Tokens::new(&[1], &[2]).labels(), [Some(2), None]);
        assert_eq!(Tokens::new(&[], &[2, 3]).labels(), [Some(3), None]);
        assert_eq!(Tokens::new(&[1, 2], &[]).labels(), [None, None]);
        assert_eq!(Tokens::new(&[], &[]).labels(), []);
    }

    #[test]
    fn the_prompt_ends_where_learning_begins() {
        assert_eq!(Tokens::new(&[1, 2], &[3]).prompt(), 2);
        assert_eq!(Tokens::new(&[], &[3]).prompt(), 0);
        assert_eq!(Tokens::new(&[1, 2], &[]).prompt(), 2);
        assert!(Tokens::masked(vec![1], vec![]).is_err());
    }

    proptest! {
        #[test]
        fn labels_are_exactly_the_masked_tokens_one_place_earlier(
            rows in prop::collection::vec((any::<u32>(), any::<bool>()), 0..40),
        ) {
            let (tokens, learn): (Vec<u32>, Vec<bool>) = rows.iter().copied().unzip();
            let made = Tokens::masked(tokens, learn).unwrap();
            let labels = made.labels();
            prop_assert_eq!(labels.len(), rows.len());
            for (index, label) in labels.iter().enumerate() {
                let next = rows.get(index + 1);
                prop_assert_eq!(*label, next.and_then(|&(token, learn)| learn.then_some(token)));
            }
            prop_assert_eq!(made.learned(), labels.iter().flatten().count());
        }
    }
}
