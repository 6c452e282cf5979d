//! What a request's time goes into, as OpenTelemetry tells it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use openledger_http::{Limits, Listener};
use openledger_serve::{Engine, EngineOptions, Event};
use openledger_serve_http::{Keys, Traces};
use opentelemetry::Value;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::spawn_blocking};

use crate::client::{BASE, Script, api, get, model, raw, request, serve};

const KEY: &str = "sk-0123456789abcdef";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Keeps spans in memory.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Kept {
    async fn spans(&self, traces: &Traces) -> Vec<SpanData> {
        let traces = traces.clone();
        spawn_blocking(move || traces.flush().unwrap()).await.unwrap();
        self.0.lock().unwrap().clone()
    }
}

fn told(span: &SpanData, key: &str) -> Option<Value> {
    span.attributes.iter().find(|told| told.key.as_str() == key).map(|told| told.value.clone())
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}: {spans:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_queued_read_and_answered_within_the_trace_it_names() {
    let kept = Kept::default();
    let traces = Traces::new(kept.clone());
    let keys = Keys::default().with_tenant("press", KEY, None).unwrap();
    let address = serve(api().with_keys(keys).with_traces(traces.clone())).await;
    let body = json!({"model": BASE, "prompt": "secret", "max_tokens": 5, "ignore_eos": true});
    let headers =
        format!("authorization: Bearer {KEY}\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
    let asked = request("POST", "/v1/completions", &headers, &body.to_string());
    assert_eq!(raw(address, asked.as_bytes()).await.status, 200);
    get(address, "/health").await;

    let spans = kept.spans(&traces).await;
    assert_eq!(spans.len(), 4, "{spans:?}");
    let server = named(&spans, "POST /v1/completions");
    assert_eq!(server.span_context.trace_id().to_string(), TRACE);
    assert_eq!(server.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(told(server, "http.response.status_code"), Some(Value::I64(200)));
    let [queue, prefill, decode] = ["queue", "prefill", "decode"].map(|name| named(&spans, name));
    for lap in [queue, prefill, decode] {
        assert_eq!(lap.parent_span_id, server.span_context.span_id());
        assert_eq!(told(lap, "openledger.adapter"), Some("base".into()));
    }
    assert!(queue.end_time == prefill.start_time && prefill.end_time == decode.start_time);
    assert_eq!(told(prefill, "gen_ai.usage.input_tokens"), Some(Value::I64(7)));
    assert_eq!(told(decode, "gen_ai.usage.output_tokens"), Some(Value::I64(5)));
    let shown = format!("{spans:?}");
    assert!(!shown.contains("secret") && !shown.contains(KEY) && !shown.contains("press"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_does_not_record_is_not_recorded() {
    let kept = Kept::default();
    let traces = Traces::new(kept.clone());
    let address = serve(api().with_traces(traces.clone())).await;
    for (parent, spans) in [("00f067aa0ba902b7-00", 0), ("nonsense", 1)] {
        let headers = format!("traceparent: 00-{TRACE}-{parent}\r\n");
        raw(address, request("GET", "/v1/models", &headers, "").as_bytes()).await;
        assert_eq!(kept.spans(&traces).await.len(), spans, "{parent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_left_is_told_as_far_as_it_came() {
    let kept = Kept::default();
    let traces = Traces::new(kept.clone());
    let script = Script::new(|| vec![Ok(Event::token(65, "A"))]).endless();
    let address = serve(script.api().with_traces(traces.clone())).await;
    let body = json!({"model": BASE, "prompt": "x", "stream": true}).to_string();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request("POST", "/v1/completions", "", &body).as_bytes()).await.unwrap();
    // The first token is on its way.
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut [0; 400]).await.unwrap();
    drop(client);
    script.idle().await;
    let spans = kept.spans(&traces).await;
    let decode = named(&spans, "decode");
    assert!(matches!(decode.status, opentelemetry::trace::Status::Error { .. }), "{decode:?}");
    assert!(told(decode, "gen_ai.usage.output_tokens").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_them_as_protobuf_over_http() {
    /// Path and type of a request, and its body.
    type Came = Vec<(String, Vec<u8>)>;
    let came: Arc<Mutex<Came>> = Arc::default();
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let endpoint = format!("{}/v1/traces", listener.url());
    let keep = Arc::clone(&came);
    let collect = move |request: hyper::Request<hyper::body::Incoming>| {
        let keep = Arc::clone(&keep);
        async move {
            let kind = request.headers()["content-type"].to_str().unwrap().to_owned();
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            keep.lock().unwrap().push((format!("{path} {kind}"), body.to_vec()));
            hyper::Response::new(Full::new(Bytes::new()))
        }
    };
    tokio::spawn(listener.serve_until(Limits::default(), collect, std::future::pending()));
    let traces = spawn_blocking(move || Traces::otlp(&endpoint).unwrap()).await.unwrap();
    let engine = Engine::start(model(), EngineOptions::default()).unwrap();
    let api = openledger_serve_http::Api::new(engine, model(), BASE).with_traces(traces.clone());
    let address = serve(api).await;
    let body = json!({"model": BASE, "prompt": "x", "max_tokens": 1}).to_string();
    raw(address, request("POST", "/v1/completions", "", &body).as_bytes()).await;
    spawn_blocking(move || traces.flush().unwrap()).await.unwrap();
    let came = came.lock().unwrap();
    assert_eq!(came[0].0, "/v1/traces application/x-protobuf");
    let bytes: Vec<u8> = came.iter().flat_map(|(_, body)| body.clone()).collect();
    for name in ["openledger-serve", "queue", "prefill", "decode"] {
        assert!(bytes.windows(name.len()).any(|found| found == name.as_bytes()), "{name}");
    }
}
