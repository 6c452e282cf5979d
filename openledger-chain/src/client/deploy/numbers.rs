//! The numbers of the options in the widths of the contracts.

use alloy::primitives::aliases::{U40, U48, U96};
use openledger_core::Result;

use super::{
    super::{narrow::fit, roles::to_u128},
    DeployOptions,
};

/// What of the options a contract has fewer bits for. Made before the first transaction, so that
/// nothing is half deployed because of a number that is too large.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) voting_delay: U40,
    pub(super) voting_period: u32,
    pub(super) extension: U48,
    pub(super) activation_delay: U40,
    pub(super) withdrawal_delay: U40,
    pub(super) challenge_window: U40,
    /// Of disputes: defence, commit, reveal, appeal, ruling.
    pub(super) windows: [U40; 5],
    /// Of disputes.
    pub(super) bond: U96,
}

impl Numbers {
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid), naming the number and what it
    /// may be at the most.
    pub(super) fn of(options: &DeployOptions) -> Result<Self> {
        let (governance, disputes) = (&options.governance, &options.disputes);
        let window = |window| fit(window, "a window of disputes");
        let [defence, commit, reveal, appeal, ruling] = disputes.windows;
        Ok(Self {
            voting_delay: fit(governance.voting_delay, "a voting delay")?,
            voting_period: fit::<32, 1>(governance.voting_period, "a voting period")?.to(),
            extension: fit(governance.extension, "an extension of votes")?,
            activation_delay: fit(options.activation_delay, "an activation delay")?,
            withdrawal_delay: fit(options.withdrawal_delay, "a withdrawal delay")?,
            challenge_window: fit(options.challenge_window, "a challenge window")?,
            windows: [
                window(defence)?,
                window(commit)?,
                window(reveal)?,
                window(appeal)?,
                window(ruling)?,
            ],
            bond: fit(to_u128(disputes.bond)?, "a bond of disputes")?,
        })
    }
}
