//! How long to wait.

use std::time::Duration;

/// How long a transaction is waited for, and when it counts.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Patience {
    /// How often a receipt is looked for without any progress.
    pub looks: u32,
    /// The pause after the first look; each is twice the last.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// How many blocks must hold the transaction or stand on the one that does.
    pub confirmations: u64,
    /// How often the fee is raised by an eighth when the node calls it too low.
    pub raises: u32,
}

impl Default for Patience {
    /// Two minutes, one confirmation, up to ten times the fee.
    fn default() -> Self {
        Self {
            looks: 128,
            first_pause: Duration::from_millis(2),
            longest_pause: Duration::from_secs(1),
            confirmations: 1,
            raises: 20,
        }
    }
}

impl Patience {
    /// Returns this with another number of looks.
    #[must_use]
    pub const fn with_looks(mut self, looks: u32) -> Self {
        self.looks = looks;
        self
    }

    /// Returns this with other pauses.
    #[must_use]
    pub const fn with_pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.first_pause = first;
        self.longest_pause = longest;
        self
    }

    /// Returns this with another number of confirmations: one is inclusion; a chain that may drop
    /// its last ten blocks needs eleven.
    #[must_use]
    pub const fn with_confirmations(mut self, confirmations: u64) -> Self {
        self.confirmations = confirmations;
        self
    }

    /// Returns this with another number of raises of the fee.
    #[must_use]
    pub const fn with_raises(mut self, raises: u32) -> Self {
        self.raises = raises;
        self
    }
}
