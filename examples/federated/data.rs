//! Model and rows: those given, or the best at hand.

use std::path::{Path, PathBuf};

use openledger_core::{Error, Result};
use openledger_model::{Model, Template, Tokens};
use openledger_train::data::{DataFile, DataOptions, Encode};

use crate::RunOptions;

/// The folder of the model.
pub(crate) fn model(given: Option<&Path>) -> PathBuf {
    let stories = shared("models/stories260K/hf");
    given.map(Path::to_owned).or(stories).unwrap_or_else(|| here("models/base"))
}

/// The rows, as tokens.
pub(crate) fn rows(model: &Model, options: &RunOptions) -> Result<Vec<Tokens>> {
    let path = match &options.data {
        Some(path) => path.clone(),
        None => shared("data/gsm8k/train.jsonl").ok_or_else(|| {
            Error::invalid("no rows at hand: give a file of JSON lines with `question` and `answer`, --data FILE")
        })?,
    };
    let template = Template::default();
    let encode = Encode::plain(model, &template, options.max_tokens);
    // 200 of them are held out.
    DataFile::open(&path, &DataOptions::default())?
        .take(options.rows + 200)
        .map(|example| Ok(encode.tokens(&example?)?.tokens))
        .collect()
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn shared(path: &str) -> Option<PathBuf> {
    Some(here("../../shared").join(path)).filter(|path| path.exists())
}
