#![no_main]
use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use openledger_train::data::{DataFile, DataOptions};

fuzz_target!(|bytes: &[u8]| {
    let options = DataOptions::default().with_max_row(4096);
    for kind in ["jsonl", "json", "csv", "tsv"] {
        if let Ok(rows) = DataFile::read(kind, Cursor::new(bytes.to_vec()), "rows", &options) {
            rows.for_each(drop);
        }
    }
});
