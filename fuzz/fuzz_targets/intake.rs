#![no_main]
use libfuzzer_sys::fuzz_target;
use openledger_datanet::{Limits, intake};

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    let names = ["a.jsonl", "a.json", "a.csv", "a.txt", "a.md"];
    let name = names[usize::from(*kind) % names.len()];
    let _ = intake::parse(name, bytes, &intake::Fields::Found, &Limits::default());
});
