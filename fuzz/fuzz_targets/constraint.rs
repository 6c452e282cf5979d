#![no_main]
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use openledger_model::testing;
use openledger_serve::{Constraint, Engine, EngineOptions, Generate};
use tower::Service;

/// A stranger's schema or regular expression, by the first byte; then an answer within it.
static ENGINE: OnceLock<Engine> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let constraint = match kind % 3 {
        0 => Constraint::json_schema(text),
        1 => Constraint::regex(text),
        _ => Constraint::choice(text.split('\n')),
    };
    let Ok(constraint) = constraint else { return };
    let mut engine = ENGINE
        .get_or_init(|| {
            let model = Arc::new(testing::tiny(1).expect("a model without a file"));
            Engine::start(model, EngineOptions::default()).expect("a thread")
        })
        .clone();
    let request = Generate::new(vec![1]).with_constraint(constraint).with_max_tokens(4);
    futures::executor::block_on(async {
        if let Ok(answer) = engine.call(request).await {
            let _ = answer.collect_all().await;
        }
    });
});
