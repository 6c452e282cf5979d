//! How a row becomes tokens: the same for training, serving and attribution.

use openledger_core::{Result, Row};
use serde::{Deserialize, Serialize};

use crate::{Tokenizer, Tokens};

/// The words around a prompt.
///
/// What a model was trained with it must be asked with, so the template is part of the training
/// record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Template {
    /// Before the prompt.
    pub before: String,
    /// Between the prompt and the completion.
    pub between: String,
}

impl Default for Template {
    fn default() -> Self {
        Self { before: "Question: ".to_owned(), between: "\nAnswer: ".to_owned() }
    }
}

impl Template {
    /// Makes a template from the words before and after a prompt.
    pub fn new(before: impl Into<String>, between: impl Into<String>) -> Self {
        Self { before: before.into(), between: between.into() }
    }

    /// Returns the tokens a model reads before it answers `prompt`; an empty prompt is no more
    /// than the beginning of a text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn prompt(&self, tokenizer: &Tokenizer, prompt: &str) -> Result<Vec<u32>> {
        if prompt.is_empty() {
            return tokenizer.encode("", true);
        }
        tokenizer.encode(&[&self.before, prompt, &self.between].concat(), true)
    }

    /// Shortens a prompt to `limit` tokens: it keeps its first token, which says that a text begins,
    /// and its end, which is next to the answer.
    pub fn cut(mut prompt: Vec<u32>, limit: usize) -> Vec<u32> {
        if prompt.len() > limit {
            let begin = limit.min(1);
            prompt.drain(begin..prompt.len() - (limit - begin));
        }
        prompt
    }

    /// Returns the tokens of a row: prompt, completion, end of text.
    ///
    /// At most `limit` tokens: of a longer row the prompt is [cut](Self::cut), down to half of
    /// `limit`, and then the completion loses its end.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn row(
        &self,
        tokenizer: &Tokenizer,
        row: &Row,
        eos: Option<u32>,
        limit: usize,
    ) -> Result<Tokens> {
        self.exchange(tokenizer, [row.prompt(), row.completion()], eos, limit)
    }

    /// Returns the tokens of a prompt, which may be empty, and what follows it; as
    /// [`row`](Self::row), with all white space as it is.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn exchange(
        &self,
        tokenizer: &Tokenizer,
        [prompt, completion]: [&str; 2],
        eos: Option<u32>,
        limit: usize,
    ) -> Result<Tokens> {
        let prompt = self.prompt(tokenizer, prompt)?;
        let mut completion = tokenizer.encode(completion, false)?;
        completion.extend(eos);
        let prompt = Self::cut(prompt, limit.saturating_sub(completion.len()).max(limit / 2));
        completion.truncate(limit.saturating_sub(prompt.len()));
        Ok(Tokens::new(&prompt, &completion))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_too_long_keeps_both_ends_of_the_prompt_and_the_begin_of_the_completion() {
        let tokenizer = Tokenizer::train(&[], 258).unwrap();
        let template = Template::new("", "?");
        let row = Row::exchange("abcdefgh", "123456").unwrap();
        let text = |limit| {
            let tokens = template.row(&tokenizer, &row, None, limit).unwrap();
            assert!(tokens.tokens.len() <= limit);
            let (prompt, completion) = tokens.tokens.split_at(tokens.prompt());
            (tokenizer.decode(prompt).unwrap(), tokenizer.decode(completion).unwrap())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(text(100), pair("abcdefgh?", "123456"));
        assert_eq!(text(12), pair("efgh?", "123456"));
        assert_eq!(text(8), pair("gh?", "1234"));
        assert_eq!(text(1), pair("", "1"));
    }
}
