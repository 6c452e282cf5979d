//! Who does what in a deployment, and how long things take.

use openledger_core::{Address, Amount, U256};

const DAY: u64 = 24 * 3_600;

/// Who does what, and how long things take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeployOptions {
    /// Sends the transactions and pays for them. Until the last of them it says who may do what; after
    /// it, it has what other fields name it for and nothing else.
    pub deployer: Address,
    /// Holds all OPEN at first, and gets the platform's part of fees and what slashes take.
    pub treasury: Address,
    /// Gets the stakers' part of fees.
    pub staking_pool: Address,
    /// Log batches of receipts and submit roots of claims, which say who is paid what.
    pub nodes: Vec<Address>,
    /// May pause, and veto roots, slashes and proposals that are not in force yet; nothing else.
    pub guardian: Address,
    /// Seconds between a root's submission and its activation.
    pub activation_delay: u64,
    /// Seconds between the announcement of a withdrawal from escrow and the withdrawal.
    pub withdrawal_delay: u64,
    /// Seconds in which a batch of receipts can be challenged before it is settled.
    pub challenge_window: u64,
    /// How governance votes.
    pub governance: GovernancePreset,
    /// How disputes go.
    pub disputes: DisputeTerms,
}

impl DeployOptions {
    /// One account for everything: `deployer` holds all OPEN, gets the platform's and the stakers'
    /// parts of fees, and is the guardian and the only node; all other power is governance's. A day
    /// for each delay.
    ///
    /// That is for trying things out. Where others use the contracts, name them:
    /// [`with_treasury`](Self::with_treasury), [`with_staking_pool`](Self::with_staking_pool),
    /// [`with_guardian`](Self::with_guardian) and [`with_nodes`](Self::with_nodes); a deployer that
    /// is none of these has nothing afterwards.
    ///
    /// # Examples
    /// ```
    /// use openledger_chain::{DeployOptions, EvmChain, Genesis, Power, embedded};
    /// use openledger_core::{Address, B256, Key};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let key = Key::from_bytes(B256::repeat_byte(7))?;
    /// let me = key.address();
    /// let provider = embedded(Genesis::default(), &[key])?;
    ///
    /// let alone = EvmChain::deploy(provider.clone(), DeployOptions::new(me)).await?.chain;
    /// assert_eq!(alone.powers_of(me).await?, [Power::Guardian, Power::Updater]);
    ///
    /// let [treasury, pool, guardian, node] = [1, 2, 3, 4].map(Address::repeat_byte);
    /// let options = DeployOptions::new(me)
    ///     .with_treasury(treasury)
    ///     .with_staking_pool(pool)
    ///     .with_guardian(guardian)
    ///     .with_nodes([node]);
    /// let shared = EvmChain::deploy(provider, options).await?.chain;
    /// assert!(shared.powers_of(me).await?.is_empty());
    /// assert_eq!(shared.powers_of(guardian).await?, [Power::Guardian]);
    /// # Ok::<(), openledger_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn new(deployer: Address) -> Self {
        Self {
            deployer,
            treasury: deployer,
            staking_pool: deployer,
            nodes: vec![deployer],
            guardian: deployer,
            activation_delay: DAY,
            withdrawal_delay: DAY,
            challenge_window: DAY,
            governance: GovernancePreset::current(),
            disputes: DisputeTerms::default(),
        }
    }

    /// Returns this with another treasury.
    #[must_use]
    pub fn with_treasury(self, treasury: Address) -> Self {
        Self { treasury, ..self }
    }

    /// Returns this with another account for the stakers' part of fees.
    #[must_use]
    pub fn with_staking_pool(self, staking_pool: Address) -> Self {
        Self { staking_pool, ..self }
    }

    /// Returns this with other nodes.
    #[must_use]
    pub fn with_nodes(self, nodes: impl IntoIterator<Item = Address>) -> Self {
        Self { nodes: nodes.into_iter().collect(), ..self }
    }

    /// Returns this with another guardian.
    #[must_use]
    pub fn with_guardian(self, guardian: Address) -> Self {
        Self { guardian, ..self }
    }

    /// Returns this with other delays, in seconds: of roots, of withdrawals, of challenges.
    #[must_use]
    pub fn with_delays(self, activation: u64, withdrawal: u64, challenge: u64) -> Self {
        Self {
            activation_delay: activation,
            withdrawal_delay: withdrawal,
            challenge_window: challenge,
            ..self
        }
    }

    /// Returns this with another way of governance.
    #[must_use]
    pub fn with_governance(self, governance: GovernancePreset) -> Self {
        Self { governance, ..self }
    }

    /// Returns this with other terms of disputes.
    #[must_use]
    pub fn with_disputes(self, disputes: DisputeTerms) -> Self {
        Self { disputes, ..self }
    }
}

/// How governance votes, on chain and off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GovernancePreset {
    /// Votes that a proposer needs.
    pub threshold: Amount,
    /// Seconds from a proposal to the snapshot of votes.
    pub voting_delay: u64,
    /// Seconds from the snapshot to the deadline.
    pub voting_period: u64,
    /// Seconds that are left to vote, at least, once the quorum is reached.
    pub extension: u64,
    /// For and abstaining votes a proposal needs, in basis points of the supply.
    pub quorum_bps: u16,
    /// Seconds that what is decided waits in the timelock.
    pub timelock: u64,
}

impl GovernancePreset {
    /// As OpenLedger votes now: 10,000 GOPEN to propose, a day's delay, a week to vote, a quorum of 5 %,
    /// a week in the timelock.
    pub fn current() -> Self {
        Self {
            threshold: open(10_000),
            voting_delay: DAY,
            voting_period: 7 * DAY,
            extension: DAY,
            quorum_bps: 500,
            timelock: 7 * DAY,
        }
    }

    /// As OpenLedger voted first: 100 GOPEN to propose, a day's delay, two weeks to vote, a quorum of
    /// 25 %, a day in the timelock.
    pub fn genesis() -> Self {
        Self {
            threshold: open(100),
            voting_delay: DAY,
            voting_period: 14 * DAY,
            extension: DAY,
            quorum_bps: 2_500,
            timelock: DAY,
        }
    }
}

/// How a dispute goes and what it costs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DisputeTerms {
    /// What each side puts down.
    pub bond: Amount,
    /// Seconds each step takes: defence, commit, reveal, appeal, ruling.
    pub windows: [u64; 5],
    /// Stake that must vote, in basis points of all validators'.
    pub quorum_bps: u16,
    /// What an accused who loses is slashed, in basis points of its stake.
    pub slash_bps: u16,
    /// Penalty points for an accused who loses.
    pub penalty: u64,
}

impl Default for DisputeTerms {
    /// A bond of 100 OPEN, two days a step, a quorum of 20 %, a slash of 10 %, ten points; eighteen
    /// days for governance, which is longer than a vote with its delays takes and leaves the whole
    /// case shorter than the cooldown of stake.
    fn default() -> Self {
        Self {
            bond: open(100),
            windows: [2 * DAY, 2 * DAY, 2 * DAY, 2 * DAY, 18 * DAY],
            quorum_bps: 2_000,
            slash_bps: 1_000,
            penalty: 10,
        }
    }
}

impl DisputeTerms {
    /// Returns this with another bond.
    #[must_use]
    pub const fn with_bond(mut self, bond: Amount) -> Self {
        self.bond = bond;
        self
    }

    /// Returns this with other windows, in seconds: defence, commit, reveal, appeal, ruling.
    #[must_use]
    pub const fn with_windows(mut self, windows: [u64; 5]) -> Self {
        self.windows = windows;
        self
    }
}

pub(super) fn open(amount: u64) -> Amount {
    Amount::new(Amount::OPEN.units() * U256::from(amount))
}
