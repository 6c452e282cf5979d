#![no_main]
use libfuzzer_sys::fuzz_target;
use openledger_serve::Citations;

fuzz_target!(|answer: &str| {
    let citations = Citations::read(Vec::new(), answer);
    for span in citations.invented {
        assert!(answer[span.clone()].starts_with('[') && answer[span].ends_with(']'));
    }
});
