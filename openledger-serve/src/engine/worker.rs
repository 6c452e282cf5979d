//! The engine's thread: takes requests in, makes steps, hands tokens out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc::{Receiver, TryRecvError},
};

use futures::channel::mpsc::UnboundedSender;
use openledger_core::{AdapterId, Error, ErrorKind, Result};
use openledger_model::{Model, TextStream};

use super::{
    EngineOptions,
    cache::Cache,
    step::{Part, Step},
};
use crate::{End, Event, Finish, Generate, sampling::Sampler};

/// A request with where its answer goes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Generate,
    pub(super) events: UnboundedSender<Result<Event>>,
}

/// An answer under way.
struct Running {
    request: Generate,
    events: UnboundedSender<Result<Event>>,
    cache: Cache,
    sampler: Sampler,
    text: TextStream,
    /// Tokens the cache does not hold yet.
    fresh: Vec<u32>,
    /// Tokens the cache holds.
    seen: usize,
    written: usize,
}

pub(super) struct Worker {
    model: Arc<Model>,
    options: EngineOptions,
    inbox: Receiver<Job>,
    queued: Arc<AtomicUsize>,
    waiting: std::collections::VecDeque<Job>,
    running: Vec<Running>,
}

impl Worker {
    pub(super) fn new(
        model: Arc<Model>,
        options: EngineOptions,
        inbox: Receiver<Job>,
        queued: Arc<AtomicUsize>,
    ) -> Self {
        let waiting = std::collections::VecDeque::new();
        Self { model, options, inbox, queued, waiting, running: Vec::new() }
    }

    /// Works until every handle is gone and every answer is over.
    pub(super) fn run(mut self) {
        while self.receive() {
            self.admit();
            self.drop_abandoned();
            if !self.running.is_empty() {
                self.step();
            }
        }
    }

    /// Takes new requests in; waits for one if there is nothing else to do. `false` at the end.
    fn receive(&mut self) -> bool {
        if self.running.is_empty() && self.waiting.is_empty() {
            match self.inbox.recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(_) => return false,
            }
        }
        loop {
            match self.inbox.try_recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => {
                    return !self.running.is_empty() || !self.waiting.is_empty();
                }
            }
        }
    }

    /// Starts waiting requests while there is room, in the order they came.
    fn admit(&mut self) {
        let mut prefill = 0;
        while let Some(job) = self.waiting.front() {
            let full = self.running.len() >= self.options.max_running;
            let long = prefill > 0 && prefill + job.request.prompt.len() > self.options.max_prefill;
            if full || long {
                return;
            }
            let Some(Job { request, events }) = self.waiting.pop_front() else { return };
            prefill += request.prompt.len();
            self.running.push(Running {
                cache: Cache::new(self.model.network().decoder().layers()),
                sampler: Sampler::new(request.sampling),
                text: self.model.tokenizer().stream(),
                fresh: request.prompt.clone(),
                seen: 0,
                written: 0,
                request,
                events,
            });
        }
        // Rows of one adapter lie together; the order within is that of arrival.
        let adapter = |answer: &Running| answer.request.adapter.as_ref().map(crate::Lease::id);
        self.running.sort_by_key(|answer| adapter(answer).map(|id: AdapterId| *id.as_bytes()));
    }

    fn drop_abandoned(&mut self) {
        let before = self.running.len() + self.waiting.len();
        self.running.retain(|answer| !answer.events.is_closed());
        self.waiting.retain(|job| !job.events.is_closed());
        let gone = before - self.running.len() - self.waiting.len();
        self.queued.fetch_sub(gone, Ordering::Relaxed);
    }

    /// Makes one step of all running answers.
    fn step(&mut self) {
        let parts = self
            .running
            .iter_mut()
            .map(|answer| Part {
                tokens: &answer.fresh,
                seen: answer.seen,
                cache: &mut answer.cache,
                adapter: answer.request.adapter.as_ref(),
            })
            .collect();
        let logits = match Step::new(self.model.network(), parts).run() {
            Ok(logits) => logits,
            Err(e) => return self.fail_all(&e),
        };
        let vocabulary = self.model.network().decoder().vocabulary();
        let mut index = 0;
        let model = Arc::clone(&self.model);
        let before = self.running.len();
        self.running.retain_mut(|answer| {
            let row = &logits[index * vocabulary..(index + 1) * vocabulary];
            index += 1;
            match answer.take(&model, row) {
                Ok(goes_on) => goes_on,
                Err(e) => {
                    // Nobody listens any more: then nobody misses the error.
                    let _ = answer.events.unbounded_send(Err(e));
                    false
                }
            }
        });
        self.queued.fetch_sub(before - self.running.len(), Ordering::Relaxed);
    }

    fn fail_all(&mut self, error: &Error) {
        for answer in self.running.drain(..) {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            let copy = Error::new(error.kind(), "the engine could not make a step");
            let _ = answer.events.unbounded_send(Err(copy.with_source(error.report())));
        }
    }
}

impl Running {
    /// Chooses the next token and hands it out; `false` if the answer is over.
    fn take(&mut self, model: &Model, logits: &[f32]) -> Result<bool> {
        let token = self.sampler.choose(logits).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "the model's logits are not numbers: bad weights?")
        })?;
        self.seen += self.fresh.len();
        self.fresh.clear();
        self.fresh.push(token);
        self.written += 1;
        let stops = model.network().decoder().eos().contains(&token);
        let text = match stops {
            true => String::new(),
            false => self.text.push(model.tokenizer(), token)?,
        };
        if self.events.unbounded_send(Ok(Event::Token { token, text, logprobs: None })).is_err() {
            return Ok(false);
        }
        let full = self.seen + 1 >= model.network().decoder().max_positions();
        if !stops && !full && self.written < self.request.max_tokens {
            return Ok(true);
        }
        let end = End {
            finish: if stops { Finish::Stop } else { Finish::Length },
            text: self.text.clone().finish(model.tokenizer())?,
            tokens_in: self.request.prompt.len(),
            tokens_cached: 0,
            tokens_out: self.written,
        };
        let _ = self.events.unbounded_send(Ok(Event::End(end)));
        Ok(false)
    }
}
