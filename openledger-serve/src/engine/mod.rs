//! One base model, many adapters, one batch.
//!
//! ```text
//! Generate ─▶ queue ─▶ ┌ step ──────────────────────────────┐
//!                      │ new prompts and the running answers │ ─▶ a token for each ─▶ its TokenStream
//!                      │ as one batch, rows by adapter       │
//!                      └────────────────────────────────────┘ again, until no answer runs
//! ```

mod cache;
mod step;
mod worker;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll},
};

use futures::channel::mpsc::unbounded;
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::Model;
use tower::Service;

use crate::{Generate, TokenStream};
use worker::{Job, Worker};

/// How much an engine takes on at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Answers that run at a time.
    pub max_running: usize,
    /// Requests taken in all, running and waiting; more are refused.
    pub max_queued: usize,
    /// Prompt tokens that one step takes up beside running answers.
    pub max_prefill: usize,
}

impl Default for EngineOptions {
    /// 32 running, 1,024 in all, 2,048 prompt tokens a step.
    fn default() -> Self {
        Self { max_running: 32, max_queued: 1024, max_prefill: 2048 }
    }
}

impl EngineOptions {
    /// Returns this with another number of answers that run at a time, at least one.
    #[must_use]
    pub fn with_max_running(mut self, max_running: usize) -> Self {
        self.max_running = max_running.max(1);
        self
    }

    /// Returns this with another number of requests taken in all.
    #[must_use]
    pub const fn with_max_queued(mut self, max_queued: usize) -> Self {
        self.max_queued = max_queued;
        self
    }
}

/// A handle on an engine; clones share it. The engine's thread ends with the last handle and
/// stream.
///
/// # Contract
/// - The tokens of an answer depend on its request alone, not on what else is in the batch.
/// - Dropping a stream frees what its answer held at the next step.
/// - A request that cannot be answered is refused by [`call`](Service::call), not in the stream.
#[derive(Clone)]
pub struct Engine {
    model: Arc<Model>,
    options: EngineOptions,
    jobs: mpsc::Sender<Job>,
    queued: Arc<AtomicUsize>,
}

impl Engine {
    /// Starts an engine on a thread of its own.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the system gives no thread.
    pub fn start(model: Arc<Model>, options: EngineOptions) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let worker = Worker::new(Arc::clone(&model), options, inbox, Arc::clone(&queued));
        std::thread::Builder::new()
            .name("openledger-engine".to_owned())
            .spawn(move || worker.run())
            .map_err(|e| {
                Error::new(ErrorKind::Unavailable, "no thread for an engine").with_source(e)
            })?;
        Ok(Self { model, options, jobs, queued })
    }

    /// Returns the base model.
    pub const fn model(&self) -> &Arc<Model> {
        &self.model
    }

    fn submit(&self, request: Generate) -> Result<TokenStream> {
        self.check(&request)?;
        let queued = self.queued.fetch_add(1, Ordering::Relaxed);
        if queued >= self.options.max_queued {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            let message = format!("{queued} requests are queued already");
            return Err(Error::new(ErrorKind::Limit, message).with_retryable(true));
        }
        let (events, stream) = unbounded();
        let stopped = |_| Error::new(ErrorKind::Unavailable, "the engine has stopped");
        self.jobs.send(Job { request, events }).map_err(stopped)?;
        Ok(TokenStream::new(stream))
    }

    fn check(&self, request: &Generate) -> Result<()> {
        if request.prompt.is_empty() || request.max_tokens == 0 {
            let (read, write) = (request.prompt.len(), request.max_tokens);
            return Err(Error::invalid(format!("{read} tokens to read and {write} to write")));
        }
        self.model.network().check_tokens(&request.prompt)?;
        let holds = self.model.network().decoder().max_positions();
        if request.prompt.len() >= holds {
            let message =
                format!("a prompt of {} tokens leaves no room in {holds}", request.prompt.len());
            return Err(Error::invalid(message));
        }
        Ok(())
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("model", &self.model.id())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Service<Generate> for Engine {
    type Response = TokenStream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<TokenStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Generate) -> Self::Future {
        Box::pin(std::future::ready(self.submit(request)))
    }
}
