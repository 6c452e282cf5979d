//! Learning from what people think of answers.
//!
//! | what is known | objective |
//! |---|---|
//! | which of two answers is better | [`Preference`]: DPO, IPO, ORPO, SimPO |
//! | whether an answer is good or bad | [`Kto`] |
//! | how much validators with a stake value an answer | [`StakeWeighted`] |

mod answers;
mod feedback;
mod kto;
mod pairs;

use std::{fmt, sync::Arc};

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{Gradients, Lora, LoraConfig, Network, Start};

pub(crate) use answers::log_probabilities;
pub use feedback::{Graded, StakeWeighted, Stakes};
pub use kto::{Judged, Kto};
pub use pairs::{Pair, Preference};

use crate::{
    Optimiser, Resume,
    backend::{Learner, Step},
};

/// What a [`PreferenceRun`] makes smaller, and its gradient. Implement this for another objective.
///
/// # Contract
/// - The loss is a mean over the examples, so that the step size means the same for any number.
/// - Unknown tokens, no examples and answers without tokens are errors, never a panic.
pub trait Objective: fmt::Debug {
    /// What is judged.
    type Example;

    /// Returns the loss of `examples` under the base model with `lora`, and its gradient.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for examples that cannot be learned.
    fn gradients(
        &self,
        network: &Network,
        lora: &Lora,
        examples: &[&Self::Example],
    ) -> Result<Slope>;
}

/// A loss and its gradient.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Slope {
    /// The loss.
    pub loss: f64,
    /// The label tokens it is of.
    pub labels: usize,
    /// Its gradient by the adapter's matrices.
    pub gradients: Gradients,
}

impl Slope {
    /// Joins a loss of `labels` tokens and its gradient.
    pub const fn new(loss: f64, labels: usize, gradients: Gradients) -> Self {
        Self { loss, labels, gradients }
    }
}

/// A run that learns from judged answers.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use openledger_model::{Lora, LoraConfig, Tokens, testing};
/// use openledger_train::{Optimiser, Pair, Preference, PreferenceRun};
///
/// let network = Arc::new(testing::tiny(1)?.network().clone());
/// let config = LoraConfig::default().with_rank(4, 8.0);
/// let start = Lora::init(&network, &config, 7)?.to_files(&network, &config);
/// let objective = Preference::Dpo { beta: 0.1 };
/// let mut run =
///     PreferenceRun::start(network, &config, Optimiser::default(), &start.weights, objective)?;
/// let pair = Pair {
///     chosen: Tokens::new(&[72, 105], &[89, 101, 115]),
///     rejected: Tokens::new(&[72, 105], &[78, 111]),
/// };
/// let before = run.step(&[&pair], 1e-2, None)?.loss;
/// assert!(run.step(&[&pair], 1e-2, None)?.loss < before);
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Debug)]
pub struct PreferenceRun<O> {
    learner: Learner,
    objective: O,
}

impl<O: Objective> PreferenceRun<O> {
    /// Starts from the matrices in `start`, an `adapter_model.safetensors`.
    ///
    /// # Errors
    /// Those of [`Lora::from_safetensors`]; [`ErrorKind::Unsupported`] for a `PiSSA` start, whose base is
    /// not the model that answers are compared with.
    pub fn start(
        network: Arc<Network>,
        config: &LoraConfig,
        optimiser: Optimiser,
        start: &[u8],
        objective: O,
    ) -> Result<Self> {
        if config.start == Start::Pissa {
            let message = "learning from judged answers from a PiSSA start: take the start `zero`";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(Self { learner: Learner::start(network, config, optimiser, start)?, objective })
    }

    /// Takes one step: the mean objective of `examples`, its gradient clipped to the norm `clip`, and an
    /// update of size `rate`. After an error nothing has changed.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] without examples, for an answer without
    /// tokens or with unknown ones, or if the loss or gradient is not finite.
    pub fn step(&mut self, examples: &[&O::Example], rate: f64, clip: Option<f64>) -> Result<Step> {
        let Learner { network, lora, .. } = &self.learner;
        let Slope { loss, labels, gradients } =
            self.objective.gradients(network, lora, examples)?;
        let step = Step::new(loss, labels, gradients.norm()).check()?;
        self.learner.update(gradients, step.gradient_norm, rate, clip)?;
        Ok(step)
    }

    /// Returns what has been learned so far, as a safetensors file.
    pub fn snapshot(&self) -> Vec<u8> {
        self.learner.snapshot()
    }
}

impl<O: Objective> Resume for PreferenceRun<O> {
    fn state(&self) -> Result<Vec<u8>> {
        Ok(self.learner.state())
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.learner.restore(state)
    }
}
