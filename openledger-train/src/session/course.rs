//! How a run went so far.

use borsh::{BorshDeserialize, BorshSerialize};

/// What happened in a run that decides how it goes on.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Course {
    /// The loss of each step.
    pub losses: Vec<f64>,
    /// Each evaluation, in order.
    pub evaluations: Vec<Evaluated>,
    /// What the run had learned at the best evaluation, a safetensors file.
    pub best_adapter: Option<Vec<u8>>,
    /// How long it took, interruptions not counted. It differs from one run to the next.
    pub seconds: f64,
}

/// An evaluation.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evaluated {
    /// Steps taken before.
    pub step: u64,
    /// The loss of the rows held out.
    pub loss: f64,
}

impl Course {
    /// Returns how many steps were taken.
    pub const fn step(&self) -> u64 {
        self.losses.len() as u64
    }

    /// Returns the evaluation with the smallest loss, the first if several have it.
    pub fn best(&self) -> Option<Evaluated> {
        self.evaluations.iter().copied().min_by(|a, b| a.loss.total_cmp(&b.loss))
    }

    /// Returns how many evaluations there were since the loss last fell by more than `least`.
    pub fn waited(&self, least: f64) -> usize {
        let mut reference = f64::INFINITY;
        let mut waited = 0;
        for evaluated in &self.evaluations {
            if evaluated.loss < reference - least {
                (reference, waited) = (evaluated.loss, 0);
            } else {
                waited += 1;
            }
        }
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(losses: &[f64]) -> Course {
        let evaluations =
            losses.iter().zip(0..).map(|(&loss, step)| Evaluated { step, loss }).collect();
        Course { evaluations, ..Course::default() }
    }

    #[test]
    fn waiting_begins_anew_with_each_real_improvement() {
        assert_eq!(course(&[3.0, 2.0, 1.0]).waited(0.0), 0);
        assert_eq!(course(&[3.0, 2.0, 2.0, 2.5]).waited(0.0), 2);
        assert_eq!(course(&[3.0, 2.9, 2.8]).waited(0.5), 2, "too little at a time");
        assert_eq!(course(&[3.0, 2.8, 2.4, 2.4]).waited(0.5), 1, "but it adds up");
    }

    #[test]
    fn the_best_is_the_first_of_the_smallest() {
        assert_eq!(course(&[3.0, 1.0, 2.0, 1.0]).best().unwrap().step, 1);
        assert_eq!(Course::default().best(), None);
    }
}
