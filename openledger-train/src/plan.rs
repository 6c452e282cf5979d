//! How long, how fast and in which order.

use openledger_core::Result;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

use crate::{Rows, pack, rows::shuffled};

/// The course of a training run. It goes into the training record as it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Plan {
    /// Passes over all rows.
    pub epochs: usize,
    /// Rows in a step.
    pub batch: usize,
    /// Tokens in a step, at most: steps are [packed](crate::pack()) and take as many rows as fit, and
    /// [`batch`](Self::batch) says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_step: Option<usize>,
    /// The largest step size.
    pub rate: f64,
    /// Steps over which the step size rises from nothing.
    pub warmup: usize,
    /// What the step size does after that.
    pub schedule: Schedule,
    /// The largest norm of a step's gradient; larger ones are scaled down to it.
    pub clip: Option<f64>,
    /// Decides the order of rows.
    pub seed: u64,
}

/// What the step size does after the warm-up.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls evenly to nothing.
    Linear,
    /// Falls to nothing along half a cosine.
    Cosine,
    /// Falls along half a cosine to `least`, a step size.
    CosineTo {
        /// The last step size.
        least: f64,
    },
    /// Falls to nothing along half a cosine, and begins again.
    CosineRestarts {
        /// How often it falls.
        cycles: usize,
    },
    /// Falls to `least`, a step size, as a power of what is left.
    Polynomial {
        /// The power; one for an even fall.
        power: f64,
        /// The last step size.
        least: f64,
    },
    /// Falls as one over the root of the number of steps, the longer the warm-up the more slowly.
    InverseSqrt,
    /// Stays, and falls to nothing along half a cosine in the last steps.
    StableDecay {
        /// How many steps it falls.
        decay: usize,
    },
}

impl Default for Plan {
    /// Two passes in steps of eight rows at 1e-3, warmed up over ten steps, then constant.
    fn default() -> Self {
        Self {
            epochs: 2,
            batch: 8,
            tokens_per_step: None,
            rate: 1e-3,
            warmup: 10,
            schedule: Schedule::Constant,
            clip: Some(1.0),
            seed: 0,
        }
    }
}

impl Plan {
    /// Returns this with another number of passes.
    #[must_use]
    pub const fn with_epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Returns this with another number of rows in a step.
    #[must_use]
    pub const fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Returns this with steps of at most so many tokens instead of a number of rows.
    #[must_use]
    pub const fn with_tokens_per_step(mut self, tokens: Option<usize>) -> Self {
        self.tokens_per_step = tokens;
        self
    }

    /// Returns this with another step size, warm-up and schedule.
    #[must_use]
    pub const fn with_rate(mut self, rate: f64, warmup: usize, schedule: Schedule) -> Self {
        (self.rate, self.warmup, self.schedule) = (rate, warmup, schedule);
        self
    }

    /// Returns this with another limit on the gradient's norm.
    #[must_use]
    pub const fn with_clip(mut self, clip: Option<f64>) -> Self {
        self.clip = clip;
        self
    }

    /// Returns this with another order of rows.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Returns the number of steps for `rows` in batches; where steps are packed it depends on the rows,
    /// see [`steps_of`](Self::steps_of).
    pub const fn steps(&self, rows: usize) -> usize {
        self.epochs * rows.div_ceil(self.batch)
    }

    /// Returns the number of steps for these rows, in batches or packed.
    ///
    /// # Errors
    /// Those of [`Rows::length`].
    pub fn steps_of(&self, rows: &(impl Rows + ?Sized)) -> Result<usize> {
        Ok(self.order(rows)?.len())
    }

    /// Returns the step size of step `step` (from 0) of `steps`, as transformers computes it.
    pub fn rate(&self, step: usize, steps: usize) -> f64 {
        if step < self.warmup {
            return self.rate * step as f64 / self.warmup as f64;
        }
        let (step, left) = (step - self.warmup, steps.saturating_sub(self.warmup).max(1));
        let done = step as f64 / left as f64;
        let cosine = |done: f64| 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done));
        // Where a schedule ends at a step size, how much of the largest that is.
        let part = |least: f64| least / self.rate;
        self.rate
            * match self.schedule {
                Schedule::Constant => 1.0,
                Schedule::Linear => 1.0 - done,
                Schedule::Cosine => cosine(done),
                Schedule::CosineTo { least } => cosine(done) * (1.0 - part(least)) + part(least),
                Schedule::CosineRestarts { cycles } => cosine((cycles as f64 * done).fract()),
                Schedule::Polynomial { power, least } => {
                    libm::pow(1.0 - done, power) * (1.0 - part(least)) + part(least)
                }
                Schedule::InverseSqrt => {
                    let scale = if self.warmup == 0 { 10_000 } else { self.warmup };
                    1.0 / ((step + scale) as f64 / scale as f64).sqrt()
                }
                Schedule::StableDecay { decay } => {
                    match step.checked_sub(left.saturating_sub(decay)) {
                        Some(falling) => cosine(falling as f64 / decay.max(1) as f64),
                        None => 1.0,
                    }
                }
            }
    }

    /// Returns the rows of each step: every pass in an order of its own.
    pub(crate) fn batches(&self, rows: usize) -> impl Iterator<Item = Vec<usize>> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let batch = self.batch;
        (0..self.epochs).flat_map(move |_| {
            let order = shuffled(rows, &mut random);
            order.chunks(batch).map(<[usize]>::to_vec).collect::<Vec<_>>()
        })
    }

    /// Returns the rows of each step, in batches or packed.
    pub(crate) fn order(&self, rows: &(impl Rows + ?Sized)) -> Result<Vec<Vec<usize>>> {
        self.order_by(rows.count(), |row| rows.length(row))
    }

    /// [`order`](Self::order) of anything that is counted and has lengths.
    pub(crate) fn order_by(
        &self,
        count: usize,
        length: impl Fn(usize) -> Result<usize>,
    ) -> Result<Vec<Vec<usize>>> {
        Ok(match self.tokens_per_step {
            Some(budget) => {
                let lengths = (0..count).map(length).collect::<Result<Vec<_>>>()?;
                self.packed(&lengths, budget)
            }
            None => self.batches(count).collect(),
        })
    }

    /// Returns the rows of each step where rows of `lengths` tokens are packed into steps of at most
    /// `budget`: every pass shuffles the rows, packs a window of them at a time, so that a step mixes
    /// rows as chance has it, and shuffles the steps.
    fn packed(&self, lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut steps = Vec::new();
        for _ in 0..self.epochs {
            let order = shuffled(lengths.len(), &mut random);
            let mut pass = Vec::new();
            for window in order.chunks(WINDOW) {
                let own: Vec<usize> = window.iter().map(|&row| lengths[row]).collect();
                let groups = pack(&own, budget).into_iter();
                pass.extend(groups.map(|group| -> Vec<usize> {
                    group.into_iter().map(|place| window[place]).collect()
                }));
            }
            let order = shuffled(pass.len(), &mut random);
            steps.extend(order.into_iter().map(|step| std::mem::take(&mut pass[step])));
        }
        steps
    }
}

/// Rows packed together: enough that steps fill, few enough that they stay mixed.
const WINDOW: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_takes_every_row_once_in_another_order() {
        let plan = Plan::default().with_epochs(2).with_batch(3);
        let batches: Vec<Vec<usize>> = plan.batches(10).collect();
        assert_eq!(batches.len(), plan.steps(10));
        let passes = batches.concat();
        let (first, second) = passes.split_at(10);
        assert_ne!(first, second);
        for pass in [first, second] {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(plan.with_seed(1).batches(10).collect::<Vec<_>>().concat(), passes);
    }

    #[test]
    fn packed_steps_take_every_row_once_a_pass_and_are_nearly_full() {
        let lengths: Vec<usize> = (0..500).map(|row| 10 + row * 7919 % 200).collect();
        let plan = Plan::default().with_epochs(2);
        let steps = plan.packed(&lengths, 1024);
        let mut rows = steps.concat();
        rows.sort_unstable();
        assert_eq!(rows, (0..500).flat_map(|row| [row, row]).collect::<Vec<_>>());
        let tokens = |step: &Vec<usize>| step.iter().map(|&row| lengths[row]).sum::<usize>();
        assert!(steps.iter().all(|step| tokens(step) <= 1024));
        assert!(crate::filled(&steps, &lengths, 1024) > 0.97);
        assert_eq!(steps, plan.packed(&lengths, 1024));
        assert_ne!(steps, plan.with_seed(1).packed(&lengths, 1024));
    }

    #[test]
    fn schedules_rise_and_fall_as_transformers_has_them() {
        let plan = |schedule| Plan::default().with_rate(2.0, 4, schedule);
        assert_eq!(
            [0, 1, 4, 9].map(|s| plan(Schedule::Constant).rate(s, 10)),
            [0.0, 0.5, 2.0, 2.0]
        );
        assert_eq!([4, 7, 10].map(|s| plan(Schedule::Linear).rate(s, 10)), [2.0, 1.0, 0.0]);
        let cosine = [4, 7, 10].map(|s| plan(Schedule::Cosine).rate(s, 10));
        assert!((cosine[1] - 1.0).abs() < 1e-12 && cosine[0] == 2.0 && cosine[2].abs() < 1e-12);
    }
}
