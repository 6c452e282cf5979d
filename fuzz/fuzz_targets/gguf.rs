//! GGUF files: any bytes are a model or refused, and so are their parts one by one.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use openledger_model::{Model, ModelFiles, Tokenizer, gguf::Gguf, testing};

static BASE: OnceLock<(ModelFiles, Model)> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Gguf::parse(bytes) else { return };
    for (_, tensor) in file.tensors() {
        assert_eq!(tensor.to_f32().len(), tensor.shape().iter().product::<usize>());
    }
    let _ = file.weights();
    if let Ok(tokenizer) = file.tokenizer() {
        let _ = Tokenizer::parse(&tokenizer);
    }
    let exact = Model::from_gguf(bytes);
    let stored = Model::from_gguf_as_stored(&bytes.to_vec().into());
    assert_eq!(exact.is_ok(), stored.is_ok());
    let (files, base) = BASE.get_or_init(|| {
        let files = testing::tiny_files(1).expect("a model of our own");
        let model = Model::load(&files).expect("it loads");
        (files, model)
    });
    let _ = file.adapter(&files.config, base.network());
});
