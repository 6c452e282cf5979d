#![no_main]
use libfuzzer_sys::fuzz_target;
use openledger_model::Tokenizer;

fuzz_target!(|parts: (&[u8], &str)| {
    if let Ok(tokenizer) = Tokenizer::parse(parts.0) {
        let _ = tokenizer.encode(parts.1, true);
        let _ = tokenizer.for_data().and_then(|data| data.encode(parts.1));
    }
});
