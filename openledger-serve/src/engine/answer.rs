//! An answer under way: from logits to events.

use futures::channel::mpsc::UnboundedSender;
use openledger_core::Result;
use openledger_model::Model;

use crate::{
    Begun, End, Event, Lookup,
    sampling::{Writer, Written},
};

/// What an answer remembers beside its tokens; it survives being computed again.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) events: UnboundedSender<Result<Event>>,
    writer: Writer,
    /// Tokens of the prompt.
    read: usize,
    /// Those that were cached when it began.
    pub(super) cached: usize,
    begun: Option<Begun>,
    /// Guesses what comes next.
    lookup: Option<Lookup>,
}

impl Answer {
    pub(super) const fn new(
        writer: Writer,
        read: usize,
        events: UnboundedSender<Result<Event>>,
        begun: Option<Begun>,
    ) -> Self {
        Self { events, writer, read, cached: 0, begun, lookup: None }
    }

    /// Returns this with guesses of at most so many tokens, from its prompt and what it writes.
    pub(super) fn with_drafts(mut self, prompt: &[u32], most: usize) -> Self {
        self.lookup = (most > 0).then(|| {
            let mut lookup = Lookup::new(most);
            lookup.extend(prompt.iter().copied());
            lookup
        });
        self
    }

    /// Returns what may come next, and no more than it may write before its last token.
    pub(super) fn draft(&self) -> &[u32] {
        let draft = self.lookup.as_ref().map_or(&[][..], Lookup::propose);
        &draft[..draft.len().min(self.writer.left().saturating_sub(1))]
    }

    /// Notes that it begins, the first time.
    pub(super) fn begin(&self) {
        if let Some(begun) = &self.begun {
            begun.note();
        }
    }

    /// Returns how many tokens were written.
    pub(super) const fn written(&self) -> usize {
        self.writer.written()
    }

    /// Chooses the next token and hands it out; `None` if the answer is over.
    pub(super) fn take(&mut self, model: &Model, logits: &[f32]) -> Result<Option<u32>> {
        let Written { token, text, logprobs, end } = self.writer.write(model, logits)?;
        if let Some(lookup) = &mut self.lookup {
            lookup.push(token);
        }
        if self.events.unbounded_send(Ok(Event::Token { token, text, logprobs })).is_err() {
            return Ok(None);
        }
        let Some((finish, text)) = end else { return Ok(Some(token)) };
        let end = End {
            finish,
            text,
            tokens_in: self.read,
            tokens_cached: self.cached,
            tokens_out: self.written(),
        };
        let _ = self.events.unbounded_send(Ok(Event::End(end)));
        Ok(None)
    }
}
