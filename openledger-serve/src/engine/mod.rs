//! One base model, many adapters, one batch.
//!
//! ```text
//! Generate ─▶ desk ─▶ queue ─▶ ┌ step ────────────────────────────────┐
//!             counts  who is   │ a token of each answer under way and  │ ─▶ its TokenStream
//!             in/out  next     │ pieces of prompts, rows by adapter     │
//!                              └───────────────▲────────────────────────┘ again, while anything runs
//!                                cache: pages ─┘ of keys and values, shared by texts that begin alike
//! ```

mod answer;
mod attend;
mod cache;
mod counters;
mod desk;
mod embed;
mod job;
mod options;
mod pages;
mod plan;
mod prefix;
mod project;
mod queue;
mod stats;
mod step;
mod worker;

pub use embed::{Embed, Pooling};
pub use options::EngineOptions;
pub use stats::Stats;

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak, mpsc},
    task::{Context, Poll},
    time::Instant,
};

use futures::channel::{mpsc::unbounded, oneshot};
use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::{PAGE, PageLayout};
use openledger_model::Model;
use rayon::ThreadPoolBuilder;
use tower::Service;

use crate::{
    Generate, Lease, TokenStream,
    fingerprint::Fingerprint,
    sampling::{Grammar, Grammars, Writer},
};
use answer::Answer;
use cache::Cache;
use desk::Desk;
use embed::Pooled;
use job::{Job, Task};
use pages::pages_for;
use queue::Flow;
use worker::Worker;

/// More are a mistake: each costs a stack, and no machine has as many cores.
const MAX_THREADS: usize = 1024;

/// A handle on an engine; clones share it. The engine's thread ends with the last handle and
/// stream, and sleeps when there is nothing to do.
///
/// # Contract
/// - The tokens of an answer depend on its request alone, not on what else is in the batch, what was
///   cached, or whether it had to make way for others in between.
/// - What was computed is shared only between requests of one tenant with one adapter, named by
///   content.
/// - When there is not enough for all, tenants take turns by the tokens they were given, and so do
///   adapters of a tenant.
/// - Dropping a stream frees what its answer held at the next step.
/// - An adapter that was made ready for another base, or for this one in another precision, is refused.
/// - A step that fails, were it by a panic, ends the answers it was made for with an error, and no others.
/// - A request that cannot be answered is refused by [`call`](Service::call), not in the stream; one
///   whose deadline passes ends with [`ErrorKind::Limit`].
#[derive(Clone)]
pub struct Engine {
    model: Arc<Model>,
    options: Arc<EngineOptions>,
    jobs: mpsc::Sender<Job>,
    desk: Arc<Desk>,
    stats: Arc<Mutex<Stats>>,
    pages: usize,
    grammars: Grammars,
    base: Fingerprint,
    /// Held by what works for it.
    alive: Weak<()>,
}

impl Engine {
    /// Starts an engine on a thread of its own.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the cache holds not even a page of 16 tokens, or for more than 1,024
    /// threads; [`ErrorKind::Limit`] if the system has no such memory;
    /// [`ErrorKind::Unavailable`] if the system gives no thread.
    pub fn start(model: Arc<Model>, options: EngineOptions) -> Result<Self> {
        let threads = options.threads;
        if threads > MAX_THREADS {
            let message = format!("{threads} threads: an engine has at most {MAX_THREADS}");
            return Err(Error::invalid(message));
        }
        let (engine, worker) = Self::assemble(model, options)?;
        let work: Box<dyn FnOnce() + Send> = if threads == 0 {
            Box::new(move || worker.run())
        } else {
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|n| format!("openledger-engine-{n}"))
                .build()
                .map_err(no_thread)?;
            Box::new(move || pool.install(|| worker.run()))
        };
        std::thread::Builder::new()
            .name("openledger-engine".to_owned())
            .spawn(work)
            .map_err(no_thread)?;
        Ok(engine)
    }

    /// Makes an engine and what works for it.
    fn assemble(model: Arc<Model>, options: EngineOptions) -> Result<(Self, Worker)> {
        // Fields can be set past what `with_*` sees to, and with nothing at a time nothing would ever end.
        let (running, tokens) = (options.max_running, options.max_step_tokens);
        let options = options.with_max_running(running).with_max_step_tokens(tokens);
        let layout = |heads| match PageLayout::new(&heads) {
            layout if options.cache_in_eight_bits => layout.in_eight_bits(),
            layout => layout,
        };
        let layers = model.network().decoder().heads().map(layout);
        let cache = Cache::new(layers, options.cache_bytes, options.prefix_cache)?;
        let pages = cache.total();
        if pages == 0 {
            let message =
                format!("{} bytes of cache hold no page of {PAGE} tokens", options.cache_bytes);
            return Err(Error::invalid(message));
        }
        let (jobs, inbox) = mpsc::channel();
        let stats = Arc::new(Mutex::new(Stats { pages_total: pages, ..Stats::default() }));
        let told = Arc::clone(&stats);
        let life = Arc::new(());
        let alive = Arc::downgrade(&life);
        let worker = Worker::new(Arc::clone(&model), options.clone(), cache, inbox, told, life);
        let desk = Arc::new(Desk::new(options.max_queued, options.max_tenant_queued));
        let grammars = Grammars::new(Arc::clone(&model));
        let options = Arc::new(options);
        let base = Fingerprint::of(model.network());
        Ok((Self { model, options, jobs, desk, stats, pages, grammars, base, alive }, worker))
    }

    /// Returns the base model.
    pub const fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Returns what the engine is doing. Cheap: it copies what the last step left.
    pub fn stats(&self) -> Stats {
        // Each copy in it is whole.
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        stats.waiting = self.desk.taken().saturating_sub(stats.running);
        stats
    }

    /// Whether the engine's thread is there, which ends before the last handle only by a panic outside of
    /// steps. Without it every request is refused as [`ErrorKind::Unavailable`]: start another engine.
    pub fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }

    /// Makes one vector of a text, of length 1, in turn with answers.
    ///
    /// # Errors
    /// As [`call`](Service::call) of the service; those of a deadline; [`ErrorKind::Unavailable`] if
    /// the engine stopped.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use openledger_model::testing;
    /// use openledger_serve::{Embed, Engine, EngineOptions};
    ///
    /// # futures::executor::block_on(async {
    /// let engine = Engine::start(Arc::new(testing::tiny(1)?), EngineOptions::default())?;
    /// let vector = engine.embed(Embed::new(vec![5, 6, 7])).await?;
    /// let length: f32 = vector.iter().map(|x| x * x).sum();
    /// assert!((length - 1.0).abs() < 1e-5);
    /// # Ok::<(), openledger_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn embed(&self, request: Embed) -> impl Future<Output = Result<Vec<f32>>> + Send + use<> {
        let (reply, vector) = oneshot::channel();
        let sent = self.submit_embed(request, reply);
        async move {
            sent?;
            vector.await.unwrap_or_else(|_| Err(stopped()))
        }
    }

    /// Takes no more requests, from now on and by any handle; the future is over when those taken
    /// before are.
    pub fn drain(&self) -> impl Future<Output = ()> + Send + use<> {
        self.desk.close();
        let desk = Arc::clone(&self.desk);
        poll_fn(move |context| desk.poll_empty(context))
    }

    fn submit(&self, request: Generate, grammar: Option<Grammar>) -> Result<TokenStream> {
        if request.max_tokens == 0 {
            let read = request.prompt.len();
            return Err(Error::invalid(format!("{read} tokens to read and 0 to write: ask for 1")));
        }
        let adapter = request.adapter.as_ref();
        self.check(&request.prompt, request.max_tokens, adapter, request.deadline)?;
        let (events, stream) = unbounded();
        let writer = Writer::new(&self.model, &request, grammar)?;
        let answer = Answer::new(writer, request.prompt.len(), events, request.begun.clone())
            .with_drafts(&request.prompt, self.options.draft_tokens);
        let Generate { prompt, adapter, tenant, deadline, .. } = request;
        self.send(prompt, adapter, tenant, deadline, Task::Answer(Box::new(answer)))?;
        Ok(TokenStream::new(stream))
    }

    fn submit_embed(&self, request: Embed, reply: oneshot::Sender<Result<Vec<f32>>>) -> Result<()> {
        let Embed { tokens, adapter, pooling, tenant, deadline } = request;
        self.check(&tokens, 0, adapter.as_ref(), deadline)?;
        self.send(tokens, adapter, tenant, deadline, Task::Embed(Pooled::new(pooling, reply)))
    }

    fn send(
        &self,
        tokens: Vec<u32>,
        adapter: Option<Lease>,
        tenant: Option<Arc<str>>,
        deadline: Option<Instant>,
        task: Task,
    ) -> Result<()> {
        let seat = self.desk.seat(tenant.clone())?;
        let flow = Flow { tenant, adapter: adapter.as_ref().map(Lease::numbers) };
        let job = Job { flow, arrival: 0, adapter, deadline, tokens, task, runs: 0, seat };
        self.jobs.send(job).map_err(|_| stopped())
    }

    /// Refuses what can never be done.
    fn check(
        &self,
        tokens: &[u32],
        max_tokens: usize,
        adapter: Option<&Lease>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let read = tokens.len();
        if read == 0 {
            return Err(Error::invalid("0 tokens to read: a text has at least 1"));
        }
        self.model.network().check_tokens(tokens)?;
        // Its matrices may have other sizes, or mean nothing here.
        if let Some(lease) = adapter.filter(|lease| lease.base() != self.base) {
            let message = format!("the adapter {} was made ready for another base", lease.id());
            return Err(Error::invalid(message));
        }
        let holds = self.model.network().decoder().max_positions();
        if max_tokens > 0 && read >= holds {
            let message = format!("a prompt of {read} tokens leaves no room in {holds}");
            return Err(Error::invalid(message));
        }
        // The last token written is not read again.
        let longest = read.saturating_add(max_tokens.saturating_sub(1)).min(holds);
        if pages_for(longest) > self.pages {
            let room = self.pages * PAGE;
            let message = format!(
                "{read} tokens to read and {max_tokens} to write need room for {longest}, the cache \
                 has it for {room}: ask for less or raise `cache_bytes`"
            );
            return Err(Error::invalid(message));
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Error::new(ErrorKind::Limit, "the deadline has passed already"));
        }
        Ok(())
    }
}

fn no_thread(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "no thread for an engine").with_source(e)
}

fn stopped() -> Error {
    Error::new(ErrorKind::Unavailable, "the engine has stopped")
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
        let Some(constraint) = request.constraint.clone() else {
            return Box::pin(std::future::ready(self.submit(request, None)));
        };
        let engine = self.clone();
        Box::pin(async move {
            let tenant = request.tenant.clone();
            let grammar = engine.grammars.compile(tenant, constraint).await?;
            engine.submit(request, Some(grammar))
        })
    }
}
