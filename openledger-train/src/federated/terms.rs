//! What all parties of a run agree on, and what stands at the door of a round.

use std::{collections::BTreeSet, sync::Arc};

use openledger_core::{
    Address, B256, Bytes, Error, ErrorKind, Result,
    message::{Domain, LocalUpdate, Signed},
};
use serde::{Deserialize, Serialize};

use super::{Combine, Outer};

/// The terms of a decentralised run, fixed before it begins.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Federation {
    /// Names the run; no two share a name.
    pub run: B256,
    /// Where signatures count.
    pub domain: Domain,
    /// Who may take part.
    pub workers: BTreeSet<Address>,
    /// Rounds.
    pub rounds: u64,
    /// Steps every worker takes in a round.
    pub steps: u64,
    /// Seconds from the begin of a round to its deadline.
    pub seconds: u64,
    /// How many updates close a round at its deadline; with fewer it goes on for as long again.
    pub quorum: usize,
    /// What stands against liars.
    pub defence: Defence,
    /// What the combined update does.
    pub outer: Outer,
}

impl Federation {
    /// Makes terms for `workers`: ten rounds of 20 steps, ten minutes each, a quorum of two thirds, averaging.
    pub fn new(run: B256, domain: Domain, workers: impl IntoIterator<Item = Address>) -> Self {
        let workers: BTreeSet<Address> = workers.into_iter().collect();
        Self {
            run,
            domain,
            rounds: 10,
            steps: 20,
            seconds: 600,
            quorum: (2 * workers.len()).div_ceil(3),
            workers,
            defence: Defence::default(),
            outer: Outer::default(),
        }
    }

    /// Returns this with another number of rounds, and of steps in each.
    #[must_use]
    pub const fn with_rounds(mut self, rounds: u64, steps: u64) -> Self {
        (self.rounds, self.steps) = (rounds, steps);
        self
    }

    /// Returns this with another length of rounds, and the updates that close one.
    #[must_use]
    pub const fn with_deadline(mut self, seconds: u64, quorum: usize) -> Self {
        (self.seconds, self.quorum) = (seconds, quorum);
        self
    }

    /// Returns this with other defences.
    #[must_use]
    pub const fn with_defence(mut self, defence: Defence) -> Self {
        self.defence = defence;
        self
    }

    /// Returns this with another outer optimiser.
    #[must_use]
    pub const fn with_outer(mut self, outer: Outer) -> Self {
        self.outer = outer;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let Self { rounds, steps, quorum, workers, defence, .. } = self;
        if *rounds == 0 || *steps == 0 || self.seconds == 0 {
            return Err(Error::invalid("a run without rounds, steps or time"));
        }
        if *quorum == 0 || *quorum > workers.len() {
            let message = format!("a quorum of {quorum} of {} workers", workers.len());
            return Err(Error::invalid(message));
        }
        let bounds = [defence.norm, defence.idle, defence.weight, defence.worsening];
        if bounds.iter().any(|bound| bound.is_nan() || *bound < 0.0) || defence.norm < 1.0 {
            return Err(Error::invalid(format!("{defence:?}: a bound that nobody can keep")));
        }
        Ok(())
    }
}

/// What an update has to pass, and how those that pass become one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Defence {
    /// The most label tokens of one step.
    pub labels: u64,
    /// The largest norm, as a multiple of the median of the round. Of fewer than three updates norms say
    /// nothing: the larger may be the lie, or the smaller.
    pub norm: f64,
    /// The smallest norm, as a part of that median: below it, nobody worked.
    pub idle: f64,
    /// By what part of itself an update may raise the held-out loss: that of the round's start, or the median of
    /// the round's updates where that is larger. The combined update is held to that of the start alone.
    pub worsening: f64,
    /// The largest weight, as a multiple of the median weight: more is cut to that.
    pub weight: f64,
    /// The rule that combines.
    pub combine: Combine,
}

impl Default for Defence {
    /// A million tokens a step, three times the median norm and a tenth of it, a hundredth of the held-out
    /// loss, twice the median weight, the mean.
    fn default() -> Self {
        Self {
            labels: 1_000_000,
            norm: 3.0,
            idle: 0.1,
            worsening: 0.01,
            weight: 2.0,
            combine: Combine::default(),
        }
    }
}

impl Defence {
    /// Returns this with another rule.
    #[must_use]
    pub const fn with_combine(mut self, combine: Combine) -> Self {
        self.combine = combine;
        self
    }

    /// Returns this with other bounds on norms, as multiples of the median.
    #[must_use]
    pub const fn with_norms(mut self, idle: f64, norm: f64) -> Self {
        (self.idle, self.norm) = (idle, norm);
        self
    }

    /// Returns this with another bound on the held-out loss.
    #[must_use]
    pub const fn with_worsening(mut self, worsening: f64) -> Self {
        self.worsening = worsening;
        self
    }

    /// Returns this with other bounds on what workers claim: label tokens of a step, and weight as a multiple
    /// of the median.
    #[must_use]
    pub const fn with_claims(mut self, labels: u64, weight: f64) -> Self {
        (self.labels, self.weight) = (labels, weight);
        self
    }
}

/// Where a run stands: what a worker must know to take part.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Round {
    /// The run.
    pub run: B256,
    /// The round, from 0; the number of rounds once all are over.
    pub number: u64,
    /// Rounds in all.
    pub rounds: u64,
    /// Steps to take.
    pub steps: u64,
    /// Digest of the matrices to start from.
    pub start: B256,
    /// Bytes of their file, and of an update's.
    pub size: usize,
    /// Unix time at which the round closes, if enough updates are there.
    pub deadline: u64,
}

impl Round {
    /// Returns whether all rounds are over: the matrices are the result.
    pub const fn is_over(&self) -> bool {
        self.number >= self.rounds
    }
}

/// A round's door: decides from a signature and claims alone who may send bytes.
#[derive(Clone, Debug)]
pub struct Gate {
    federation: Arc<Federation>,
    round: Round,
    matrices: Bytes,
}

impl Gate {
    pub(super) const fn new(federation: Arc<Federation>, round: Round, matrices: Bytes) -> Self {
        Self { federation, round, matrices }
    }

    /// Returns where the run stands.
    pub const fn round(&self) -> &Round {
        &self.round
    }

    /// Returns the file of the round's matrices.
    pub const fn matrices(&self) -> &Bytes {
        &self.matrices
    }

    /// Checks signature, sender and claims.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] for a signature that does not count or somebody who is not invited;
    /// [`ErrorKind::Conflict`] for another round or start; [`ErrorKind::Invalid`] for another run or for
    /// claims that pass what a round allows.
    pub fn check(&self, update: &Signed<LocalUpdate>, now: u64) -> Result<()> {
        let (said, round) = (update.unverified(), &self.round);
        if !self.federation.workers.contains(&said.worker) {
            let message = format!("{} is not a worker of this run", said.worker);
            return Err(Error::new(ErrorKind::Denied, message));
        }
        update.verify_reusable(&self.federation.domain, now)?;
        if said.run != round.run {
            return Err(Error::invalid(format!(
                "an update of run {}, not {}",
                said.run, round.run
            )));
        }
        if (said.round, said.start) != (round.number, round.start) || round.is_over() {
            let message = match round.is_over() {
                true => "all rounds are over".to_owned(),
                false => format!("an update of round {}, it is round {}", said.round, round.number),
            };
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let most = said.steps.saturating_mul(self.federation.defence.labels);
        if !(1..=round.steps).contains(&said.steps) || !(1..=most).contains(&said.labels) {
            return Err(Error::invalid(format!(
                "{} label tokens in {} steps, where a round has {} steps of {} at most",
                said.labels, said.steps, round.steps, self.federation.defence.labels
            )));
        }
        Ok(())
    }
}
