//! Requests as spans for OpenTelemetry.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use openledger_core::{Error, ErrorKind, Result};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, SpanExporter},
};

use super::Laps;

/// Where spans of requests go, for [`Api::with_traces`](crate::Api::with_traces). Clones share it; the
/// last one to go hands out what waits.
///
/// ```text
/// POST /v1/chat/completions ──┬── queue ── prefill ── decode      once for each answer
/// ```
/// A request is a span of kind `server` within the trace that its W3C header `traceparent` names, and is
/// recorded if that says so. Spans tell route, status, the adapter's name, tokens and why the answer ended;
/// neither texts nor keys nor tenants.
///
/// # Examples
/// ```
/// use openledger_serve_http::Traces;
///
/// let traces = Traces::otlp("http://127.0.0.1:4318/v1/traces")?;
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Hands spans to `exporter` in batches, from a thread of its own.
    pub fn new(exporter: impl SpanExporter + 'static) -> Self {
        let resource = Resource::builder().with_service_name("openledger-serve").build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer("openledger-serve-http");
        Self { provider, tracer }
    }

    /// Sends spans to a collector, as protobuf over plain HTTP.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if `endpoint` is no URL.
    pub fn otlp(endpoint: &str) -> Result<Self> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .build();
        let wrong = |e| Error::invalid(format!("traces to `{endpoint}`")).with_source(e);
        Ok(Self::new(exporter.map_err(wrong)?))
    }

    /// Hands out what waits, and blocks until it is.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the exporter does not take it.
    pub fn flush(&self) -> Result<()> {
        let failed = |e| Error::new(ErrorKind::Unavailable, "hand out traces").with_source(e);
        self.provider.force_flush().map_err(failed)
    }
}

/// A request that is traced, if it is. Its span ends with the last clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(pub(super) Option<Request>);

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) tracer: SdkTracer,
    /// With the request's span.
    pub(super) context: Context,
}

impl Trace {
    pub(crate) fn begin(
        traces: Option<&Traces>,
        method: &Method,
        route: &'static str,
        headers: &HeaderMap,
    ) -> Self {
        let Some(Traces { tracer, .. }) = traces else { return Self::default() };
        let nobody = Context::new();
        let parent = TraceContextPropagator::new().extract_with_context(&nobody, &Headers(headers));
        let span = SpanBuilder::from_name(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", method.to_string()),
                KeyValue::new("http.route", route),
            ])
            .start_with_context(tracer, &parent);
        Self(Some(Request { tracer: tracer.clone(), context: parent.with_span(span) }))
    }

    /// Says how the request was answered.
    pub(crate) fn status(&self, status: u16) {
        let Some(Request { context, .. }) = &self.0 else { return };
        let span = context.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
    }

    /// Begins an answer to it.
    pub(crate) fn answer(&self, adapter: Option<&str>) -> Laps {
        Laps::new(self.0.clone(), adapter)
    }
}

/// The headers that say whose trace a request is part of.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(HeaderValue::to_str)?.ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
