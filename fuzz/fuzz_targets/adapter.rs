#![no_main]
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use openledger_model::{Adapter, AdapterFiles, Model, testing};

static MODEL: OnceLock<Model> = OnceLock::new();

fuzz_target!(|parts: (Vec<u8>, Vec<u8>)| {
    let model = MODEL.get_or_init(|| testing::tiny(1).expect("a model of our own"));
    let _ = Adapter::load(model.network(), &AdapterFiles::new(parts.0, parts.1));
});
