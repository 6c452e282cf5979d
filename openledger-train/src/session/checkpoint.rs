//! A run put aside.

use std::path::Path;

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{B256, Error, Result, encode, file};

use super::{Course, Lesson};
use crate::{TrainingConfig, sealed};

/// The first bytes of a checkpoint: what it is, and in which version.
const MAGIC: &[u8; 16] = b"openledger.run.1";
/// The largest checkpoint read: 64 GiB.
const MAX_BYTES: u64 = 64 << 30;

/// Everything that a run goes on from. Which rows come next follows from the configuration and how
/// many steps were taken.
///
/// The file is sixteen bytes that say what it is, BLAKE3 of the rest, and the rest in Borsh.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Which run it is of.
    pub id: RunId,
    /// How it went.
    pub course: Course,
    /// The state of what learns, see [`Resume`](crate::Resume).
    pub state: Vec<u8>,
}

/// What makes a run the same run.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RunId {
    /// The base model.
    pub model: B256,
    /// The digest of the configuration, without the paths of files and without when to save.
    pub config: B256,
    /// The digest of all rows.
    pub rows: B256,
}

impl RunId {
    pub(super) fn new(
        model: openledger_core::ModelId,
        config: &TrainingConfig,
        lesson: &(impl Lesson + ?Sized),
    ) -> Result<Self> {
        Ok(Self { model: model.into(), config: config.digest(), rows: lesson.digest()? })
    }

    /// Checks that `other` is the same run.
    pub(super) fn check(&self, other: &Self) -> Result<()> {
        let what = [
            (self.model == other.model, "another base model"),
            (self.config == other.config, "another configuration"),
            (self.rows == other.rows, "other rows"),
        ];
        match what.iter().find(|(same, _)| !same) {
            None => Ok(()),
            Some((_, what)) => Err(Error::invalid(format!(
                "the checkpoint is of a run with {what}: train elsewhere, or as it was begun"
            ))),
        }
    }
}

impl Checkpoint {
    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        Self::seal(&encode(self))
    }

    /// Puts in front of a checkpoint's body what makes it a file, for fuzzing.
    #[doc(hidden)]
    pub fn seal(body: &[u8]) -> Vec<u8> {
        sealed::seal(MAGIC, body)
    }

    /// Reads the bytes of the file.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if they are not a whole checkpoint
    /// of this version.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let body = sealed::open(MAGIC, "a checkpoint", bytes)?;
        borsh::from_slice(body)
            .map_err(|e| Error::corrupt("a checkpoint that does not decode").with_source(e))
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Those of [`file::read`] and [`parse`](Self::parse), naming the path.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&file::read(path, MAX_BYTES)?).map_err(|e| {
            Error::new(e.kind(), format!("cannot use `{}`", path.display())).with_source(e)
        })
    }

    /// Writes the file at `path`, whole or not at all.
    ///
    /// # Errors
    /// Those of [`file::write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        file::write(path, &self.to_bytes())
    }
}
