//! Parquet files that others wrote, and ones that lie.
//!
//! Those in `parquet/` were written by `PyArrow`, with the codecs their names say.

use std::path::{Path, PathBuf};

use openledger_core::{ErrorKind, Result};
use openledger_model::Message;
use openledger_train::data::{DataFile, DataOptions, Example};
use proptest::prelude::*;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/parquet").join(name)
}

fn read(path: &Path) -> Vec<Result<Example>> {
    match DataFile::open(path, &DataOptions::default()) {
        // A file that claims rows without end is read for as long as it takes to see that.
        Ok(rows) => rows.take(5000).collect(),
        Err(e) => vec![Err(e)],
    }
}

#[test]
fn conversations_are_read_across_row_groups() {
    let rows = read(&path("messages.zstd.parquet"));
    assert_eq!(rows.len(), 6);
    for (index, row) in rows.into_iter().enumerate() {
        let Example::Chat(chat) = row.unwrap() else { unreachable!("no conversation") };
        let expected = [
            Message::user(format!("Question {index}?")),
            Message::assistant(format!("Answer {index}.")),
        ];
        let said = |messages: &[Message]| -> Vec<(String, Option<String>)> {
            let pair = |m: &Message| (m.role().to_owned(), m.content().map(str::to_owned));
            messages.iter().map(pair).collect()
        };
        assert_eq!(said(&chat.messages), said(&expected));
    }
}

#[test]
fn dictionaries_and_many_pages_are_read() {
    let rows = read(&path("alpaca.snappy.parquet"));
    assert_eq!(rows.len(), 1000);
    for (index, row) in rows.into_iter().enumerate() {
        let expected = Example::Exchange {
            prompt: format!("i{index}"),
            completion: format!("o{}", index % 2),
        };
        assert_eq!(row.unwrap(), expected);
    }
}

#[test]
fn errors_name_row_and_column() {
    let mut rows = read(&path("exchange.gzip.parquet"));
    let error = rows.remove(0).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "exchange.gzip.parquet`, row 1, column `answer`: nothing there; fill it or drop the row"
        ),
        "{error}"
    );
    let error = read(&path("exchange.brotli.parquet")).remove(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("write it with Snappy"), "{error}");
}

#[test]
fn a_file_cut_short_is_an_error() {
    let whole = std::fs::read(path("messages.zstd.parquet")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.parquet");
    for len in [0, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&cut, &whole[..len]).unwrap();
        let error = read(&cut).remove(0).unwrap_err();
        assert!(error.report().contains("cut.parquet"), "{error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_bytes_are_rows_or_an_error(
        name in prop::sample::select(
            &["messages.zstd.parquet", "alpaca.snappy.parquet", "exchange.gzip.parquet"][..]
        ),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = std::fs::read(path(name)).unwrap();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let folder = tempfile::tempdir().unwrap();
        let changed = folder.path().join("changed.parquet");
        std::fs::write(&changed, bytes).unwrap();
        let _ = read(&changed);
    }
}
