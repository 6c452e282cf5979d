//! Seeing an answer through, however it ends.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::Stream;
use openledger_core::{AdapterId, ErrorKind, Result};

use crate::{Event, Finish, Generate, TokenStream};

/// What is to be known of a request at the end of its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Asked {
    /// Who asks.
    pub tenant: Option<Arc<str>>,
    /// The adapter; the base model if there is none.
    pub adapter: Option<AdapterId>,
    /// The prompt's length in tokens.
    pub prompt: usize,
}

impl Asked {
    /// Reads a request before it is handed on.
    pub fn of(request: &Generate) -> Self {
        Self {
            tenant: request.tenant.clone(),
            adapter: request.adapter.as_ref().map(crate::Lease::id),
            prompt: request.prompt.len(),
        }
    }
}

/// What an answer used.
///
/// It counts what was handed out. A prompt counts from the first token of its answer on: an answer that fails or
/// is left before it used nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// Who asked.
    pub tenant: Option<Arc<str>>,
    /// The adapter that answered; the base model if there is none.
    pub adapter: Option<AdapterId>,
    /// Tokens read.
    pub tokens_in: usize,
    /// Those of them that a cache held already; known of answers that ended.
    pub tokens_cached: usize,
    /// Tokens written.
    pub tokens_out: usize,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// By itself.
    Finished(Finish),
    /// By an error of this kind; [`ErrorKind::Unavailable`] if it just stopped.
    Failed(ErrorKind),
    /// Whoever asked left.
    Abandoned,
}

/// Sees an answer through.
///
/// # Contract
/// - `event` is called with every event before it is handed out.
/// - `over` is called once, with the event that ends the answer, or when the stream is dropped; in
///   the second case from the destructor, so it neither blocks nor panics.
pub trait Watch: Send + 'static {
    /// Sees an event.
    fn event(&mut self, event: &Event) {
        let _ = event;
    }

    /// Sees the end.
    fn over(self, usage: Usage);
}

impl<F: FnOnce(Usage) + Send + 'static> Watch for F {
    fn over(self, usage: Usage) {
        self(usage);
    }
}

impl TokenStream {
    /// Has the answer to what was `asked` seen through by `watch`, or by a closure that takes the
    /// [`Usage`].
    #[must_use]
    pub fn watched(self, asked: Asked, watch: impl Watch) -> Self {
        let used = Usage {
            tenant: asked.tenant,
            adapter: asked.adapter,
            tokens_in: 0,
            tokens_cached: 0,
            tokens_out: 0,
            outcome: Outcome::Abandoned,
        };
        let watching = Some((watch, used));
        Self::new(Watched { inner: self, prompt: asked.prompt, watching })
    }
}

struct Watched<W: Watch> {
    inner: TokenStream,
    prompt: usize,
    /// Gone once it is over.
    watching: Option<(W, Usage)>,
}

/// Nothing here is pinned in place: the stream inside is a box.
impl<W: Watch> Unpin for Watched<W> {}

impl<W: Watch> Watched<W> {
    fn see(&mut self, event: Option<&Result<Event>>) {
        let Some((watch, used)) = &mut self.watching else { return };
        used.outcome = match event {
            Some(Ok(event)) => {
                watch.event(event);
                match event {
                    Event::Token { .. } => {
                        used.tokens_in = self.prompt;
                        used.tokens_out += 1;
                        return;
                    }
                    Event::End(end) => {
                        used.tokens_in = end.tokens_in;
                        used.tokens_cached = end.tokens_cached;
                        used.tokens_out = end.tokens_out;
                        Outcome::Finished(end.finish)
                    }
                    _ => return,
                }
            }
            Some(Err(e)) => Outcome::Failed(e.kind()),
            None => Outcome::Failed(ErrorKind::Unavailable),
        };
        self.over();
    }

    fn over(&mut self) {
        if let Some((watch, used)) = self.watching.take() {
            watch.over(used);
        }
    }
}

impl<W: Watch> Stream for Watched<W> {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(Pin::new(&mut self.inner).poll_next(context));
        self.see(event.as_ref());
        Poll::Ready(event)
    }
}

impl<W: Watch> Drop for Watched<W> {
    fn drop(&mut self) {
        self.over();
    }
}
