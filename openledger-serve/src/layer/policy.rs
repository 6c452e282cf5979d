//! What layers are made of: a policy around a service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use openledger_core::{Error, Result};
use tower::Service;

use crate::{Generate, TokenStream};

/// What to do around an answer. Implement this, and [`Around`] makes a [`tower::Service`] of it.
///
/// # Contract
/// - The future may be dropped at any await, the stream between any two events: whatever a policy
///   took for the request is given back then. [`TokenStream::watched`] tells of both ends once.
/// - An event that the policy does not know is passed on.
#[async_trait]
pub trait Policy: Send + Sync + 'static {
    /// Answers `request`, most often by `next`.
    ///
    /// # Errors
    /// The policy's refusal, or what `next` says.
    async fn answer(&self, request: Generate, next: Next) -> Result<TokenStream>;
}

/// The service inside, ready for one request.
pub struct Next(Box<dyn FnOnce(Generate) -> BoxFuture<'static, Result<TokenStream>> + Send>);

impl Next {
    /// Hands the request on.
    ///
    /// # Errors
    /// Those of the service inside.
    pub async fn call(self, request: Generate) -> Result<TokenStream> {
        (self.0)(request).await
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}

/// A service behind a [`Policy`]. Clones share the policy.
pub struct Around<S, P> {
    inner: S,
    policy: Arc<P>,
}

impl<S, P> Around<S, P> {
    /// Puts `policy` in front of `inner`.
    pub const fn new(inner: S, policy: Arc<P>) -> Self {
        Self { inner, policy }
    }

    /// Returns the service inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: Clone, P> Clone for Around<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), policy: Arc::clone(&self.policy) }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for Around<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Around").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, P> Service<Generate> for Around<S, P>
where
    S: Service<Generate, Response = TokenStream, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
    P: Policy,
{
    type Response = TokenStream;
    type Error = Error;
    type Future = BoxFuture<'static, Result<TokenStream>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Generate) -> Self::Future {
        // The service that was polled ready must be the one that is called.
        let fresh = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, fresh);
        let next = Next(Box::new(move |request| async move { ready.call(request).await }.boxed()));
        let policy = Arc::clone(&self.policy);
        async move { policy.answer(request, next).await }.boxed()
    }
}
