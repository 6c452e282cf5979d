//! A data file, by its name's ending.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    iter::FusedIterator,
    path::Path,
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use openledger_core::{Error, ErrorKind, Result};

use super::{
    ColumnMap, Example,
    array::Elements,
    columns,
    format::Format,
    lines::Lines,
    record::{Record, Records},
    table::Table,
};

/// How a data file is read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DataOptions {
    /// Which column is what, where names do not say it.
    pub columns: ColumnMap,
    /// The longest row in bytes; a longer one is an error. A file takes a few times this much memory.
    pub max_row: usize,
}

impl Default for DataOptions {
    /// Columns by their names, rows of up to 16 MiB.
    fn default() -> Self {
        Self { columns: ColumnMap::default(), max_row: 16 << 20 }
    }
}

impl DataOptions {
    /// Returns this with names of columns.
    #[must_use]
    pub fn with_columns(mut self, columns: ColumnMap) -> Self {
        self.columns = columns;
        self
    }

    /// Returns this with another longest row, in bytes.
    #[must_use]
    pub const fn with_max_row(mut self, max_row: usize) -> Self {
        self.max_row = max_row;
        self
    }
}

/// The rows of a data file, one at a time.
///
/// | ending | is |
/// |---|---|
/// | `.jsonl`, `.ndjson` | an object a line |
/// | `.json` | an array of objects, or objects one after another |
/// | `.csv`, `.tsv` | a table with a header |
/// | `.parquet` | columns; plain, Snappy, gzip or Zstandard |
/// | any of the text formats and `.gz` | the same, compressed |
///
/// What the rows are is found by the columns of the first: a conversation (`messages`, or
/// `conversations` of `from` and `value`), a pair (`prompt`, `chosen`, `rejected`), a judged answer
/// (`prompt`, `completion`, `label`), an exchange (`prompt` and `completion`, `instruction`, `input`
/// and `output`, `question` and `answer`) or plain `text`. A [`ColumnMap`] says it where names
/// do not.
///
/// After an error there are no more rows.
///
/// # Examples
/// ```
/// use openledger_train::data::{DataFile, DataOptions, Example};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("rows.jsonl");
/// std::fs::write(&path, "{\"question\": \"Why?\", \"answer\": \"So.\"}\n{\"question\": \"What?\"}\n")?;
/// let mut rows = DataFile::open(&path, &DataOptions::default())?;
/// assert!(matches!(rows.next(), Some(Ok(Example::Exchange { .. }))));
/// let error = rows.next().unwrap().unwrap_err();
/// assert!(error.to_string().ends_with("line 2, column `answer`: nothing there; fill it or drop the row"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DataFile {
    records: Records,
    columns: ColumnMap,
    format: Option<Format>,
    done: bool,
}

impl DataFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Unavailable`] if it cannot be opened;
    /// [`ErrorKind::Unsupported`] for another ending; [`ErrorKind::Corrupt`] for a table without a
    /// header or a broken Parquet file. Each names the file.
    pub fn open(path: impl AsRef<Path>, options: &DataOptions) -> Result<Self> {
        let path = path.as_ref();
        let name: Arc<str> = path.display().to_string().into();
        let file = File::open(path).map_err(|e| {
            let kind = match e.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, format!("cannot open `{name}`")).with_source(e)
        })?;
        let lower = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (inner, packed) = match lower.strip_suffix(".gz") {
            Some(inner) => (inner, true),
            None => (lower.as_str(), false),
        };
        let kind = inner.rsplit_once('.').map_or("", |(_, ending)| ending);
        let records = match (kind, packed) {
            ("parquet", false) => columns::records(file, &name, options.max_row)?,
            (_, true) => text(kind, BufReader::new(MultiGzDecoder::new(file)), &name, options)?,
            (_, false) => text(kind, BufReader::new(file), &name, options)?,
        };
        Ok(Self::new(records, options))
    }

    /// Reads rows of a text format, `jsonl`, `json`, `csv` or `tsv`, from anywhere; errors call it
    /// `name`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(
        kind: &str,
        reader: impl Read + Send + 'static,
        name: &str,
        options: &DataOptions,
    ) -> Result<Self> {
        let records = text(kind, BufReader::new(reader), &name.into(), options)?;
        Ok(Self::new(records, options))
    }

    fn new(records: Records, options: &DataOptions) -> Self {
        Self { records, columns: options.columns.clone(), format: None, done: false }
    }

    fn example(&mut self, record: &Record) -> Result<Example> {
        let format = match &self.format {
            Some(format) => format,
            None => self.format.insert(Format::detect(record, &self.columns)?),
        };
        format.example(record)
    }
}

impl Iterator for DataFile {
    type Item = Result<Example>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.records.next().map(|record| self.example(&record?));
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

impl FusedIterator for DataFile {}

impl std::fmt::Debug for DataFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataFile").field("format", &self.format).finish_non_exhaustive()
    }
}

fn text(
    kind: &str,
    reader: impl BufRead + Send + 'static,
    name: &Arc<str>,
    options: &DataOptions,
) -> Result<Records> {
    let (file, limit) = (Arc::clone(name), options.max_row);
    Ok(match kind {
        "jsonl" | "ndjson" => Box::new(Lines::new(reader, file, limit)),
        "json" => Box::new(Elements::new(reader, file, limit)),
        "csv" => Box::new(Table::new(reader, b',', file, limit)?),
        "tsv" => Box::new(Table::new(reader, b'\t', file, limit)?),
        _ => {
            let message = format!(
                "`{name}` ends in none of .jsonl, .ndjson, .json, .csv, .tsv, .parquet: rename or \
                 convert it"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}
