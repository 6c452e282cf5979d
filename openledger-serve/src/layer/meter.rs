//! Counts what answers use.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use openledger_core::Result;
use tower::Layer;

use super::{Around, Asked, Next, Policy, Totals, Usage};
use crate::{Generate, TokenStream};

/// Tells a listener what each answer used, once, whether it ended, failed or was abandoned.
///
/// A request that the service inside refuses has no answer and is not told of.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use openledger_model::testing;
/// use openledger_serve::{Engine, EngineOptions, Generate, MeterLayer, Totals};
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let engine = Engine::start(Arc::new(testing::tiny(1)?), EngineOptions::default())?;
/// let totals = Totals::new();
///
/// let mut service = ServiceBuilder::new().layer(MeterLayer::adding_to(&totals)).service(engine);
/// let request = Generate::new(vec![5, 6, 7]).with_max_tokens(4).with_tenant("press");
/// let answer = service.ready().await?.call(request).await?.collect_all().await?;
/// assert_eq!(totals.of(Some("press"), None).tokens_out, answer.tokens.len() as u64);
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct MeterLayer {
    listener: Arc<dyn Fn(Usage) + Send + Sync>,
}

impl MeterLayer {
    /// Calls `listener` at the end of each answer, from whatever task reads or drops it.
    pub fn new(listener: impl Fn(Usage) + Send + Sync + 'static) -> Self {
        Self { listener: Arc::new(listener) }
    }

    /// Adds what each answer used to `totals`.
    pub fn adding_to(totals: &Totals) -> Self {
        let totals = totals.clone();
        Self::new(move |usage| totals.add(&usage))
    }
}

impl fmt::Debug for MeterLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeterLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for MeterLayer {
    type Service = Around<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Around::new(inner, Arc::new(self.clone()))
    }
}

#[async_trait]
impl Policy for MeterLayer {
    async fn answer(&self, request: Generate, next: Next) -> Result<TokenStream> {
        let listener = Arc::clone(&self.listener);
        let asked = Asked::of(&request);
        Ok(next.call(request).await?.watched(asked, move |usage| listener(usage)))
    }
}
