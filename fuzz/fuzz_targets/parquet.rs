#![no_main]
use std::io::Write;

use libfuzzer_sys::fuzz_target;
use openledger_train::data::{DataFile, DataOptions};

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::Builder::new().suffix(".parquet").tempfile().expect("a scratch file");
    file.write_all(bytes).expect("room for it");
    if let Ok(rows) = DataFile::open(file.path(), &DataOptions::default()) {
        rows.take(1000).for_each(drop);
    }
});
