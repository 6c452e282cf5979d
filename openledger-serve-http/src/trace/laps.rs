//! What an answer's time goes into.

use std::time::{Instant, SystemTime};

use openledger_serve::{Begun, End};
use opentelemetry::{
    KeyValue, Value,
    trace::{Span, SpanBuilder, Status},
};

use super::traces::Request;

/// The stages of an answer, written as spans when it is over.
#[derive(Debug, Default)]
pub(crate) struct Laps(Option<Running>);

#[derive(Debug)]
struct Running {
    request: Request,
    adapter: Option<String>,
    asked: (Instant, SystemTime),
    begun: Begun,
    first: Option<Instant>,
}

impl Laps {
    pub(super) fn new(request: Option<Request>, adapter: Option<&str>) -> Self {
        Self(request.map(|request| Running {
            request,
            adapter: adapter.map(str::to_owned),
            asked: (Instant::now(), SystemTime::now()),
            begun: Begun::default(),
            first: None,
        }))
    }

    /// Returns where the engine notes that it began, if anybody wants to know.
    pub(crate) fn begun(&self) -> Option<Begun> {
        self.0.as_ref().map(|running| running.begun.clone())
    }

    /// The first token came.
    pub(crate) fn first(&mut self) {
        if let Some(running) = &mut self.0 {
            running.first.get_or_insert_with(Instant::now);
        }
    }

    /// The answer is over; without an end nobody waited for it, or it failed.
    pub(crate) fn over(&mut self, end: Option<&End>) {
        if let Some(running) = self.0.take() {
            running.write(end);
        }
    }
}

impl Running {
    fn write(self, end: Option<&End>) {
        let now = Instant::now();
        // Whatever answers without telling when it began, began with the first token at the latest.
        let begun = self.begun.at().or(self.first);
        let number = |n: usize| Value::I64(i64::try_from(n).unwrap_or(i64::MAX));
        self.lap("queue", self.asked.0, begun, now, Vec::new());
        let Some(begun) = begun else { return };
        let read = end.map(|end| {
            vec![
                KeyValue::new("gen_ai.usage.input_tokens", number(end.tokens_in)),
                KeyValue::new("openledger.cached_tokens", number(end.tokens_cached)),
            ]
        });
        self.lap("prefill", begun, self.first, now, read.unwrap_or_default());
        let Some(first) = self.first else { return };
        let wrote = end.map(|end| {
            let finish = format!("{:?}", end.finish).to_lowercase();
            vec![
                KeyValue::new("gen_ai.usage.output_tokens", number(end.tokens_out)),
                KeyValue::new("openledger.finish", finish),
            ]
        });
        self.lap("decode", first, end.map(|_| now), now, wrote.unwrap_or_default());
    }

    /// Writes one; `until` is missing of what did not come to its end.
    fn lap(
        &self,
        name: &'static str,
        from: Instant,
        until: Option<Instant>,
        now: Instant,
        mut tells: Vec<KeyValue>,
    ) {
        let adapter = self.adapter.clone().unwrap_or_else(|| "base".to_owned());
        tells.push(KeyValue::new("openledger.adapter", adapter));
        let at = |instant: Instant| self.asked.1 + instant.saturating_duration_since(self.asked.0);
        let Request { tracer, context } = &self.request;
        let mut span = SpanBuilder::from_name(name)
            .with_start_time(at(from))
            .with_attributes(tells)
            .start_with_context(tracer, context);
        if until.is_none() {
            span.set_status(Status::error("the answer was abandoned or failed"));
        }
        span.end_with_timestamp(at(until.unwrap_or(now)));
    }
}
