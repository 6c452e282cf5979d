//! Rows in tokens, on disk: written once while a data set streams by, then read by number.
//!
//! ```text
//! magic 8 │ version 4 │ digest 32 │ rows 8 │ index at 8 │ rows: tokens 4n, mask ⌈n/8⌉ │ index 8(rows+1)
//! ```
//!
//! All numbers are little-endian. The index has the offset of each row and the end of the last; how
//! many tokens a row has follows from its bytes.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use openledger_core::{B256, Error, ErrorKind, Result};
use openledger_model::Tokens;

use crate::Rows;

const MAGIC: &[u8; 8] = b"OLTOKENS";
const VERSION: u32 = 1;
const HEADER: u64 = 60;

/// Rows in a file.
///
/// # Examples
/// ```
/// use openledger_core::B256;
/// use openledger_model::Tokens;
/// use openledger_train::{Rows, data::TokenFile};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("rows.tokens");
/// let rows = [Tokens::new(&[1, 2], &[3]), Tokens::new(&[], &[4])];
/// let file = TokenFile::write(&path, B256::ZERO, rows.iter().cloned().map(Ok))?;
/// assert_eq!((file.count(), file.row(1)?), (2, rows[1].clone()));
/// // Made by other settings, it is stale.
/// assert!(TokenFile::open(&path, B256::repeat_byte(1)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TokenFile {
    path: PathBuf,
    file: Mutex<File>,
    rows: u64,
    /// Where the index begins and the rows end.
    index: u64,
}

impl TokenFile {
    /// Writes rows to `path` as they come, holding one; the file takes its name when it is whole.
    ///
    /// `digest` says what the rows were made of, see [`Encode::digest`](super::Encode::digest).
    ///
    /// # Errors
    /// The first of `rows`; [`ErrorKind::Unavailable`] if the file cannot be written;
    /// [`ErrorKind::Invalid`] for a row of four billion tokens.
    pub fn write(
        path: impl AsRef<Path>,
        digest: B256,
        rows: impl IntoIterator<Item = Result<Tokens>>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let failed = |e: io::Error| {
            let message = format!("cannot write `{}`", path.display());
            Error::new(ErrorKind::Unavailable, message).with_source(e).with_retryable(false)
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        let file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        // The index is as long as the data set has rows: it waits in a file too.
        let mut index = BufWriter::new(tempfile::tempfile_in(folder).map_err(failed)?);
        let mut out = BufWriter::new(file);
        out.write_all(&[0; HEADER as usize]).map_err(failed)?;
        let (mut count, mut end) = (0u64, HEADER);
        let mut bytes = Vec::new();
        for row in rows {
            let row = row?;
            if u32::try_from(row.tokens.len()).is_err() {
                return Err(Error::invalid(format!("row {count} is too long for a token file")));
            }
            bytes.clear();
            bytes.extend(row.tokens.iter().flat_map(|token| token.to_le_bytes()));
            bytes.extend(
                row.learn
                    .chunks(8)
                    .map(|bits| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit))),
            );
            index.write_all(&end.to_le_bytes()).map_err(failed)?;
            out.write_all(&bytes).map_err(failed)?;
            count += 1;
            end += bytes.len() as u64;
        }
        index.write_all(&end.to_le_bytes()).map_err(failed)?;
        let mut index = index.into_inner().map_err(|e| failed(e.into_error()))?;
        index.seek(SeekFrom::Start(0)).map_err(failed)?;
        io::copy(&mut index, &mut out).map_err(failed)?;
        let mut file = out.into_inner().map_err(|e| failed(e.into_error()))?;
        let header = [
            &MAGIC[..],
            &VERSION.to_le_bytes(),
            digest.as_slice(),
            &count.to_le_bytes(),
            &end.to_le_bytes(),
        ];
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(&header.concat()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        let file = file.persist(path).map_err(|e| failed(e.error))?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), rows: count, index: end })
    }

    /// Opens a file that [`write`](Self::write) made.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Unavailable`] if it cannot be read;
    /// [`ErrorKind::Conflict`] if it was made of something else than `digest` says;
    /// [`ErrorKind::Corrupt`] if it is no such file or not whole.
    pub fn open(path: impl AsRef<Path>, digest: B256) -> Result<Self> {
        let path = path.as_ref();
        let failed = |e: io::Error| {
            let kind = match e.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, format!("cannot read `{}`", path.display())).with_source(e)
        };
        let corrupt = |why: &str| Error::corrupt(format!("`{}` {why}", path.display()));
        let mut file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut header = [0; HEADER as usize];
        file.read_exact(&mut header).map_err(failed)?;
        if header[..8] != *MAGIC || header[8..12] != VERSION.to_le_bytes() {
            return Err(corrupt("is no token file of this version"));
        }
        if header[12..44] != digest[..] {
            let message = format!("`{}` was made with other settings", path.display());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let [rows, index] = [44, 52]
            .map(|at| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes")));
        let end = rows.checked_add(1).and_then(|ends| ends.checked_mul(8)?.checked_add(index));
        if index < HEADER || end != Some(size) || usize::try_from(rows).is_err() {
            return Err(corrupt("is not as long as it says"));
        }
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), rows, index })
    }

    /// Opens the file if it was made with `digest`; otherwise makes it anew of `rows`.
    ///
    /// # Errors
    /// As [`write`](Self::write); [`ErrorKind::Unavailable`] as [`open`](Self::open).
    pub fn open_or_write<I: IntoIterator<Item = Result<Tokens>>>(
        path: impl AsRef<Path>,
        digest: B256,
        rows: impl FnOnce() -> Result<I>,
    ) -> Result<Self> {
        match Self::open(&path, digest) {
            Err(e) if e.kind() != ErrorKind::Unavailable => Self::write(path, digest, rows()?),
            opened => opened,
        }
    }

    /// Returns where the bytes of a row begin and end.
    fn place(&self, file: &mut File, row: usize) -> io::Result<[u64; 2]> {
        file.seek(SeekFrom::Start(self.index + 8 * row as u64))?;
        let mut ends = [0; 16];
        file.read_exact(&mut ends)?;
        let (begin, end) = ends.split_at(8);
        Ok([begin, end].map(|end| u64::from_le_bytes(end.try_into().expect("eight bytes"))))
    }

    fn read<T>(
        &self,
        row: usize,
        read: impl FnOnce(&mut File, [u64; 2], usize) -> io::Result<T>,
    ) -> Result<T> {
        if row as u64 >= self.rows {
            let message = format!("no row {row} of {} in `{}`", self.rows, self.path.display());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let file = &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let named =
            |kind| Error::new(kind, format!("cannot read row {row} of `{}`", self.path.display()));
        let [begin, end] =
            self.place(file, row).map_err(|e| named(ErrorKind::Unavailable).with_source(e))?;
        let count = count(begin, end).filter(|_| begin >= HEADER && end <= self.index);
        let count = count.ok_or_else(|| named(ErrorKind::Corrupt).with_source("a broken index"))?;
        read(file, [begin, end], count).map_err(|e| named(ErrorKind::Unavailable).with_source(e))
    }
}

/// How many tokens lie between two offsets: n with 4 n + ⌈n / 8⌉ bytes.
fn count(begin: u64, end: u64) -> Option<usize> {
    let bytes = end.checked_sub(begin)?;
    let count = bytes.checked_mul(8)? / 33;
    (4 * count + count.div_ceil(8) == bytes).then_some(usize::try_from(count).ok()?)
}

impl Rows for TokenFile {
    fn count(&self) -> usize {
        // Checked where the file was opened, and counted where it was written.
        usize::try_from(self.rows).unwrap_or(usize::MAX)
    }

    fn row(&self, index: usize) -> Result<Tokens> {
        let (tokens, learn) = self.read(index, |file, [begin, end], count| {
            file.seek(SeekFrom::Start(begin))?;
            let mut bytes = Vec::new();
            file.take(end - begin).read_to_end(&mut bytes)?;
            if bytes.len() as u64 != end - begin {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (tokens, mask) = bytes.split_at(4 * count);
            let tokens = tokens.as_chunks().0.iter().map(|&token| u32::from_le_bytes(token));
            let learn = (0..count).map(|at| mask[at / 8] >> (at % 8) & 1 == 1);
            Ok((tokens.collect(), learn.collect()))
        })?;
        Tokens::masked(tokens, learn)
    }

    fn length(&self, index: usize) -> Result<usize> {
        self.read(index, |_, _, count| Ok(count))
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.path).field("rows", &self.rows).finish()
    }
}
