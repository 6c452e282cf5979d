//! Rows found for a question go into its prompt, and the answer says which it cites.
//!
//! ```text
//! question ─▶ Retrieve ─▶ passages ─▶ context: "[1] …", "[2] …" ─▶ prompt ─▶ answer ─▶ Cited, End
//! ```

mod context;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::StreamExt;
use openledger_core::{Error, Result, Retrieve};
use openledger_model::{DataTokenizer, Model};
use tower::Layer;

use super::{Around, Next, Policy};
use crate::{Citations, Event, Generate, Question, TokenStream};
use context::Context;

/// How much context a prompt gets, and in which words.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GroundOptions {
    /// Rows asked for.
    pub rows: usize,
    /// The most tokens that the context may take, its words around the rows included.
    pub max_tokens: usize,
    /// What comes before the rows.
    pub before: String,
    /// What comes after them.
    pub after: String,
}

impl Default for GroundOptions {
    /// 8 rows, 1,024 tokens, under the line `Sources:`, with the wish to cite them.
    fn default() -> Self {
        Self {
            rows: 8,
            max_tokens: 1024,
            before: "Sources:\n".to_owned(),
            after: "Cite sources by their numbers, like [1].\n\n".to_owned(),
        }
    }
}

impl GroundOptions {
    /// Returns this with another number of rows.
    #[must_use]
    pub const fn with_rows(mut self, rows: usize) -> Self {
        self.rows = rows;
        self
    }

    /// Returns this with another limit on tokens.
    #[must_use]
    pub const fn with_max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Returns this with other words around the rows.
    #[must_use]
    pub fn with_words(mut self, before: impl Into<String>, after: impl Into<String>) -> Self {
        self.before = before.into();
        self.after = after.into();
        self
    }
}

/// Puts rows that have to do with a request's [`Question`] into its prompt, and tells
/// which of them the answer cites: [`Event::Cited`], before the end.
///
/// Rows are taken whole, the most relevant first, while they fit into the limit and into what the model
/// holds beside the prompt and the answer; one that does not fit is passed over. If none fits or none
/// is found, the prompt stays as it is and [`Citations::sources`] is empty.
///
/// A row is somebody else's text. It cannot spell special tokens
/// ([`Tokenizer::for_data`](openledger_model::Tokenizer::for_data)), and a line of it cannot begin with a
/// marker: lines after the first are indented. What it says may still persuade the model; that is
/// for whoever reviews the rows.
///
/// A request without a question goes on as it is, and its answer has no [`Event::Cited`].
///
/// Outside layers that count tokens, since the prompt grows here.
///
/// # Errors
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for a question with a place past
/// its prompt's end, or a prompt with sources already; what [`Retrieve`] says.
#[derive(Clone)]
pub struct GroundLayer {
    index: Arc<dyn Retrieve>,
    model: Arc<Model>,
    tokenizer: Arc<DataTokenizer>,
    options: Arc<GroundOptions>,
}

impl GroundLayer {
    /// Takes rows from `index` into prompts of `model`.
    ///
    /// # Errors
    /// Those of [`Tokenizer::for_data`](openledger_model::Tokenizer::for_data).
    pub fn new(
        index: Arc<dyn Retrieve>,
        model: Arc<Model>,
        options: GroundOptions,
    ) -> Result<Self> {
        let tokenizer = Arc::new(model.tokenizer().for_data()?);
        Ok(Self { index, model, tokenizer, options: Arc::new(options) })
    }

    /// Finds rows and puts them into the prompt.
    async fn ground(&self, request: &mut Generate, question: Question) -> Result<()> {
        if question.at > request.prompt.len() {
            let (at, prompt) = (question.at, request.prompt.len());
            return Err(Error::invalid(format!("context at token {at} of a prompt of {prompt}")));
        }
        if !request.sources.is_empty() {
            let there = request.sources.len();
            return Err(Error::invalid(format!("the prompt has {there} sources already")));
        }
        let found = self.index.retrieve(&question.text, self.options.rows).await?;
        let taken = request.prompt.len().saturating_add(request.max_tokens);
        let holds = self.model.network().decoder().max_positions();
        let room = self.options.max_tokens.min(holds.saturating_sub(taken));
        let context = Context::new(&self.tokenizer, &self.options, room, found)?;
        context.put_into(request, question.at);
        Ok(())
    }
}

impl fmt::Debug for GroundLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroundLayer")
            .field("index", &self.index)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for GroundLayer {
    type Service = Around<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Around::new(inner, Arc::new(self.clone()))
    }
}

#[async_trait]
impl Policy for GroundLayer {
    async fn answer(&self, mut request: Generate, next: Next) -> Result<TokenStream> {
        let Some(question) = request.question.clone() else { return next.call(request).await };
        self.ground(&mut request, question).await?;
        let mut sources = Some(request.sources.clone());
        let answer = next.call(request).await?;
        let mut said = String::new();
        let events = answer.flat_map(move |event| {
            let mut cited = None;
            match &event {
                Ok(Event::Token { text, .. }) => said.push_str(text),
                Ok(Event::End(end)) => {
                    said.push_str(&end.text);
                    cited = sources.take().map(|sources| Citations::read(sources, &said));
                }
                _ => {}
            }
            let cited = cited.map(|citations| Ok(Event::Cited(citations)));
            futures::stream::iter(cited.into_iter().chain([event]))
        });
        Ok(TokenStream::new(events))
    }
}
