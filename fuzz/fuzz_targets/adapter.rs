#![no_main]
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use openledger_model::{Adapter, AdapterFiles, Model, testing};

static DENSE: OnceLock<Model> = OnceLock::new();
static EXPERTS: OnceLock<Model> = OnceLock::new();

fuzz_target!(|parts: (bool, Vec<u8>, Vec<u8>)| {
    let of = |family| testing::tiny_of(family, 1).expect("a model of our own");
    let model = match parts.0 {
        true => EXPERTS.get_or_init(|| of("deepseek_v2")),
        false => DENSE.get_or_init(|| of("llama")),
    };
    let _ = Adapter::load(model.network(), &AdapterFiles::new(parts.1, parts.2));
});
