//! What a row is to be learned from.

use openledger_core::Row;
use openledger_model::Chat;

/// A row of a data file, before it is tokens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Example {
    /// Plain text, all of it learned.
    Text(String),
    /// A prompt and what should follow it.
    Exchange {
        /// What is given.
        prompt: String,
        /// What is learned.
        completion: String,
    },
    /// A conversation.
    Chat(Chat),
    /// Two answers to one prompt; each is an [`Exchange`](Self::Exchange) or a
    /// [`Chat`](Self::Chat) whose last message is the answer.
    Pair {
        /// The better one.
        chosen: Box<Self>,
        /// The other.
        rejected: Box<Self>,
    },
    /// An answer and whether it is a good one.
    Judged {
        /// An [`Exchange`](Self::Exchange) or a [`Chat`](Self::Chat).
        answer: Box<Self>,
        /// The judgement.
        good: bool,
    },
}

impl From<Row> for Example {
    fn from(row: Row) -> Self {
        match row.prompt() {
            "" => Self::Text(row.completion().to_owned()),
            prompt => Self::Exchange {
                prompt: prompt.to_owned(),
                completion: row.completion().to_owned(),
            },
        }
    }
}
