#![no_main]
use libfuzzer_sys::fuzz_target;
use openledger_model::Weights;

fuzz_target!(|data: &[u8]| {
    let _ = Weights::from_safetensors(data.to_vec());
});
