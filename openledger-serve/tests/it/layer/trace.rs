//! What tracing tells, and what it does not.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt};
use openledger_serve::{Generate, TraceLayer};
use tower::{Layer, Service};
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use super::script::{Script, Scripted, Step};

type Fields = BTreeMap<String, String>;

/// Keeps what it is told of spans named `inference`.
#[derive(Clone, Default)]
struct Kept {
    spans: Arc<Mutex<Vec<Fields>>>,
    events: Arc<Mutex<Vec<Fields>>>,
}

struct Writer<'a>(&'a mut Fields);

impl Visit for Writer<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").replace('"', ""));
    }
}

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("openledger_serve")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::new();
        span.record(&mut Writer(&mut fields));
        let mut spans = self.spans.lock().unwrap();
        spans.push(fields);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        values.record(&mut Writer(&mut self.spans.lock().unwrap()[span.into_u64() as usize - 1]));
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Writer(&mut fields));
        self.events.lock().unwrap().push(fields);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn each_way_an_answer_ends_is_told_once_and_no_text_is() {
    let kept = Kept::default();
    let _listening = tracing::subscriber::set_default(kept.clone());
    let start = Instant::now();
    let ticks = AtomicU64::new(0);
    // Each look at the clock is 5 ms later than the one before.
    let clock = move || start + Duration::from_millis(5 * ticks.fetch_add(1, Ordering::Relaxed));
    let token = || Step::Token("secret");
    let mut service = TraceLayer::new().with_clock(clock).layer(Scripted::new([
        Script::of([token(), token()]),
        Script::of([token(), Step::Fail]),
        Script::of([token()]),
        Script { refuse: true, ..Script::default() },
        Script { waits: 1, ..Script::default() },
    ]));
    let request = || Generate::new(vec![77; 3]).with_tenant("press").with_max_tokens(9);
    let mut ask = || service.call(request()).now_or_never();
    ask().unwrap().unwrap().collect_all().now_or_never().unwrap().unwrap();
    assert!(ask().unwrap().unwrap().collect_all().now_or_never().unwrap().is_err());
    let mut left = ask().unwrap().unwrap();
    left.next().now_or_never().unwrap().unwrap().unwrap();
    drop(left);
    assert!(ask().unwrap().is_err());
    assert!(ask().is_none());

    let spans = kept.spans.lock().unwrap();
    let of = |name: &str| -> Vec<&str> {
        spans.iter().map(|span| span.get(name).map_or("", String::as_str)).collect()
    };
    assert_eq!(of("request"), ["1", "2", "3", "4", "5"]);
    assert_eq!(of("finish"), ["Stop", "failed", "abandoned", "refused", "abandoned"]);
    assert_eq!(of("tokens_out"), ["2", "1", "1", "", ""]);
    assert_eq!(of("first_token_ms"), ["5", "5", "5", "", ""]);
    assert_eq!(of("ms"), ["10", "10", "10", "5", "5"]);
    assert_eq!((of("tenant")[0], of("adapter")[0], of("max_tokens")[0]), ("press", "base", "9"));
    let events = kept.events.lock().unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str()).collect();
    assert_eq!(kinds, ["unavailable", "unavailable"]);
    let told = format!("{spans:?}{events:?}");
    assert!(!told.contains("secret") && !told.contains("77"), "{told}");
}
