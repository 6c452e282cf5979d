//! Comma- or tab-separated values (RFC 4180), one header line.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use csv::{ByteRecord, ReaderBuilder};
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::Json;

use super::record::{Place, Record};

/// What one read of the table may bring beyond a row's limit: the buffer of its reader.
const BUFFER: usize = 64 << 10;

/// Reads a table row by row, holding one.
pub(super) struct Table<R> {
    reader: csv::Reader<Metered<R>>,
    header: Vec<String>,
    file: Arc<str>,
    left: Arc<AtomicUsize>,
    limit: usize,
    record: ByteRecord,
}

impl<R: Read> Table<R> {
    pub(super) fn new(reader: R, delimiter: u8, file: Arc<str>, limit: usize) -> Result<Self> {
        let limit = limit.saturating_add(BUFFER);
        let left = Arc::new(AtomicUsize::new(limit));
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .buffer_capacity(BUFFER)
            .from_reader(Metered { reader, left: Arc::clone(&left), limit });
        let place = Place { file: Arc::clone(&file), unit: "line", number: 1 };
        let header = reader.byte_headers().map_err(|e| failed(&place, e))?;
        let mut names = Vec::with_capacity(header.len());
        for name in header {
            let name = name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name).trim_ascii();
            let name = std::str::from_utf8(name)
                .map_err(|_| place.error(ErrorKind::Corrupt, "the header is not UTF-8"))?;
            names.push(name.to_owned());
        }
        Ok(Self { reader, header: names, file, left, limit, record: ByteRecord::new() })
    }

    fn read(&mut self) -> Result<Option<Record>> {
        self.left.store(self.limit, Relaxed);
        let line = self.reader.position().line();
        let mut place = Place { file: Arc::clone(&self.file), unit: "line", number: line };
        let more = self.reader.read_byte_record(&mut self.record).map_err(|e| failed(&place, e))?;
        if !more {
            return Ok(None);
        }
        place.number = self.record.position().map_or(line, csv::Position::line);
        let mut fields = Vec::with_capacity(self.header.len());
        for (name, cell) in self.header.iter().zip(&self.record) {
            let text = std::str::from_utf8(cell).map_err(|_| place.column(name, "not UTF-8"))?;
            fields.push((name.clone(), Json::from(text)));
        }
        Ok(Some(Record { place, fields }))
    }
}

impl<R: Read> Iterator for Table<R> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn failed(place: &Place, error: csv::Error) -> Error {
    let mut place = place.clone();
    if let Some(position) = error.position() {
        place.number = position.line();
    }
    match error.into_kind() {
        csv::ErrorKind::Io(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            place.error(ErrorKind::Limit, e)
        }
        csv::ErrorKind::Io(e) => place.error(ErrorKind::Unavailable, e),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => place.error(
            ErrorKind::Corrupt,
            format!("{len} cells under a header of {expected_len}; is a quote missing?"),
        ),
        other => place.error(ErrorKind::Corrupt, format!("not a table: {other:?}")),
    }
}

/// Stops a row that does not end: the table's parser would hold all of it.
struct Metered<R> {
    reader: R,
    left: Arc<AtomicUsize>,
    limit: usize,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Relaxed);
        if left == 0 {
            let why = format!(
                "a row longer than {} bytes; is a quote missing, or raise `max_row`",
                self.limit - BUFFER
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        let most = buffer.len().min(left);
        let read = self.reader.read(&mut buffer[..most])?;
        self.left.store(left - read, Relaxed);
        Ok(read)
    }
}
