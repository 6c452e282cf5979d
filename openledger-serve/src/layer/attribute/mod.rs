//! Answers traced back to rows, after they were given.
//!
//! ```text
//! answer ─▶ handed out, no slower ─▶ over ─▶ queue ─▶ worker: attribution ─▶ sink
//! ```

mod options;
mod queue;
mod record;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use openledger_core::Result;
use tower::Layer;

pub use options::{Overflow, QueueOptions, QueueStats};
pub use record::Answer;

pub(super) use queue::Queue;
pub(super) use record::Record;

use super::{Around, Asked, Next, Policy};
use crate::{Generate, TokenStream};

/// Has each answer attributed on a thread of its own, after it is over.
///
/// The stream is not delayed: when the answer is over, its request and tokens go into a queue.
/// An answer that was abandoned or failed is attributed as far as it went; one without a token is not.
///
/// The queue is bounded, and nothing is lost in silence: [`Overflow`] says what happens when it is full,
/// [`stats`](Self::stats) counts. What is in it keeps its request's lease, so an adapter that is
/// replaced stays until its answers are attributed.
///
/// # Errors
/// With [`Overflow::Refuse`], a retryable [`ErrorKind::Limit`](openledger_core::ErrorKind::Limit) while the queue is full.
///
/// # Examples
/// ```
/// use std::sync::{Arc, Mutex};
/// use openledger_model::testing;
/// use openledger_serve::{Answer, AttributeLayer, Engine, EngineOptions, Generate, QueueOptions};
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let engine = Engine::start(Arc::new(testing::tiny(1)?), EngineOptions::default())?;
/// let results = Arc::new(Mutex::new(Vec::new()));
/// let kept = Arc::clone(&results);
/// // In an application: a bound method of attribution, its shares.
/// let attribute = |answer: &Answer| Ok(answer.tokens.len());
/// let keep = move |_: &Answer, result: &openledger_core::Result<usize>| {
///     kept.lock().unwrap().push(*result.as_ref().unwrap());
/// };
/// let layer = AttributeLayer::start(attribute, keep, QueueOptions::default())?;
///
/// let mut service = ServiceBuilder::new().layer(layer.clone()).service(engine);
/// let request = Generate::new(vec![5, 6, 7]).with_max_tokens(4);
/// let answer = service.ready().await?.call(request).await?.collect_all().await?;
/// layer.flush().await;
/// assert_eq!(*results.lock().unwrap(), [answer.tokens.len()]);
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
pub struct AttributeLayer<A>(Queue<A>);

impl<A: Send + 'static> AttributeLayer<A> {
    /// Starts a thread that calls `attribute` for one answer after another, and `sink` with each
    /// result. A panic of `attribute` is an error of that answer.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable) if the system gives no thread.
    pub fn start(
        attribute: impl FnMut(&Answer) -> Result<A> + Send + 'static,
        sink: impl FnMut(&Answer, &Result<A>) + Send + 'static,
        options: QueueOptions,
    ) -> Result<Self> {
        Ok(Self(Queue::start(attribute, sink, options)?))
    }

    /// Waits until all answers that are over now are attributed and the sink has them.
    ///
    /// Do so before the process ends: what is in the queue then is lost.
    pub async fn flush(&self) {
        self.0.flush().await;
    }

    /// Counts what became of answers.
    pub fn stats(&self) -> QueueStats {
        self.0.stats()
    }
}

impl<A> Clone for AttributeLayer<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A> fmt::Debug for AttributeLayer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AttributeLayer").field(&self.0).finish()
    }
}

impl<S, A> Layer<S> for AttributeLayer<A> {
    type Service = Around<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Around::new(inner, Arc::new(self.clone()))
    }
}

#[async_trait]
impl<A: Send + 'static> Policy for AttributeLayer<A> {
    async fn answer(&self, request: Generate, next: Next) -> Result<TokenStream> {
        let ticket = self.0.ticket()?;
        let asked = Asked::of(&request);
        let record = Record::new(request.clone(), |answer| ticket.hand_in(answer, None));
        Ok(next.call(request).await?.watched(asked, record))
    }
}
