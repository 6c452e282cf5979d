//! The durable log of a run: one line of JSON for each event.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use openledger_core::{Error, ErrorKind, Result};

use crate::event::{Event, Happening, MAX_LINE};

/// A file that events are appended to, numbered without a gap, so that a reader who has seen number
/// `n` goes on behind it, also after the writer was killed and started again.
///
/// # Examples
/// ```
/// use openledger_train::{EventLog, Happening};
/// # let folder = tempfile::tempdir().map_err(|e| openledger_core::Error::invalid(e.to_string()))?;
/// # let path = folder.path().join("events.jsonl");
/// let mut log = EventLog::open(&path)?;
/// let json = br#"{"number":0,"seconds":0.0,"event":"checkpoint","step":3}"#;
/// let event = openledger_train::Event::parse(json)?;
/// log.append(0.5, event.what)?;
///
/// let seen: Vec<_> = EventLog::read(&path, None)?.collect::<Result<_, _>>()?;
/// assert_eq!((seen[0].number, seen[0].seconds), (0, 0.5));
/// assert_eq!(EventLog::read(&path, Some(0))?.count(), 0, "nothing behind it yet");
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    next: u64,
}

impl EventLog {
    /// Opens the log at `path` to append to it; makes it if there is none.
    ///
    /// A last line without an end is what a writer was killed over, and is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the file cannot be read or written; [`ErrorKind::Corrupt`] naming
    /// the line that is no event or has another number than it should.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let failed = |e| unavailable("open", &path, e);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = file.map_err(failed)?;
        let mut events = Events::new(BufReader::new(&file));
        for event in &mut events {
            event.map_err(|e| in_file(&path, e))?;
        }
        let Events { next, whole, .. } = events;
        file.set_len(whole).map_err(failed)?;
        Ok(Self { path, file, next })
    }

    /// Reads the log at `path` behind the event number `after`, or all of it, as far as it is written.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Unavailable`]; items are those of [`Events`].
    pub fn read(
        path: impl AsRef<Path>,
        after: Option<u64>,
    ) -> Result<impl Iterator<Item = Result<Event>>> {
        let path = path.as_ref().to_owned();
        let file = File::open(&path).map_err(|e| unavailable("read", &path, e))?;
        let behind = move |event: &Result<Event>| match event {
            Ok(event) => after.is_none_or(|after| event.number > after),
            Err(_) => true,
        };
        let events = Events::new(BufReader::new(file)).filter(behind);
        Ok(events.map(move |event| event.map_err(|e| in_file(&path, e))))
    }

    /// Appends what happened after so many seconds, and returns it with its number.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] naming the file.
    pub fn append(&mut self, seconds: f64, what: Happening) -> Result<Event> {
        let event = Event { number: self.next, seconds, what };
        let mut line = event.to_json();
        line.push(b'\n');
        // One call: a reader sees a line or a part of one, never two mixed.
        self.file.write_all(&line).map_err(|e| unavailable("write", &self.path, e))?;
        self.next += 1;
        Ok(event)
    }

    /// Waits until everything appended is on the disk.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] naming the file.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| unavailable("write", &self.path, e))
    }
}

/// The events of a log, line by line, until its end or a last line that is not whole.
///
/// An item is [`ErrorKind::Limit`] for a line over 64 KiB, [`ErrorKind::Corrupt`] for one that is no
/// event or has another number than the one before and one; nothing comes after an error.
pub struct Events<R> {
    reader: R,
    /// The number of the next event.
    next: u64,
    lines: usize,
    /// Bytes of the lines that were whole.
    whole: u64,
    ended: bool,
}

impl<R> fmt::Debug for Events<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl<R: BufRead> Events<R> {
    /// Reads events of `reader`.
    pub const fn new(reader: R) -> Self {
        Self { reader, next: 0, lines: 0, whole: 0, ended: false }
    }

    fn read(&mut self) -> Result<Option<Event>> {
        let mut line = Vec::new();
        let limit = MAX_LINE as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut line);
        read.map_err(|e| Error::new(ErrorKind::Unavailable, "cannot read").with_source(e))?;
        if line.last() != Some(&b'\n') {
            return match line.len() > MAX_LINE {
                true => Event::parse(&line).map(Some),
                false => Ok(None),
            };
        }
        let event = Event::parse(&line)?;
        if event.number != self.next {
            let (found, expected) = (event.number, self.next);
            return Err(Error::corrupt(format!("event {found} where {expected} should be")));
        }
        self.next += 1;
        self.whole += line.len() as u64;
        Ok(Some(event))
    }
}

impl<R: BufRead> Iterator for Events<R> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.lines += 1;
        let event = self.read().transpose();
        self.ended = !matches!(event, Some(Ok(_)));
        event.map(|event| {
            event.map_err(|e| {
                Error::new(e.kind(), format!("line {} of a log", self.lines)).with_source(e)
            })
        })
    }
}

fn in_file(path: &Path, error: Error) -> Error {
    Error::new(error.kind(), format!("cannot use `{}`", path.display())).with_source(error)
}

fn unavailable(verb: &str, path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("cannot {verb} `{}`", path.display()))
        .with_source(error)
        .with_retryable(false)
}
