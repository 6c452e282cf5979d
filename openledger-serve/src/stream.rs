//! Answers as they come.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt};
use openledger_core::{Amount, Error, ErrorKind, Receipt, Result, message::Signed};

use crate::Citations;

/// One thing that happened to an answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A token was written.
    #[non_exhaustive]
    Token {
        /// The token.
        token: u32,
        /// The text that became certain with it: whole characters, possibly none.
        text: String,
        /// How likely it was, if that was asked for.
        logprobs: Option<Logprobs>,
    },
    /// Which rows the whole answer cites; before the end, from a stack that puts rows into prompts.
    Cited(Citations),
    /// The node's signed word for the whole answer; before the end, if that was asked for.
    Receipt(Box<Signed<Receipt>>),
    /// What was charged for the whole answer; before the end, from a stack that takes money.
    Charged(Amount),
    /// The answer is over; nothing follows.
    End(End),
}

impl Event {
    /// A token of that text, of which nobody asked how likely it was: for services of one's own.
    pub fn token(token: u32, text: impl Into<String>) -> Self {
        Self::Token { token, text: text.into(), logprobs: None }
    }

    /// Returns this with how likely the token was; what is no token stays as it is.
    #[must_use]
    pub fn with_logprobs(mut self, told: Logprobs) -> Self {
        if let Self::Token { logprobs, .. } = &mut self {
            *logprobs = Some(told);
        }
        self
    }
}

/// How likely a token was, as natural logarithms of the model's own probabilities: before bias,
/// constraint, penalties and temperature, as vLLM's `raw_logprobs` and OpenAI's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Logprobs {
    /// Of the token written.
    pub chosen: f32,
    /// The likeliest tokens, best first, as many as were asked for; the one written may not be among
    /// them.
    pub likeliest: Vec<(u32, f32)>,
}

impl Logprobs {
    /// Tells of the token written, and of the likeliest ones, best first.
    pub fn new(chosen: f32, likeliest: impl Into<Vec<(u32, f32)>>) -> Self {
        Self { chosen, likeliest: likeliest.into() }
    }
}

/// How an answer ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct End {
    /// Why.
    pub finish: Finish,
    /// Text held back until now: what might have begun a stop string, an unfinished character.
    pub text: String,
    /// Tokens read.
    pub tokens_in: usize,
    /// Those of them that a cache held already.
    pub tokens_cached: usize,
    /// Tokens written, the one that ends a text included.
    pub tokens_out: usize,
}

impl End {
    /// Ends an answer that read and wrote so many tokens, for services of one's own.
    pub const fn new(finish: Finish, tokens_in: usize, tokens_out: usize) -> Self {
        Self { finish, text: String::new(), tokens_in, tokens_cached: 0, tokens_out }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Finish {
    /// The model ended the text, one of the texts that end it came, or its constraint is fulfilled.
    Stop,
    /// As many tokens as asked for were written, or the model holds no more.
    Length,
}

/// An answer in pieces. Dropping it stops the work.
pub struct TokenStream(Pin<Box<dyn Stream<Item = Result<Event>> + Send>>);

impl TokenStream {
    /// Makes an answer of any stream of events, for services and layers of one's own.
    pub fn new(events: impl Stream<Item = Result<Event>> + Send + 'static) -> Self {
        Self(Box::pin(events))
    }

    /// Waits for the whole answer.
    ///
    /// # Errors
    /// The error the stream ends with; [`ErrorKind::Unavailable`] if it just stops.
    pub async fn collect_all(mut self) -> Result<Completion> {
        let mut completion = Completion {
            tokens: Vec::new(),
            text: String::new(),
            citations: None,
            receipt: None,
            charge: None,
            end: None,
        };
        while let Some(event) = self.next().await {
            match event? {
                Event::Token { token, text, .. } => {
                    completion.tokens.push(token);
                    completion.text.push_str(&text);
                }
                Event::Cited(citations) => completion.citations = Some(citations),
                Event::Receipt(receipt) => completion.receipt = Some(*receipt),
                Event::Charged(amount) => completion.charge = Some(amount),
                Event::End(end) => {
                    completion.text.push_str(&end.text);
                    completion.end = Some(end);
                }
            }
        }
        match completion.end {
            Some(_) => Ok(completion),
            None => Err(Error::new(ErrorKind::Unavailable, "the answer broke off")),
        }
    }
}

impl fmt::Debug for TokenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStream").finish_non_exhaustive()
    }
}

impl Stream for TokenStream {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Completion {
    /// The tokens written, the one that ends a text included.
    pub tokens: Vec<u32>,
    /// Their text.
    pub text: String,
    /// Which rows it cites, if rows were put into the prompt.
    pub citations: Option<Citations>,
    /// The node's signed word for it, if that was asked for.
    pub receipt: Option<Signed<Receipt>>,
    /// What was charged for it, if it cost anything.
    pub charge: Option<Amount>,
    end: Option<End>,
}

impl Completion {
    /// Returns how it ended.
    ///
    /// # Panics
    /// Never: a completion is made with its end.
    pub const fn end(&self) -> &End {
        self.end.as_ref().expect("a completion is made with its end")
    }
}
