//! JSON lines: one object a line.

use std::{
    io::{BufRead, Read},
    sync::Arc,
};

use openledger_core::{ErrorKind, Result};

use super::record::{Place, Record};

/// Reads a file line by line, holding one.
pub(super) struct Lines<R> {
    reader: R,
    file: Arc<str>,
    /// The longest line in bytes.
    limit: usize,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(reader: R, file: Arc<str>, limit: usize) -> Self {
        Self { reader, file, limit, number: 0, line: Vec::new() }
    }

    /// Reads up to the next line that is not blank.
    fn read(&mut self) -> Result<Option<Record>> {
        loop {
            self.line.clear();
            self.number += 1;
            let place = Place { file: Arc::clone(&self.file), unit: "line", number: self.number };
            let most = self.limit as u64 + 1;
            let read = (&mut self.reader).take(most).read_until(b'\n', &mut self.line);
            match read.map_err(|e| place.error(ErrorKind::Unavailable, e))? {
                0 => return Ok(None),
                read if read as u64 == most && self.line.last() != Some(&b'\n') => {
                    let why = format!(
                        "longer than {} bytes; raise `max_row` if that is right",
                        self.limit
                    );
                    return Err(place.error(ErrorKind::Limit, why));
                }
                _ => {}
            }
            let mut line = self.line.trim_ascii();
            if self.number == 1 {
                line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            }
            if !line.is_empty() {
                return Record::from_json(place, line).map(Some);
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
