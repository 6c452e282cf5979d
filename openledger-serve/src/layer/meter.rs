//! Counts what answers use.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use openledger_core::{AdapterId, Error, Result};
use tower::{Layer, Service};

use crate::{End, Event, Generate, TokenStream};

type Listener = Arc<dyn Fn(Option<AdapterId>, &End) + Send + Sync>;

/// Tells a listener of the end of each answer: which adapter, how many tokens.
///
/// An answer that is abandoned or fails has no end and is not told of.
///
/// # Examples
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// use openledger_model::testing;
/// use openledger_serve::{Engine, EngineOptions, Generate, MeterLayer};
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let engine = Engine::start(Arc::new(testing::tiny(1)?), EngineOptions::default())?;
/// let written = Arc::new(AtomicUsize::new(0));
/// let count = Arc::clone(&written);
/// let meter = MeterLayer::new(move |_, end| { count.fetch_add(end.tokens_out, Ordering::Relaxed); });
///
/// let mut service = ServiceBuilder::new().layer(meter).service(engine);
/// let request = Generate::new(vec![5, 6, 7]).with_max_tokens(4);
/// let answer = service.ready().await?.call(request).await?.collect_all().await?;
/// assert_eq!(written.load(Ordering::Relaxed), answer.tokens.len());
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct MeterLayer {
    listener: Listener,
}

impl MeterLayer {
    /// Calls `listener` at the end of each answer, from whatever task reads it.
    pub fn new(listener: impl Fn(Option<AdapterId>, &End) + Send + Sync + 'static) -> Self {
        Self { listener: Arc::new(listener) }
    }
}

impl fmt::Debug for MeterLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeterLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for MeterLayer {
    type Service = Meter<S>;

    fn layer(&self, inner: S) -> Meter<S> {
        Meter { inner, listener: Arc::clone(&self.listener) }
    }
}

/// The service [`MeterLayer`] makes.
#[derive(Clone)]
pub struct Meter<S> {
    inner: S,
    listener: Listener,
}

impl<S> Meter<S> {
    /// Returns the service inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: fmt::Debug> fmt::Debug for Meter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S> Service<Generate> for Meter<S>
where
    S: Service<Generate, Response = TokenStream, Error = Error>,
    S::Future: Send + 'static,
{
    type Response = TokenStream;
    type Error = Error;
    type Future = BoxFuture<'static, Result<TokenStream>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Generate) -> Self::Future {
        let adapter = request.adapter.as_ref().map(crate::Lease::id);
        let listener = Arc::clone(&self.listener);
        self.inner
            .call(request)
            .map(move |answer| {
                let events = answer?.inspect(move |event| {
                    if let Ok(Event::End(end)) = event {
                        listener(adapter, end);
                    }
                });
                Ok(TokenStream::new(events))
            })
            .boxed()
    }
}
