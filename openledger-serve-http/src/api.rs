//! The API as a service.

use std::{
    convert::Infallible,
    error::Error as StdError,
    num::NonZero,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use openledger_core::Result;
use openledger_model::{ChatTemplate, Model};
use openledger_serve::{Adapters, Engine, Inference};
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt};

use crate::{
    ApiLimits, Body, Keys, ToolFormat,
    desk::{Desk, Offers, Subject, system_time},
    door::Door,
    routes,
    shelf::Shelf,
};

/// OpenAI's API over anything that answers: a `tower::Service` of requests, whatever carries them.
///
/// Clones share adapters, counters and the memory of wrong keys. Futures need a tokio runtime with time.
///
/// # Contract
/// - Errors are OpenAI's: a status and `{"error": {"message", "type", "param", "code"}}`.
/// - Dropping a future or a body stops the work for it.
/// - What a client does not read is not asked of the engine's stream; the engine goes on to at most the
///   request's `max_tokens`, and its events are a few bytes a token, so this bounds memory.
/// - A request whose [`Peer`](openledger_http::Peer) is not among its extensions is not counted by
///   address: what serves it has to slow down guessing itself.
#[derive(Clone, Debug)]
pub struct Api(Arc<Desk>);

impl Api {
    /// Offers `model` under `name`, answered by `service`.
    pub fn new<S>(service: S, model: Arc<Model>, name: impl Into<Arc<str>>) -> Self
    where
        S: Inference + Clone + Send + 'static,
        S::Future: Send,
    {
        let readers = std::thread::available_parallelism().map_or(2, NonZero::get);
        // A service need not be shared between threads: each request has a clone of its own.
        let service = Mutex::new(service);
        let ask = move |request| {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            service.oneshot(request).boxed()
        };
        Self(Arc::new(Desk {
            ask: Arc::new(ask),
            subject: Subject { model, name: name.into(), template: None, tools: None },
            shelf: Arc::default(),
            door: Arc::default(),
            limits: ApiLimits::default(),
            metrics: Arc::default(),
            engine: None,
            clock: Arc::new(system_time),
            ids: Arc::default(),
            draining: Arc::default(),
            offers: Offers::default(),
            embeds: false,
            traces: None,
            readers: Arc::new(Semaphore::new(readers)),
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Desk)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns this offering adapters, which are loaded when they are first asked for. `folder` is the one
    /// that they load from, if it is one: what is in it is listed, and whole paths in it are understood.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable) or
    /// [`ErrorKind::NotFound`](openledger_core::ErrorKind::NotFound) if the folder cannot be read.
    pub async fn with_adapters(self, adapters: Adapters, folder: Option<&Path>) -> Result<Self> {
        let shelf = Arc::new(Shelf::open(adapters, folder).await?);
        Ok(self.with(|desk| desk.shelf = shelf))
    }

    /// Returns this taking conversations, which `template` makes text of. Calls of tools are expected in
    /// the format the template tells, if it tells one.
    #[must_use]
    pub fn with_template(self, template: ChatTemplate) -> Self {
        self.with(|desk| {
            desk.subject.tools = template.parts().find_map(ToolFormat::of_template);
            desk.subject.template = Some(Arc::new(template));
        })
    }

    /// Returns this expecting calls of tools in another format.
    #[must_use]
    pub fn with_tool_format(self, format: ToolFormat) -> Self {
        self.with(|desk| desk.subject.tools = Some(format))
    }

    /// Returns this for those who have a key.
    #[must_use]
    pub fn with_keys(self, keys: Keys) -> Self {
        self.with(|desk| desk.door = Arc::new(Door::new(keys)))
    }

    /// Returns this with other limits.
    #[must_use]
    pub fn with_limits(self, limits: ApiLimits) -> Self {
        self.with(|desk| desk.limits = limits)
    }

    /// Returns this with the engine below whatever answers: `/metrics` tells how full its cache is, and
    /// `/v1/embeddings` asks it, past the layers around it.
    #[must_use]
    pub fn with_engine(self, engine: Engine) -> Self {
        self.with(|desk| (desk.engine, desk.embeds) = (Some(engine), true))
    }

    /// Returns this with the engine below whatever answers for `/metrics` alone: nobody gets past the layers.
    #[must_use]
    pub fn with_engine_metrics(self, engine: Engine) -> Self {
        self.with(|desk| (desk.engine, desk.embeds) = (Some(engine), false))
    }

    /// Returns this over a service that signs receipts, as behind a
    /// [`ReceiptLayer`](openledger_serve::ReceiptLayer): requests may ask for theirs by
    /// `"openledger": {"receipt": true}`.
    #[must_use]
    pub fn with_receipts(self) -> Self {
        self.with(|desk| desk.offers.receipts = true)
    }

    /// Returns this over a service that finds rows, as behind a
    /// [`GroundLayer`](openledger_serve::GroundLayer): requests may ask for them by
    /// `"openledger": {"ground": true}`, or by words instead of `true`.
    #[must_use]
    pub fn with_ground(self) -> Self {
        self.with(|desk| desk.offers.ground = true)
    }

    /// Returns this telling what requests' time goes into.
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn with_traces(self, traces: crate::Traces) -> Self {
        self.with(|desk| desk.traces = Some(traces))
    }

    /// Returns this with another clock: seconds since 1970, for answers and templates.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.with(|desk| desk.clock = Arc::new(clock))
    }

    /// Takes no more requests: from now on `/ready` and whatever asks for an answer say 503, so that
    /// routers send them elsewhere. Answers under way go on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        routes::answer(Arc::clone(&self.0), request).await
    }
}

impl<B> Service<Request<B>> for Api
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        routes::answer(Arc::clone(&self.0), request).map(Ok).boxed()
    }
}
