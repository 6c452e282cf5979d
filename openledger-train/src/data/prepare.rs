//! The rows of a run, from its files to one file of tokens.

use std::{fs::File, path::Path};

use openledger_core::{B256, Error, ErrorKind, Result, digest};
use openledger_kernels::map_file;
use openledger_model::Tokens;

use super::{DataFile, DataOptions, Encode, TokenFile};
use crate::{DataConfig, SourceFile};

/// Reads the rows of `files` as `data` says, and writes their tokens to a [`TokenFile`] at `path`, which
/// is taken as it is if it was made of the same. Notes in `files` what they hold.
///
/// # Errors
/// Those of [`DataFile`] and [`Encode::tokens`], naming file and row; [`ErrorKind::Conflict`] for a file
/// that does not hold what its hash says.
pub fn prepare(
    files: &mut [SourceFile],
    data: &DataConfig,
    encode: &Encode<'_>,
    path: impl AsRef<Path>,
) -> Result<TokenFile> {
    let mut hashes = Vec::with_capacity(files.len());
    for file in &mut *files {
        let failed = |e: std::io::Error| {
            let kind = match e.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, format!("cannot read `{}`", file.path)).with_source(e)
        };
        let content = File::open(&file.path).and_then(|file| map_file(&file)).map_err(failed)?;
        *file = file.clone().with_content(&content)?;
        hashes.extend(file.hash.map(B256::from));
    }
    let options = DataOptions::default().with_columns(data.columns.clone());
    let columns = serde_json::to_string(&data.columns).expect("names are always JSON");
    let most = data.rows.map_or(u64::MAX, |rows| rows as u64);
    let made_of = digest("openledger.token-file.v1", &(encode.digest(), columns, hashes, most));
    let files = &*files;
    TokenFile::open_or_write(path, made_of, || {
        let rows = |file: &SourceFile| -> Result<_> {
            let name = file.path.clone();
            let examples = DataFile::open(&file.path, &options)?;
            Ok(examples.take(data.rows.unwrap_or(usize::MAX)).zip(1u64..).map(
                move |(example, row)| -> Result<Tokens> {
                    let encoded = encode.tokens(&example?).map_err(|e| {
                        Error::new(e.kind(), format!("`{name}`, row {row}")).with_source(e)
                    })?;
                    Ok(encoded.tokens)
                },
            ))
        };
        let opened = files.iter().map(rows).collect::<Result<Vec<_>>>()?;
        Ok(opened.into_iter().flatten())
    })
}
