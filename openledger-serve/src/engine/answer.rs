//! An answer under way: from logits to events.

use futures::channel::mpsc::UnboundedSender;
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{Model, TextStream};

use crate::{End, Event, Finish, Generate, sampling::Sampler};

/// What an answer remembers beside its tokens; it survives being computed again.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) events: UnboundedSender<Result<Event>>,
    sampler: Sampler,
    text: TextStream,
    /// Tokens of the prompt.
    read: usize,
    /// Those that were cached when it began.
    pub(super) cached: usize,
    pub(super) written: usize,
    max_tokens: usize,
    ignore_eos: bool,
}

impl Answer {
    pub(super) fn new(
        model: &Model,
        request: &Generate,
        events: UnboundedSender<Result<Event>>,
    ) -> Self {
        Self {
            events,
            sampler: Sampler::new(request.sampling),
            text: model.tokenizer().stream(),
            read: request.prompt.len(),
            cached: 0,
            written: 0,
            max_tokens: request.max_tokens,
            ignore_eos: request.ignore_eos,
        }
    }

    /// Chooses the token after `seen` others and hands it out; `None` if the answer is over.
    pub(super) fn take(
        &mut self,
        model: &Model,
        logits: &[f32],
        seen: usize,
    ) -> Result<Option<u32>> {
        let token = self.sampler.choose(logits).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "the model's logits are not numbers: bad weights?")
        })?;
        self.written += 1;
        let stops = !self.ignore_eos && model.network().decoder().eos().contains(&token);
        let text = match stops {
            true => String::new(),
            false => self.text.push(model.tokenizer(), token)?,
        };
        if self.events.unbounded_send(Ok(Event::Token { token, text, logprobs: None })).is_err() {
            return Ok(None);
        }
        let full = seen + 1 >= model.network().decoder().max_positions();
        if !stops && !full && self.written < self.max_tokens {
            return Ok(Some(token));
        }
        let end = End {
            finish: if stops { Finish::Stop } else { Finish::Length },
            text: self.text.clone().finish(model.tokenizer())?,
            tokens_in: self.read,
            tokens_cached: self.cached,
            tokens_out: self.written,
        };
        let _ = self.events.unbounded_send(Ok(Event::End(end)));
        Ok(None)
    }
}
