//! How much each tenant may ask for.

mod bucket;
mod tenants;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use openledger_core::Result;
use tower::Layer;

use super::{Around, Asked, Next, Policy};
use crate::{Generate, TokenStream};
use tenants::Tenants;

/// How much a tenant may ask for. No limit, where none is given.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Requests a minute, that many at once at most.
    pub requests: Option<u32>,
    /// Tokens a minute, read and written, that many at once at most.
    pub tokens: Option<u32>,
    /// Answers under way at a time.
    pub answers: Option<usize>,
}

impl Limits {
    /// Returns this with a limit on requests a minute.
    #[must_use]
    pub const fn with_requests(mut self, a_minute: u32) -> Self {
        self.requests = Some(a_minute);
        self
    }

    /// Returns this with a limit on tokens a minute.
    #[must_use]
    pub const fn with_tokens(mut self, a_minute: u32) -> Self {
        self.tokens = Some(a_minute);
        self
    }

    /// Returns this with a limit on answers under way.
    #[must_use]
    pub const fn with_answers(mut self, answers: usize) -> Self {
        self.answers = Some(answers);
        self
    }
}

/// What a tenant's limits are.
type LimitsOf = dyn Fn(Option<&str>) -> Limits + Send + Sync;

/// Refuses what a tenant asks for over its limits. Requests that name no tenant count as one tenant.
///
/// Rates are buckets that leak: a minute's worth may come at once, then as much as has drained since. A
/// request takes its prompt and as many tokens as it may write; what it did not write, as far as it has
/// not drained by then, is given back when its answer is over, and all tokens if the service inside
/// refuses it. The request itself stays counted, and so does a prompt that was accepted: asking and
/// leaving is no way around. What was written is what was handed out; tokens that an engine made ahead
/// for a client that reads slowly and leaves are nobody's.
///
/// # Errors
/// [`ErrorKind::Limit`](openledger_core::ErrorKind::Limit), naming the limit: retryable, and with
/// [`Error::retry_after`](openledger_core::Error::retry_after) where time alone helps; not retryable for a request of more
/// tokens than a minute has.
///
/// # Examples
/// ```
/// use std::{sync::Arc, time::Duration};
/// use openledger_model::testing;
/// use openledger_serve::{Engine, EngineOptions, Generate, LimitLayer, Limits};
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let engine = Engine::start(Arc::new(testing::tiny(1)?), EngineOptions::default())?;
/// let limits = LimitLayer::new(Limits::default().with_requests(1));
/// let mut service = ServiceBuilder::new().layer(limits).service(engine);
///
/// let request = |tenant: &str| Generate::new(vec![5, 6]).with_tenant(tenant);
/// assert!(service.ready().await?.call(request("press")).await.is_ok());
/// let error = service.ready().await?.call(request("press")).await.unwrap_err();
/// assert!(error.retry_after().unwrap() <= Duration::from_secs(60));
/// assert!(service.ready().await?.call(request("other")).await.is_ok());
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct LimitLayer {
    limits: Arc<LimitsOf>,
    clock: Arc<dyn Fn() -> Instant + Send + Sync>,
    tenants: Tenants,
}

impl LimitLayer {
    /// Limits every tenant alike.
    pub fn new(limits: Limits) -> Self {
        Self::by(move |_| limits)
    }

    /// Limits each tenant as `limits` says, which is asked at every request.
    pub fn by(limits: impl Fn(Option<&str>) -> Limits + Send + Sync + 'static) -> Self {
        let start = Instant::now();
        Self {
            limits: Arc::new(limits),
            clock: Arc::new(Instant::now),
            tenants: Tenants::new(start),
        }
    }

    /// Returns this with another clock, for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        self.tenants = Tenants::new(clock());
        self.clock = Arc::new(clock);
        self
    }
}

impl fmt::Debug for LimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Around<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Around::new(inner, Arc::new(self.clone()))
    }
}

#[async_trait]
impl Policy for LimitLayer {
    async fn answer(&self, request: Generate, next: Next) -> Result<TokenStream> {
        let limits = (self.limits)(request.tenant.as_deref());
        let asked = Asked::of(&request);
        let most = request.max_tokens;
        let place = self.tenants.enter(&request, limits, (self.clock)())?;
        // Dropped before the service inside has answered, the place gives everything back.
        let answer = next.call(request).await?;
        Ok(answer.watched(asked, move |usage: super::Usage| {
            place.leave(most.saturating_sub(usage.tokens_out));
        }))
    }
}

/// How long rates are measured over.
const MINUTE: Duration = Duration::from_secs(60);
