//! The log of a durable chain as a file: nothing is acknowledged before it is on disk.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use alloy::primitives::B256;
use openledger_core::{Error, ErrorKind, Result};

use super::wal::{self, HEADER, Next, Reader, Record, Writer};

/// An open log, which nobody else has open.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    path: PathBuf,
    writer: Writer,
    /// What was done and is not on disk yet.
    waiting: Vec<u8>,
    /// A write failed: what lies on disk is not known, so nothing more is written.
    broken: bool,
}

impl Log {
    /// Opens the log at `path`, or begins one, and gives every record to `replay` with its offset.
    ///
    /// The beginning of a record at the end, and zeros after it, are cut off: they were not
    /// acknowledged.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if somebody has it open or it is that of another genesis;
    /// [`ErrorKind::Corrupt`] with the offset of what is wrong; [`ErrorKind::Unavailable`];
    /// what `replay` says.
    pub(super) fn open(
        path: &Path,
        genesis: B256,
        mut replay: impl FnMut(u64, &Record) -> Result<()>,
    ) -> Result<Self> {
        let at = |what: &str| format!("{what} the log {}", path.display());
        let cannot = |what: &'static str| {
            let message = at(what);
            move |e: io::Error| Error::new(ErrorKind::Unavailable, message).with_source(e)
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(cannot("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("{} is open already, here or elsewhere", path.display());
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            Err(TryLockError::Error(e)) => return Err(cannot("lock")(e)),
        }
        let (header, writer) = wal::header(genesis);
        if begins(&file, &header).map_err(|e| Error::new(e.kind(), at("read")).with_source(e))? {
            file.set_len(0).map_err(cannot("begin"))?;
            file.seek(SeekFrom::Start(0)).map_err(cannot("begin"))?;
            file.write_all(&header).map_err(cannot("begin"))?;
            file.sync_all().map_err(cannot("begin"))?;
            sync_directory(path).map_err(cannot("begin"))?;
            return Ok(Self::at(file, path, writer));
        }
        file.seek(SeekFrom::Start(0)).map_err(cannot("read"))?;
        let inside = |e: Error| Error::new(e.kind(), at("read")).with_source(e);
        let mut reader = Reader::new(BufReader::new(&file), genesis).map_err(inside)?;
        let torn = loop {
            let offset = reader.offset();
            match reader.next().map_err(inside)? {
                Next::Record(record) => replay(offset, &record).map_err(inside)?,
                Next::End => break false,
                Next::Torn => break true,
            }
        };
        let (end, writer) = (reader.offset(), reader.writer());
        if torn {
            file.set_len(end).map_err(cannot("cut"))?;
            file.sync_all().map_err(cannot("cut"))?;
        }
        file.seek(SeekFrom::Start(end)).map_err(cannot("read"))?;
        Ok(Self::at(file, path, writer))
    }

    fn at(file: File, path: &Path, writer: Writer) -> Self {
        Self { file, path: path.to_owned(), writer, waiting: Vec::new(), broken: false }
    }

    /// Says whether something can be written still.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] after a write failed.
    pub(super) fn ready(&self) -> Result<()> {
        match self.broken {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Unavailable, self.failed())),
        }
    }

    /// Adds a record, which [`flush`](Self::flush) puts on disk.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if it is too large, which it must not be, since what it says was done
    /// already; then nothing more is written.
    pub(super) fn append(&mut self, record: &Record) -> Result<()> {
        self.writer.write(record, &mut self.waiting).inspect_err(|_| self.broken = true)
    }

    /// Returns when everything added is on disk.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]; then nothing more is written.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.ready()?;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.waiting).and_then(|()| self.file.sync_data());
        self.waiting.clear();
        written.map_err(|e| {
            self.broken = true;
            Error::new(ErrorKind::Unavailable, self.failed()).with_source(e)
        })
    }

    fn failed(&self) -> String {
        format!("writing the log {} failed; reopen the chain", self.path.display())
    }
}

/// Whether a log begins here: the file is empty, or its header was never written whole, before
/// which there are no records.
fn begins(mut file: &File, header: &[u8; HEADER]) -> Result<bool> {
    let mut found = Vec::new();
    let read = Read::take(&mut file, HEADER as u64).read_to_end(&mut found);
    read.map_err(|e| Error::new(ErrorKind::Unavailable, "read the log").with_source(e))?;
    let is_whole = found == header;
    Ok(!is_whole && wal::is_cut(&found, header) && wal::only_zeros(&mut file)?)
}

/// A new file is there after a power cut only if its directory says so.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}
