//! A coordinator on the disk.
//!
//! ```text
//! coordinator       the terms, the rounds so far, and what the open one begins with
//! update-ADDRESS    what that worker sent last
//! ```

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{
    Address, Bytes, Error, ErrorKind, Result, encode, file,
    message::{LocalUpdate, Signed},
};

use super::{Federation, FederationRecord, Matrices, coordinator::Standing};
use crate::{numbers, sealed};

const STANDING: &[u8; 16] = b"openledger.fed.1";
const UPDATE: &[u8; 16] = b"openledger.upd.1";
/// The largest file read: 64 GiB.
const MAX_BYTES: u64 = 64 << 30;

/// Where a coordinator keeps what it must not forget.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

/// A [`Standing`] as it is stored; the loss is measured again.
#[derive(BorshDeserialize, BorshSerialize)]
struct Stored {
    /// Terms and rounds, as JSON.
    record: Vec<u8>,
    matrices: Vec<u8>,
    velocity: Vec<u8>,
    away: Vec<[u8; 20]>,
    deadline: u64,
}

impl Folder {
    /// Makes it if it is not there.
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&path).map_err(|e| {
            let message = format!("cannot make `{}`", path.display());
            Error::new(ErrorKind::Unavailable, message).with_source(e).with_retryable(false)
        })?;
        Ok(Self(path))
    }

    /// Writes where the run stands, whole or not at all.
    pub(super) fn save(&self, federation: &Federation, standing: &Standing) -> Result<()> {
        let record =
            FederationRecord { federation: federation.clone(), rounds: standing.rounds.clone() };
        let stored = Stored {
            record: record.to_json(),
            matrices: standing.matrices.to_bytes().into(),
            velocity: numbers::to_bytes(&standing.velocity),
            away: standing.away.iter().map(|worker| worker.into_array()).collect(),
            deadline: standing.deadline,
        };
        file::write(self.0.join("coordinator"), &sealed::seal(STANDING, &encode(&stored)))
    }

    /// Reads where the run stands, if it has begun; `start` is what it began with.
    pub(super) fn standing(
        &self,
        federation: &Federation,
        start: &Matrices,
    ) -> Result<Option<Standing>> {
        let path = self.0.join("coordinator");
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let read = || -> Result<Standing> {
            let body = sealed::open(STANDING, "where a run stands", &bytes)?;
            let stored: Stored = decode(body)?;
            let FederationRecord { federation: terms, rounds } =
                FederationRecord::parse(&stored.record)?;
            let other = |what: &str| Error::new(ErrorKind::Conflict, format!("a run of {what}"));
            if terms != *federation {
                return Err(other("other terms"));
            }
            let matrices = start
                .parse_like(&stored.matrices)
                .map_err(|e| other("another model").with_source(e))?;
            let now = Matrices::digest(&stored.matrices);
            if rounds.first().map_or(now, |first| first.start)
                != Matrices::digest(&start.to_bytes())
            {
                return Err(other("another start"));
            }
            let chained = rounds.windows(2).all(|pair| pair[0].end == pair[1].start);
            if !chained || rounds.last().is_some_and(|last| last.end != now) {
                return Err(Error::corrupt("rounds that do not lead to the matrices"));
            }
            let velocity = match stored.velocity.is_empty() {
                true => Vec::new(),
                false => numbers::from_bytes(&stored.velocity, matrices.values().len())?,
            };
            let away: BTreeSet<Address> = stored.away.into_iter().map(Address::from).collect();
            let (loss, deadline) = (f64::INFINITY, stored.deadline);
            Ok(Standing { loss, matrices, velocity, away, rounds, deadline })
        };
        read().map(Some).map_err(|e| in_file(&path, e))
    }

    /// Writes an update, in the place of the same worker's before.
    pub(super) fn keep(&self, update: &Signed<LocalUpdate>, bytes: &Bytes) -> Result<()> {
        let body = encode(&(update, bytes.to_vec()));
        file::write(self.path(update.unverified().worker), &sealed::seal(UPDATE, &body))
    }

    /// Reads the last update of each worker who sent one.
    pub(super) fn updates(
        &self,
        federation: &Federation,
    ) -> Result<Vec<(Signed<LocalUpdate>, Bytes)>> {
        let mut updates = Vec::new();
        for &worker in &federation.workers {
            let path = self.path(worker);
            let Some(bytes) = read(&path)? else { continue };
            let update = sealed::open(UPDATE, "an update", &bytes).and_then(decode);
            let (update, bytes): (_, Vec<u8>) = update.map_err(|e| in_file(&path, e))?;
            updates.push((update, bytes.into()));
        }
        Ok(updates)
    }

    fn path(&self, worker: Address) -> PathBuf {
        self.0.join(format!("update-{worker:?}"))
    }
}

fn decode<T: BorshDeserialize>(body: &[u8]) -> Result<T> {
    borsh::from_slice(body).map_err(|e| Error::corrupt("what does not decode").with_source(e))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match file::read(path, MAX_BYTES) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

fn in_file(path: &Path, error: Error) -> Error {
    Error::new(error.kind(), format!("cannot use `{}`", path.display())).with_source(error)
}
