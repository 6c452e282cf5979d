//! How far a download is.

/// How far the download of one file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The file's name in the repository.
    pub file: &'a str,
    /// Bytes that are there, those of an earlier attempt included.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

impl<'a> Progress<'a> {
    pub(crate) const fn new(file: &'a str, done: u64, total: u64) -> Self {
        Self { file, done, total }
    }
}
