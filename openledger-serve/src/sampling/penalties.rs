//! What repeats itself becomes less likely.

use std::collections::HashMap;

use super::Sampling;

/// How often tokens came, and what that costs them.
#[derive(Debug)]
pub(super) struct Penalties {
    repetition: f32,
    frequency: f32,
    presence: f32,
    /// How often each token is in the answer; 0 if it is in the prompt alone.
    seen: HashMap<u32, u32>,
}

impl Penalties {
    pub(super) fn new(sampling: &Sampling, prompt: &[u32]) -> Self {
        let penalties = Self {
            repetition: sampling.repetition_penalty,
            frequency: sampling.frequency_penalty,
            presence: sampling.presence_penalty,
            seen: HashMap::new(),
        };
        // Only the penalty for repetition knows the prompt.
        match penalties.repetition == 1.0 {
            true => penalties,
            false => Self { seen: prompt.iter().map(|&token| (token, 0)).collect(), ..penalties },
        }
    }

    /// Whether any penalty is asked for.
    pub(super) fn any(&self) -> bool {
        self.repetition != 1.0 || self.frequency != 0.0 || self.presence != 0.0
    }

    /// Counts a token of the answer.
    pub(super) fn push(&mut self, token: u32) {
        if self.any() {
            *self.seen.entry(token).or_default() += 1;
        }
    }

    /// Changes the logits of what was seen.
    pub(super) fn apply(&self, row: &mut [f32]) {
        // In any order: no token's logit depends on another's.
        for (&token, &count) in &self.seen {
            let Some(logit) = row.get_mut(token as usize) else { continue };
            *logit = match *logit > 0.0 {
                true => *logit / self.repetition,
                false => *logit * self.repetition,
            };
            if count > 0 {
                *logit -= self.frequency * count as f32 + self.presence;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_counts_prompt_and_answer_the_others_the_answer() {
        let sampling = Sampling::GREEDY
            .with_repetition_penalty(2.0)
            .with_frequency_penalty(0.5)
            .with_presence_penalty(0.25);
        let mut penalties = Penalties::new(&sampling, &[0, 1, 0, 99]);
        penalties.push(1);
        penalties.push(1);
        penalties.push(2);
        let mut row = [4.0, -4.0, 4.0, 4.0];
        penalties.apply(&mut row);
        assert_eq!(row, [2.0, -8.0 - 1.25, 2.0 - 0.75, 4.0]);
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        let mut penalties = Penalties::new(&Sampling::GREEDY, &[0]);
        penalties.push(0);
        let mut row = [1.5, f32::NEG_INFINITY];
        penalties.apply(&mut row);
        assert!(!penalties.any());
        assert_eq!(row, [1.5, f32::NEG_INFINITY]);
    }
}
