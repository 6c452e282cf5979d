#![no_main]
use libfuzzer_sys::fuzz_target;
use openledger_model::{Decoder, LlamaConfig, LoraConfig};

fuzz_target!(|data: &[u8]| {
    let _ = LlamaConfig::parse(data);
    let _ = Decoder::tensors(data);
    let _ = LoraConfig::parse(data);
});
