//! One adapter for every request of a stack.

use std::{fmt, future::Future, sync::Arc};

use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use openledger_core::{Error, Result};
use tower::Layer;

use super::{Around, Next, Policy};
use crate::{Generate, Lease, TokenStream};

/// Answers every request with one adapter: named by content, or by an alias that is looked up for
/// each request.
///
/// A request for another adapter is refused, never answered with a different one than it names.
///
/// # Examples
/// ```
/// use std::{future::ready, sync::Arc};
/// use openledger_model::{Adapter, LoraConfig, testing};
/// use openledger_serve::{Engine, EngineOptions, Generate, Lease, PinLayer};
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let model = Arc::new(testing::tiny(1)?);
/// let config = LoraConfig::default();
/// let files = testing::lora(&model, &config, 3)?.to_files(model.network(), &config);
/// let law = Lease::new(model.network(), &Adapter::load(model.network(), &files)?);
/// let engine = Engine::start(model, EngineOptions::default())?;
///
/// let named = law.clone();
/// let pin = PinLayer::named("law", move |_alias| ready(Ok(named.clone())));
/// let mut service = ServiceBuilder::new().layer(pin).service(engine.clone());
/// let request = Generate::new(vec![5, 6, 7]).with_max_tokens(4);
/// let answer = service.ready().await?.call(request.clone()).await?.collect_all().await?;
///
/// let mut unpinned = engine;
/// let same = unpinned.ready().await?.call(request.with_adapter(law)).await?;
/// assert_eq!(answer.tokens, same.collect_all().await?.tokens);
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct PinLayer {
    name: Arc<str>,
    resolve: Arc<dyn Fn(Arc<str>) -> BoxFuture<'static, Result<Lease>> + Send + Sync>,
}

impl PinLayer {
    /// Pins an adapter by content.
    pub fn new(lease: Lease) -> Self {
        let name: Arc<str> = lease.id().to_string().into();
        Self::named(name, move |_| std::future::ready(Ok(lease.clone())))
    }

    /// Pins a name; `resolve` says at each request what it means, and may load it.
    pub fn named<F, L>(name: impl Into<Arc<str>>, resolve: F) -> Self
    where
        F: Fn(Arc<str>) -> L + Send + Sync + 'static,
        L: Future<Output = Result<Lease>> + Send + 'static,
    {
        Self { name: name.into(), resolve: Arc::new(move |name| resolve(name).boxed()) }
    }
}

impl fmt::Debug for PinLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinLayer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for PinLayer {
    type Service = Around<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Around::new(inner, Arc::new(self.clone()))
    }
}

#[async_trait]
impl Policy for PinLayer {
    async fn answer(&self, request: Generate, next: Next) -> Result<TokenStream> {
        let lease = (self.resolve)(Arc::clone(&self.name)).await?;
        if let Some(other) = request.adapter.as_ref().filter(|other| other.id() != lease.id()) {
            let message = format!(
                "`{}` is adapter {} here, the request names {}",
                self.name,
                lease.id(),
                other.id()
            );
            return Err(Error::invalid(message));
        }
        next.call(request.with_adapter(lease)).await
    }
}
