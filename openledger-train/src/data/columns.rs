//! Parquet, row by row.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::Json;
use parquet::{
    bloom_filter::Sbbf,
    column::page::PageReader,
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
        reader::RowGroupReader,
    },
    record::{
        Field,
        reader::{ReaderIter, RowIter, TreeBuilder},
    },
    schema::types::Type,
};

use super::{
    pages::Pages,
    record::{Place, Record, Records},
};

/// Rows decoded at a time from each column.
const BATCH: usize = 64;
/// How deep columns may be nested.
const MAX_DEPTH: usize = 64;

/// Opens a Parquet file. `limit` is the longest row in bytes of text.
pub(super) fn records(file: File, name: &Arc<str>, limit: usize) -> Result<Records> {
    let place = Place { file: Arc::clone(name), unit: "row", number: 0 };
    let metadata = guarded(|| ParquetMetaDataReader::new().parse_and_finish(&file))
        .map_err(|e| Error::corrupt(format!("`{name}` is no Parquet file")).with_source(e))?;
    if depth(metadata.file_metadata().schema()) > MAX_DEPTH {
        let message = format!("`{name}` nests columns deeper than {MAX_DEPTH} levels");
        return Err(Error::new(ErrorKind::Limit, message));
    }
    Ok(Box::new(Rows { file: Arc::new(file), metadata, place, limit, group: 0, rows: None }))
}

/// The rows of all row groups.
struct Rows {
    file: Arc<File>,
    metadata: ParquetMetaData,
    place: Place,
    limit: usize,
    /// The row group that is next.
    group: usize,
    rows: Option<ReaderIter>,
}

impl Iterator for Rows {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.place.number += 1;
        loop {
            if let Some(rows) = &mut self.rows {
                // What the library makes of a broken page may be a panic.
                let row = guarded(|| rows.next().transpose());
                match row {
                    Ok(Some(row)) => return Some(self.record(row)),
                    Ok(None) => self.rows = None,
                    Err(e) => return Some(Err(self.failed(&e))),
                }
            }
            if self.group == self.metadata.num_row_groups() {
                return None;
            }
            match self.open_group() {
                Ok(rows) => self.rows = Some(rows),
                Err(e) => return Some(Err(self.failed(&e))),
            }
        }
    }
}

impl Rows {
    fn open_group(&mut self) -> Result<ReaderIter, ParquetError> {
        let metadata = self.metadata.row_group(self.group);
        self.group += 1;
        let rows = metadata.num_rows();
        if rows < 0 || metadata.columns().iter().any(|column| column.num_values() < rows) {
            let message = format!("a row group of {rows} rows whose columns have fewer values");
            return Err(ParquetError::General(message));
        }
        let descriptor = self.metadata.file_metadata().schema_descr_ptr();
        let group = Group { file: &self.file, metadata };
        guarded(|| TreeBuilder::new().with_batch_size(BATCH).as_iter(descriptor, &group))
    }

    fn record(&self, row: parquet::record::Row) -> Result<Record> {
        let mut left = self.limit;
        let mut fields = Vec::new();
        for (name, field) in row.into_columns() {
            let value = json(&field, &mut left).ok_or_else(|| {
                let why = format!("a row longer than {} bytes; raise `max_row`", self.limit);
                self.place.error(ErrorKind::Limit, why)
            })?;
            fields.push((name, value));
        }
        Ok(Record { place: self.place.clone(), fields })
    }

    fn failed(&self, error: &ParquetError) -> Error {
        let kind = match error {
            ParquetError::NYI(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Corrupt,
        };
        self.place.error(kind, error)
    }
}

/// Turns a panic of the library into an error.
fn guarded<T>(run: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let panicked = |_| Err(ParquetError::General("the columns cannot be decoded".to_owned()));
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(panicked)
}

fn depth(schema: &Type) -> usize {
    match schema {
        Type::GroupType { fields, .. } => {
            1 + fields.iter().map(|field| depth(field)).max().unwrap_or_default()
        }
        Type::PrimitiveType { .. } => 1,
    }
}

/// A value as JSON, or nothing if it takes more than `left` bytes. Bytes that are no text, dates and
/// decimals are null: no column that is learned from has them.
fn json(field: &Field, left: &mut usize) -> Option<Json> {
    let mut take = |bytes: usize| {
        *left = left.checked_sub(bytes)?;
        Some(())
    };
    take(1)?;
    let integer = |number: i64| Json::Number(number.into());
    let float = |number: f64| serde_json::Number::from_f64(number).map_or(Json::Null, Json::Number);
    Some(match field {
        Field::Bool(yes) => Json::Bool(*yes),
        Field::Byte(number) => integer((*number).into()),
        Field::Short(number) => integer((*number).into()),
        Field::Int(number) => integer((*number).into()),
        Field::Long(number) => integer(*number),
        Field::UByte(number) => integer((*number).into()),
        Field::UShort(number) => integer((*number).into()),
        Field::UInt(number) => integer((*number).into()),
        Field::ULong(number) => Json::Number((*number).into()),
        Field::Float(number) => float((*number).into()),
        Field::Double(number) => float(*number),
        Field::Str(text) => {
            take(text.len())?;
            Json::from(text.as_str())
        }
        Field::Bytes(bytes) => {
            take(bytes.len())?;
            std::str::from_utf8(bytes.data()).map_or(Json::Null, Json::from)
        }
        Field::Group(row) => {
            let fields =
                row.get_column_iter().map(|(name, field)| Some((name.clone(), json(field, left)?)));
            Json::Object(fields.collect::<Option<_>>()?)
        }
        Field::ListInternal(list) => {
            Json::Array(list.elements().iter().map(|item| json(item, left)).collect::<Option<_>>()?)
        }
        Field::MapInternal(map) => {
            let fields = map.entries().iter().map(|(key, field)| {
                let key = match key {
                    Field::Str(key) => key.clone(),
                    other => other.to_string(),
                };
                Some((key, json(field, left)?))
            });
            Json::Object(fields.collect::<Option<_>>()?)
        }
        _ => Json::Null,
    })
}

/// A row group whose pages are read by [`Pages`].
struct Group<'a> {
    file: &'a Arc<File>,
    metadata: &'a RowGroupMetaData,
}

impl RowGroupReader for Group<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, column: usize) -> Result<Box<dyn PageReader>, ParquetError> {
        Ok(Box::new(Pages::new(self.file, self.metadata.column(column))?))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>, ParquetError> {
        RowIter::from_row_group(projection, self)
    }
}
