//! Shows what a model would learn of data files: the first rows with what is learned marked, and counts.
//!
//! ```text
//! look MODEL FILE…     e.g. look checkpoints/llama rows.jsonl more.parquet
//! ```
//!
//! With a chat template in the model's folder rows are conversations; without one, questions and answers.
#![expect(clippy::print_stdout, reason = "a command line")]

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{ChatTemplate, Model, Template};
use openledger_train::data::{DataFile, DataOptions, DataStatistics, Encode, Marks, show_mask};

/// Rows shown of each file.
const SHOWN: u64 = 3;
/// The longest row in tokens.
const LIMIT: usize = 4096;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or_else(|| Error::invalid("usage: look MODEL FILE…"))?;
    let model = Model::open(&folder)?;
    let plain = Template::default();
    let chat = match ChatTemplate::open(&folder) {
        Ok(template) => Some(template),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let encode = match &chat {
        Some(template) => Encode::chat(&model, template, LIMIT),
        None => Encode::plain(&model, &plain, LIMIT),
    };
    for path in arguments {
        let mut counts = DataStatistics::default();
        for row in DataFile::open(&path, &DataOptions::default())? {
            let row = encode.tokens(&row?)?;
            if counts.rows < SHOWN {
                println!("{}\n", show_mask(model.tokenizer(), &row.tokens, Marks::Brackets)?);
            }
            counts.add(&row, encode.ends());
        }
        println!("{path}: {counts}");
    }
    Ok(())
}
