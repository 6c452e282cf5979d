//! A look at what is learned.

use openledger_core::Result;
use openledger_model::{Tokenizer, Tokens};

/// How learned text is marked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Marks {
    /// Between `⟦` and `⟧`.
    #[default]
    Brackets,
    /// Green, by ANSI escape sequences for a terminal.
    Colour,
}

/// Writes a row as the model sees it, special tokens spelled out and what is learned marked.
///
/// # Errors
/// As [`Tokenizer::spell`].
///
/// # Examples
/// ```
/// use openledger_model::{Tokenizer, Tokens};
/// use openledger_train::data::{Marks, show_mask};
///
/// let tokenizer = Tokenizer::train(&[], 258)?;
/// let [prompt, answer] = ["1+1=", "2</s>"].map(|text| tokenizer.encode(text, false));
/// let row = Tokens::new(&prompt?, &answer?);
/// assert_eq!(show_mask(&tokenizer, &row, Marks::Brackets)?, "1+1=⟦2</s>⟧");
/// # Ok::<(), openledger_core::Error>(())
/// ```
pub fn show_mask(tokenizer: &Tokenizer, row: &Tokens, marks: Marks) -> Result<String> {
    let [open, close] = match marks {
        Marks::Brackets => ["⟦", "⟧"],
        Marks::Colour => ["\u{1b}[32m", "\u{1b}[0m"],
    };
    let (mut shown, mut begin) = (String::new(), 0);
    for run in row.learn.chunk_by(|one, next| one == next) {
        let text = tokenizer.spell(&row.tokens[begin..begin + run.len()])?;
        begin += run.len();
        match run[0] {
            true => shown.extend([open, &text, close]),
            false => shown.push_str(&text),
        }
    }
    Ok(shown)
}
