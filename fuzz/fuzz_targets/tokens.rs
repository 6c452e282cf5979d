#![no_main]
use std::io::Write;

use libfuzzer_sys::fuzz_target;
use openledger_core::B256;
use openledger_train::{
    Judged, Judgements, Pair, Rows,
    data::{JudgedRows, TokenFile},
};

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
    file.write_all(bytes).expect("room for it");
    if let Ok(rows) = TokenFile::open(file.path(), B256::ZERO) {
        for row in 0..rows.count().min(100) {
            let _ = (rows.row(row), rows.length(row));
        }
        // Counts are believed only as far as the file is long.
        if let (Ok(pairs), Ok(judged)) =
            (JudgedRows::<Pair>::new(&rows), JudgedRows::<Judged>::new(&rows))
        {
            for number in 0..pairs.count().min(50) {
                let _ = (pairs.judgement(number), judged.judgement(number));
            }
        }
    }
});
