//! Learning from validators who have something to lose: the stake-weighted feedback objective.

use std::collections::{BTreeMap, BTreeSet};

use openledger_core::{
    Address, B256, Error, ErrorKind, Result, U256,
    message::{Feedback, Verified},
};
use openledger_model::Tokens;
use serde::{Deserialize, Serialize};

use super::{Judgement, LogP, Loss, Objective, judgement::digest_of, pass::count};

/// The stakes of validators, in the token's smallest unit, as the chain has them at some block.
pub type Stakes = BTreeMap<Address, U256>;

/// An answer and the value that those who judged it give it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Graded {
    /// The answer, behind its prompt.
    pub answer: Tokens,
    /// From -1, worthless, to 1.
    pub value: f64,
}

impl Graded {
    /// Takes a value from -1 to 1 that somebody else made out; validators' is [weighed](Self::weigh).
    pub const fn new(answer: Tokens, value: f64) -> Self {
        Self { answer, value }
    }

    /// Weighs what validators said of the answer whose digests are `prompt` and `output`: the value is
    /// `sum w V / sum w` over those who judged, `w` their stakes.
    ///
    /// Whoever has no stake counts nothing. The sums are exact, so the value depends neither on order nor
    /// on machine.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if somebody judged another answer or this one twice;
    /// [`ErrorKind::Denied`] if nobody who judged has a stake.
    pub fn weigh(
        answer: Tokens,
        [prompt, output]: [B256; 2],
        feedback: &[Verified<Feedback>],
        stakes: &Stakes,
    ) -> Result<Self> {
        let (mut judges, mut total) = (BTreeSet::new(), U256::ZERO);
        // What was said in favour and what against, in millionths.
        let mut sums = [U256::ZERO; 2];
        let over = || Error::invalid("stakes that pass 2^256 when added up");
        for said in feedback.iter().map(Verified::message) {
            if [said.prompt, said.output] != [prompt, output] {
                return Err(Error::invalid(format!("{} judged another answer", said.validator)));
            }
            if !judges.insert(said.validator) {
                return Err(Error::invalid(format!("{} judged twice", said.validator)));
            }
            if said.value.unsigned_abs() > Feedback::WHOLE.unsigned_abs() {
                return Err(Error::invalid(format!(
                    "{} judged {}, not within {} millionths",
                    said.validator,
                    said.value,
                    Feedback::WHOLE
                )));
            }
            let stake = stakes.get(&said.validator).copied().unwrap_or_default();
            total = total.checked_add(stake).ok_or_else(over)?;
            let sum = &mut sums[usize::from(said.value < 0)];
            let part = stake.checked_mul(U256::from(said.value.unsigned_abs())).ok_or_else(over)?;
            *sum = sum.checked_add(part).ok_or_else(over)?;
        }
        if total.is_zero() {
            let message = "nobody who judged the answer has a stake";
            return Err(Error::new(ErrorKind::Denied, message));
        }
        // In millionths of millionths, so that the last digit of what is summed up counts.
        let [of, against] = sums
            .map(|sum| sum.checked_mul(U256::from(Feedback::WHOLE)).map(|sum| sum / total))
            .map(|parts| parts.map_or_else(|| Err(over()), |parts| Ok(parts.to::<u64>() as f64)));
        Ok(Self { answer, value: (of? - against?) / 1e12 })
    }

    fn prompt(&self) -> &[u32] {
        &self.answer.tokens[..self.answer.prompt()]
    }
}

/// Validators' feedback `R = sum w (V - alpha L)`, learned from answers that exist already.
///
/// `w` is a validator's stake over the stakes of all who judged the answer, `V` in [-1, 1] the value given
/// to it, `L` the mean `-log p` of its tokens under the adapter. All validators judge one answer, so
/// `R = V' - alpha L` with `V'` the [stake-weighted value](Graded::weigh).
///
/// What is maximised is `E[V'] - temperature * KL(model, authors)` over the model's own answers, and
/// `-alpha L` over those at hand, `authors` being whatever wrote them. Only `L` depends on the adapter in a
/// way that can be differentiated; the best model for the first part is the authors' with each answer
/// weighed by `exp(V' / temperature)`, and likelihood weighed so leads there. Per answer the loss is
///
/// ```text
/// (min(exp((V' - b) / temperature), cap) + alpha) * L
/// ```
///
/// the mean over answers: advantage-weighted regression (Peters and Schaal, 2007; Peng et al., 2019,
/// equation 9). `b` is the mean value of the other answers to the same prompt in the step (the leave-one-out
/// baseline of Kool et al., 2019), zero for a lone answer. `alpha` is the pull towards the likelihood of
/// everything that was judged.
///
/// The policy gradient (REINFORCE) of the same reward is not used: it asks for answers drawn from the
/// model as it is now, and on recorded ones its negative weights drive `L` to infinity. These weights are
/// never negative, so the loss has a minimum. The price: a bad answer is not unlearned, only learned
/// little; to push away from it, use [`Kto`](super::Kto).
///
/// # Examples
/// ```
/// use openledger_train::StakeWeighted;
///
/// let objective = StakeWeighted::default().with_alpha(0.05).with_temperature(0.25);
/// assert_eq!(objective.cap, 20.0);
/// assert!(objective.weight(1.0, 0.0) > 8.0 * objective.weight(0.0, 0.0));
/// ```
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StakeWeighted {
    /// The pull towards the likelihood of what was judged.
    pub alpha: f64,
    /// How much value is traded for staying near the authors: the smaller, the more the best answers count.
    pub temperature: f64,
    /// The largest weight of an answer, that one answer may not lead a step alone.
    pub cap: f64,
}

impl Default for StakeWeighted {
    /// An alpha of 0.1, a temperature of 0.5, and the cap of 20 of Peng et al.
    fn default() -> Self {
        Self { alpha: 0.1, temperature: 0.5, cap: 20.0 }
    }
}

impl StakeWeighted {
    /// Returns this with another pull towards likelihood.
    #[must_use]
    pub const fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Returns this with another temperature.
    #[must_use]
    pub const fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Returns this with another largest weight.
    #[must_use]
    pub const fn with_cap(mut self, cap: f64) -> Self {
        self.cap = cap;
        self
    }

    /// Returns what the likelihood of an answer of that value counts beside `alpha`, where other answers to
    /// its prompt have a mean value of `baseline`.
    pub fn weight(&self, value: f64, baseline: f64) -> f64 {
        libm::exp((value - baseline) / self.temperature).min(self.cap)
    }

    /// The weight of each answer.
    fn weights(&self, graded: &[&Graded]) -> Vec<f64> {
        let mut prompts = BTreeMap::<&[u32], (f64, usize)>::new();
        for answer in graded {
            let (sum, count) = prompts.entry(answer.prompt()).or_default();
            (*sum, *count) = (*sum + answer.value, *count + 1);
        }
        let of = |answer: &&Graded| {
            let (sum, count) = prompts[answer.prompt()];
            let others = (sum - answer.value) / (count - 1).max(1) as f64;
            self.weight(answer.value, if count == 1 { 0.0 } else { others }) + self.alpha
        };
        graded.iter().map(of).collect()
    }
}

impl Judgement for Graded {
    fn answers(&self) -> Vec<&Tokens> {
        vec![&self.answer]
    }

    fn digest(&self) -> B256 {
        digest_of("openledger.graded.v1", &self.answers(), self.value)
    }
}

impl Objective for StakeWeighted {
    type Example = Graded;

    fn loss(&self, graded: &[&Graded], log_p: &LogP<'_>) -> Result<Loss> {
        let sane = self.temperature > 0.0 && self.cap > 0.0 && self.alpha >= 0.0;
        if !(sane && self.alpha.is_finite() && self.cap.is_finite()) {
            return Err(Error::invalid(format!("{self:?}: no number may be negative or infinite")));
        }
        if let Some(bad) = graded.iter().find(|answer| !(-1.0..=1.0).contains(&answer.value)) {
            return Err(Error::invalid(format!("a value of {}, not within -1 to 1", bad.value)));
        }
        let (mut total, mut slopes) = (0.0, Vec::with_capacity(graded.len()));
        for ((answer, ours), weight) in graded.iter().zip(log_p.ours).zip(self.weights(graded)) {
            let scale = weight / (count(&answer.answer) as f64 * graded.len() as f64);
            total -= scale * ours;
            slopes.push(-scale);
        }
        Ok(Loss::new(total, slopes))
    }

    fn compares(&self) -> bool {
        false
    }
}
