//! One who trains on rows of its own.

use openledger_core::{
    Bytes, Error, Key, Result, U256, digest,
    message::{Domain, LocalUpdate, Signed},
};

use super::{Exchange, Matrices, Round, exchange::check_matrices};
use crate::{Plan, Replace, Rows};

/// How long after a round's deadline its updates may still be taken: a round without a quorum goes on.
const GRACE: u64 = 7 * 24 * 3600;

/// Takes part in a run with a key, rows, and a [`Run`](crate::Run) whose optimiser lives as long as the worker.
///
/// A worker that was away takes the newest matrices and goes on from there; its optimiser's state is
/// whatever it kept. It finds its place in its rows by the number of the round.
#[derive(Debug)]
pub struct Worker<R> {
    key: Key,
    domain: Domain,
    run: Box<dyn Replace>,
    rows: R,
    plan: Plan,
    /// What was made for the newest round seen, until it has arrived.
    made: Option<(Round, Option<Made>)>,
}

type Made = (Signed<LocalUpdate>, Bytes);

/// What a [`Worker::turn`] came to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Turn {
    /// Trained for this round and sent the update.
    Sent(u64),
    /// This round's update is sent; others are still at work. Look again later.
    Waiting(u64),
    /// All rounds are over: these are the matrices, an `adapter_model.safetensors`.
    Over(Bytes),
}

impl<R: Rows> Worker<R> {
    /// Makes a worker that trains `run` on `rows`.
    ///
    /// Of `plan` the size of batches, the step sizes, clipping and the order of rows count; its passes are
    /// as many as the rounds need, and its schedule runs over all steps of all rounds.
    pub const fn new(key: Key, domain: Domain, run: Box<dyn Replace>, rows: R, plan: Plan) -> Self {
        Self { key, domain, run, rows, plan, made: None }
    }

    /// Looks where the run stands and does what is to be done: train and send, send again what did not
    /// arrive, or nothing. It computes for as long as a round's steps take.
    ///
    /// # Errors
    /// Those of the [`Exchange`] and of [`train`](Self::train); after one, call it again later if
    /// [`is_retryable`](Error::is_retryable), or if the kind is
    /// [`Conflict`](openledger_core::ErrorKind::Conflict) or
    /// [`NotFound`](openledger_core::ErrorKind::NotFound): then the round closed meanwhile.
    pub async fn turn(&mut self, exchange: &dyn Exchange) -> Result<Turn> {
        let round = exchange.round().await?;
        let fresh = !matches!(&self.made, Some((seen, _)) if same(seen, &round));
        if round.is_over() || fresh {
            let matrices = exchange.matrices(&round).await?;
            check_matrices(&round, &matrices)?;
            if round.is_over() {
                return Ok(Turn::Over(matrices));
            }
            let made = self.train(&round, &matrices)?;
            self.made = Some((round.clone(), Some(made)));
        }
        let Some((_, made)) = &mut self.made else { return Ok(Turn::Waiting(round.number)) };
        let Some((signed, bytes)) = made.clone() else { return Ok(Turn::Waiting(round.number)) };
        exchange.submit(signed, bytes).await?;
        *made = None;
        Ok(Turn::Sent(round.number))
    }

    /// Takes the steps of `round` from `matrices` and returns the signed update.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without rows or with a batch of none;
    /// those of [`Replace::replace`] and [`Run::step`](crate::Run::step).
    pub fn train(&mut self, round: &Round, matrices: &[u8]) -> Result<Made> {
        let count = self.rows.count();
        if count == 0 || self.plan.batch == 0 {
            let message = format!("{count} rows in batches of {}", self.plan.batch);
            return Err(Error::invalid(message));
        }
        let start = Matrices::parse(matrices)?;
        self.run.replace(matrices)?;
        let whole = |steps: u64| {
            usize::try_from(steps).map_err(|_| Error::invalid(format!("{steps} steps")))
        };
        let all = whole(round.rounds.saturating_mul(round.steps))?;
        let first = whole(round.number.saturating_mul(round.steps))?;
        let passes = all.div_ceil(count.div_ceil(self.plan.batch));
        let batches = self.plan.with_epochs(passes);
        let batches = batches.batches(count).enumerate().skip(first);
        let (mut steps, mut labels) = (0, 0);
        for (index, batch) in batches.take(whole(round.steps)?) {
            let rows = batch.iter().map(|&row| self.rows.row(row)).collect::<Result<Vec<_>>>()?;
            let rate = self.plan.rate(index, all);
            let done = self.run.step(&rows.iter().collect::<Vec<_>>(), rate, self.plan.clip)?;
            (steps, labels) = (steps + 1, labels + done.labels as u64);
        }
        let update = start.parse_like(&self.run.snapshot()?)?.since(&start).to_bytes();
        let message = LocalUpdate {
            run: round.run,
            round: round.number,
            start: round.start,
            update: Matrices::digest(&update),
            steps,
            labels,
            worker: self.key.address(),
            nonce: U256::from_be_bytes(
                digest("openledger.local-update.nonce", &(round.run, round.number)).0,
            ),
            deadline: round.deadline.saturating_add(GRACE),
        };
        Ok((Signed::sign(message, self.domain, &self.key), update))
    }
}

/// Whether two sights of the run are of one round; its deadline may have moved.
fn same(one: &Round, other: &Round) -> bool {
    (one.run, one.number, one.start) == (other.run, other.number, other.start)
}
