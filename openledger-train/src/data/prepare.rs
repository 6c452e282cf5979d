//! The rows of a run, from its files to one file of tokens.

use std::{fs::File, iter, path::Path};

use openledger_core::{B256, Error, ErrorKind, Result, digest};
use openledger_kernels::map_file;
use openledger_model::Tokens;

use super::{DataFile, DataOptions, Encode, Example, TokenFile, judged};
use crate::{DataConfig, Objective, SourceFile};

/// Reads the rows of `files` as `data` says, and writes their tokens to a [`TokenFile`] at `path`, which
/// is taken as it is if it was made of the same. Notes in `files` what they hold.
///
/// For an objective of judged answers each row becomes two, which [`JudgedRows`](super::JudgedRows) reads.
///
/// # Errors
/// Those of [`DataFile`] and [`Encode`], naming file and row; [`ErrorKind::Conflict`] for a file that does
/// not hold what its hash says; [`ErrorKind::Invalid`] for rows that the objective does not learn, and for
/// judged answers of which nothing is left; [`ErrorKind::Unsupported`] for the stake-weighted objective,
/// which learns signed messages and no files.
pub fn prepare(
    files: &mut [SourceFile],
    data: &DataConfig,
    objective: &Objective,
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
    let rows_of: fn(&Encode<'_>, &Example) -> Result<Vec<Tokens>> = match objective {
        Objective::NextToken => |encode, example| Ok(vec![encode.tokens(example)?.tokens]),
        Objective::Preference(_) => |encode, example| judged::pair(encode.pair(example)?),
        // A pair is a good answer and a bad one.
        Objective::Kto(_) => |encode, example| match example {
            Example::Pair { .. } => judged::singles(encode.pair(example)?),
            _ => judged::single(encode.judged(example)?),
        },
        Objective::StakeWeighted(_) => {
            let message = "the stake-weighted objective learns what validators signed, no files";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    let options = DataOptions::default().with_columns(data.columns.clone());
    let columns = serde_json::to_string(&data.columns).expect("names are always JSON");
    let most = data.rows.map_or(u64::MAX, |rows| rows as u64);
    let shape = match objective {
        Objective::Preference(_) => "pairs",
        Objective::Kto(_) => "judged",
        Objective::NextToken | Objective::StakeWeighted(_) => "rows",
    };
    let made_of =
        digest("openledger.token-file.v2", &(encode.digest(), columns, hashes, most, shape));
    let files = &*files;
    TokenFile::open_or_write(path, made_of, || {
        let rows = |file: &SourceFile| -> Result<_> {
            let name = file.path.clone();
            let examples = DataFile::open(&file.path, &options)?;
            Ok(examples.take(data.rows.unwrap_or(usize::MAX)).zip(1u64..).flat_map(
                move |(example, row)| {
                    let rows = example.and_then(|example| {
                        rows_of(encode, &example).map_err(|e| {
                            Error::new(e.kind(), format!("`{name}`, row {row}")).with_source(e)
                        })
                    });
                    match rows {
                        Ok(rows) => rows.into_iter().map(Ok).collect(),
                        Err(e) => iter::once(Err(e)).collect::<Vec<_>>(),
                    }
                },
            ))
        };
        let opened = files.iter().map(rows).collect::<Result<Vec<_>>>()?;
        Ok(opened.into_iter().flatten())
    })
}
