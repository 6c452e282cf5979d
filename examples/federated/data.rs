//! Model and rows: those given, or the best at hand.

use std::path::{Path, PathBuf};

use openledger_core::{Error, Result, Row, file};
use openledger_model::{Model, Template, Tokens};
use serde_json::Value;

use crate::RunOptions;

/// The largest file of rows read: 256 MiB.
const MAX_DATA: u64 = 256 << 20;

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
    let bytes = file::read(&path, MAX_DATA)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|e| Error::corrupt(format!("`{}` is not UTF-8", path.display())).with_source(e))?;
    let template = Template::default();
    // 200 of them are held out.
    text.lines()
        .zip(1..)
        .take(options.rows + 200)
        .map(|(line, number)| {
            let at = || Error::invalid(format!("`{}`, line {number}", path.display()));
            let value: Value = serde_json::from_str(line).map_err(|e| at().with_source(e))?;
            let field = |name: &str| {
                let found = value.get(name).and_then(Value::as_str);
                found.ok_or_else(|| at().with_source(format!("no text `{name}`")))
            };
            let row = Row::exchange(field("question")?, field("answer")?)?;
            template.row(model.tokenizer(), &row, model.eos(), options.max_tokens)
        })
        .collect()
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn shared(path: &str) -> Option<PathBuf> {
    Some(here("../../shared").join(path)).filter(|path| path.exists())
}
