//! Files to rows, rows to tokens, tokens to steps.
//!
//! ```text
//! jsonl json csv tsv parquet ─ DataFile ─▶ Example ─ Encode ─▶ Tokens ─ TokenFile ─▶ Rows
//! rows of a Datanet version ── granted ──────▲           └─▶ JudgedRows ─▶ Judgements
//! ```
//!
//! Everything streams: a file is never held whole, what it claims about itself is not believed,
//! and an error names the file, the row and the column.

mod array;
mod columns;
mod encode;
mod example;
mod format;
mod granted;
mod judged;
mod lines;
mod mask;
mod pages;
mod prepare;
mod record;
mod source;
mod statistics;
mod table;
mod thrift;
mod token_file;

pub use encode::{Encode, Encoded, LossMask};
pub use example::Example;
pub use format::{Column, ColumnMap};
pub use granted::granted;
pub use judged::JudgedRows;
pub use mask::{Marks, show_mask};
pub use prepare::prepare;
pub use source::{DataFile, DataOptions};
pub use statistics::DataStatistics;
pub use token_file::TokenFile;
