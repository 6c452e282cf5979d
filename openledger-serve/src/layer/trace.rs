//! Spans and events for whoever traces.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use async_trait::async_trait;
use futures::Stream;
use openledger_core::Result;
use tower::Layer;
use tracing::{Instrument, Span, field::Empty};

use super::{Around, Asked, Next, Outcome, Policy, Usage, Watch};
use crate::{Event, Generate, TokenStream};

/// Makes a span of each request for [`tracing`]: whatever subscriber the application has, OpenTelemetry's
/// for one.
///
/// The span is `inference`, at level `INFO`, and is entered while the request is let in and its stream
/// is read, so that what layers inside log belongs to it. Its fields: `request` (a number, from 1 at
/// each start), `tenant`, `adapter` (`base` if none), `max_tokens`; at the first token `first_token_ms`; in the end
/// `tokens_in`, `tokens_cached`, `tokens_out`, `finish` (`Stop`, `Length`, `abandoned`, `failed`, `refused`) and `ms`. A failure is
/// an event of level `WARN` with the error's kind and report.
///
/// Neither prompts nor answers are told.
#[derive(Clone)]
pub struct TraceLayer {
    requests: Arc<AtomicU64>,
    clock: Arc<dyn Fn() -> Instant + Send + Sync>,
}

impl Default for TraceLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl TraceLayer {
    /// Counts requests from 1.
    pub fn new() -> Self {
        Self { requests: Arc::new(AtomicU64::new(1)), clock: Arc::new(Instant::now) }
    }

    /// Returns this with another clock, for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn span(&self, request: &Generate) -> Span {
        let adapter = request.adapter.as_ref().map(|lease| lease.id().to_string());
        tracing::info_span!(
            "inference",
            request = self.requests.fetch_add(1, Ordering::Relaxed),
            tenant = request.tenant.as_deref(),
            adapter = adapter.as_deref().unwrap_or("base"),
            max_tokens = request.max_tokens as u64,
            first_token_ms = Empty,
            tokens_in = Empty,
            tokens_cached = Empty,
            tokens_out = Empty,
            finish = Empty,
            ms = Empty,
        )
    }
}

impl fmt::Debug for TraceLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Around<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Around::new(inner, Arc::new(self.clone()))
    }
}

#[async_trait]
impl Policy for TraceLayer {
    async fn answer(&self, request: Generate, next: Next) -> Result<TokenStream> {
        let span = self.span(&request);
        let asked = Asked::of(&request);
        let start = (self.clock)();
        let clock = Arc::clone(&self.clock);
        let mut pending = Pending(Some(Timed { span: span.clone(), start, clock, began: false }));
        let answer = next.call(request).instrument(span.clone()).await;
        let timed = pending.0.take().expect("it is taken here alone");
        match answer {
            Ok(answer) => {
                let inner = answer.watched(asked, timed);
                Ok(TokenStream::new(Traced { inner, span }))
            }
            Err(e) => {
                span.in_scope(|| {
                    tracing::warn!(kind = %e.kind(), error = %e.report(), "request refused");
                });
                timed.finish("refused");
                Err(e)
            }
        }
    }
}

/// A request that was not let in yet; whoever drops it then has left.
struct Pending(Option<Timed>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(timed) = self.0.take() {
            timed.finish("abandoned");
        }
    }
}

/// Fills in the span's fields.
struct Timed {
    span: Span,
    start: Instant,
    clock: Arc<dyn Fn() -> Instant + Send + Sync>,
    began: bool,
}

impl Timed {
    fn millis(&self) -> u64 {
        let time = (self.clock)().saturating_duration_since(self.start);
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    fn finish(&self, how: &str) {
        self.span.record("finish", how);
        self.span.record("ms", self.millis());
    }
}

impl Watch for Timed {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Token { .. }) && !std::mem::replace(&mut self.began, true) {
            self.span.record("first_token_ms", self.millis());
        }
    }

    fn over(self, usage: Usage) {
        self.span.record("tokens_in", usage.tokens_in as u64);
        self.span.record("tokens_cached", usage.tokens_cached as u64);
        self.span.record("tokens_out", usage.tokens_out as u64);
        match usage.outcome {
            Outcome::Finished(finish) => self.finish(&format!("{finish:?}")),
            Outcome::Abandoned => self.finish("abandoned"),
            Outcome::Failed(kind) => {
                self.span.in_scope(|| tracing::warn!(%kind, "answer failed"));
                self.finish("failed");
            }
        }
    }
}

/// A stream whose polls and end are in its span.
struct Traced {
    inner: TokenStream,
    span: Span,
}

impl Stream for Traced {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { inner, span } = &mut *self;
        let _entered = span.enter();
        Pin::new(inner).poll_next(context)
    }
}
