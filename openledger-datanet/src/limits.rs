//! How much may come in.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Limits on files and contributions. A Datanet keeps those it was created with.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize,
)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one file or contribution.
    pub submission: u64,
    /// Bytes of one row.
    pub row: u64,
    /// Bytes of one contributor within a day.
    pub contributor_day: u64,
    /// Contributions of one contributor within a day.
    pub contributions_day: u64,
    /// Bytes of all contributors within a day.
    pub datanet_day: u64,
}

impl Default for Limits {
    /// 5 MB a submission, 256 KiB a row, 10 MB and 20 submissions a contributor and day, 10 MB a
    /// Datanet and day.
    fn default() -> Self {
        Self {
            submission: 5_000_000,
            row: 256 << 10,
            contributor_day: 10_000_000,
            contributions_day: 20,
            datanet_day: 10_000_000,
        }
    }
}

impl Limits {
    /// Returns this with another limit on one file or contribution.
    #[must_use]
    pub const fn with_submission(mut self, bytes: u64) -> Self {
        self.submission = bytes;
        self
    }

    /// Returns this with other limits on a day's bytes: of one contributor, and of all.
    #[must_use]
    pub const fn with_day(mut self, contributor: u64, datanet: u64) -> Self {
        (self.contributor_day, self.datanet_day) = (contributor, datanet);
        self
    }

    pub(crate) fn check_submission(&self, what: &str, bytes: u64) -> Result<()> {
        check(what, bytes, self.submission, "bytes a submission may have")
    }

    /// Checks a day's totals, the new contribution included.
    pub(crate) fn check_day(&self, by_contributor: Totals, by_all: u64) -> Result<()> {
        let Totals { bytes, contributions } = by_contributor;
        check("today's rows of this contributor", bytes, self.contributor_day, "bytes a day")?;
        let most = self.contributions_day;
        check(
            "today's contributions of this contributor",
            contributions,
            most,
            "contributions a day",
        )?;
        check("today's rows of the Datanet", by_all, self.datanet_day, "bytes a day")
    }
}

/// What one contributor sent within a day.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bytes: u64,
    pub(crate) contributions: u64,
}

fn check(what: &str, amount: u64, limit: u64, unit: &str) -> Result<()> {
    if amount <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Limit, format!("{what}: {amount}, over the {limit} {unit}")))
}
