//! Learning from what people think of answers.
//!
//! | what is known | objective |
//! |---|---|
//! | which of two answers is better | [`Preference`]: DPO, IPO, ORPO, SimPO |
//! | whether an answer is good or bad | [`Kto`] |
//! | how much validators with a stake value an answer | [`StakeWeighted`] |

mod feedback;
mod judgement;
mod kto;
mod pairs;
mod pass;

use std::{fmt, sync::Arc};

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{Gradients, Lora, LoraConfig, Network, Start, Tokens};

pub use feedback::{Graded, StakeWeighted, Stakes};
pub use judgement::{Judgement, Judgements};
pub use kto::{Judged, Kto};
pub use pairs::{Pair, Preference};
use pass::Pass;
pub(crate) use pass::log_probabilities;

use crate::{
    Optimiser, Resume,
    backend::{Learner, Step},
};

/// What a [`PreferenceRun`] makes smaller. Implement this for another objective.
///
/// # Contract
/// - The loss is a mean over the examples, so that the step size means the same for any number.
/// - It depends on nothing but its arguments.
pub trait Objective: fmt::Debug {
    /// What is judged.
    type Example: Judgement;

    /// Returns the loss of `examples`, and its slope by the `log p` of each of their answers.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for examples that cannot be learned.
    fn loss(&self, examples: &[&Self::Example], log_p: &LogP<'_>) -> Result<Loss>;

    /// Returns whether the loss asks for the base model's `log p` of the answers.
    fn compares(&self) -> bool {
        true
    }

    /// Returns other answers of at most `limit` tokens, of which the loss wants to know how far adapter and
    /// base model are apart.
    fn strangers(&self, _examples: &[&Self::Example], _limit: usize) -> Vec<Tokens> {
        Vec::new()
    }

    /// Returns how many examples a step has at least.
    fn least(&self) -> usize {
        1
    }

    /// Returns the loss of `examples` under the base model with `lora`, and its gradient.
    ///
    /// # Errors
    /// Those of [`loss`](Self::loss); [`ErrorKind::Invalid`] for too few examples, answers without tokens
    /// and unknown tokens.
    fn gradients(
        &self,
        network: &Network,
        lora: &Lora,
        examples: &[&Self::Example],
    ) -> Result<Slope>
    where
        Self: Sized,
    {
        let pass = Pass { network, lora, part: None, checkpointing: false };
        pass.gradients(self, examples, None)
    }
}

/// What a loss is computed from: `log p` of each answer, a sum over its tokens, the answers of the first
/// example first.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LogP<'a> {
    /// Under the adapter.
    pub ours: &'a [f64],
    /// Under the base model; zero where the objective does not [compare](Objective::compares).
    pub base: &'a [f64],
    /// By how much more the adapter gives each of the [strangers](Objective::strangers).
    pub strangers: &'a [f64],
}

/// A loss of some examples.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Loss {
    /// The loss.
    pub loss: f64,
    /// Its slope by the `log p` of each answer.
    pub slopes: Vec<f64>,
    /// How many examples are told the right way round, where that means something: the better answer
    /// preferred to the other, a good one to the base model's.
    pub right: Option<usize>,
}

impl Loss {
    /// Joins a loss and its slopes.
    pub const fn new(loss: f64, slopes: Vec<f64>) -> Self {
        Self { loss, slopes, right: None }
    }

    /// Returns this with the number of examples told the right way round.
    #[must_use]
    pub const fn with_right(mut self, right: usize) -> Self {
        self.right = Some(right);
        self
    }
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
    micro_batch: Option<usize>,
    checkpointing: bool,
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
        let learner = Learner::start(network, config, optimiser, start)?;
        Ok(Self { learner, objective, micro_batch: None, checkpointing: false })
    }

    /// Returns this with steps whose examples are computed `examples` at a time, all at once if none is
    /// said.
    ///
    /// Memory is that of so many examples, and each is run forward twice: what a step learns of one may
    /// depend on all of them. Sums are taken in another order, so the last bits differ.
    #[must_use]
    pub const fn with_micro_batch(mut self, examples: Option<usize>) -> Self {
        self.micro_batch = examples;
        self
    }

    /// Returns this with activation checkpointing or without: see
    /// [`Tape::with_checkpointing`](openledger_model::Tape::with_checkpointing).
    #[must_use]
    pub const fn with_checkpointing(mut self, checkpointing: bool) -> Self {
        self.checkpointing = checkpointing;
        self
    }

    /// Returns what is made smaller.
    pub const fn objective(&self) -> &O {
        &self.objective
    }

    /// Takes one step: the mean objective of `examples`, its gradient clipped to the norm `clip`, and an
    /// update of size `rate`. After an error nothing has changed.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] without examples, for an answer without
    /// tokens or with unknown ones, or if the loss or gradient is not finite.
    pub fn step(&mut self, examples: &[&O::Example], rate: f64, clip: Option<f64>) -> Result<Step> {
        self.step_from(examples, None, rate, clip)
    }

    /// [`step`](Self::step) where the base model's `log p` of the answers is known.
    pub(crate) fn step_from(
        &mut self,
        examples: &[&O::Example],
        base: Option<&[f64]>,
        rate: f64,
        clip: Option<f64>,
    ) -> Result<Step> {
        let Slope { loss, labels, gradients } =
            self.pass().gradients(&self.objective, examples, base)?;
        let step = Step::new(loss, labels, gradients.norm()).check()?;
        self.learner.update(gradients, step.gradient_norm, rate, clip)?;
        Ok(step)
    }

    /// Returns the loss of `examples` and the tokens it is of, and changes nothing.
    pub(crate) fn evaluate(
        &self,
        examples: &[&O::Example],
        base: Option<&[f64]>,
    ) -> Result<(Loss, usize)> {
        self.pass().loss(&self.objective, examples, base)
    }

    /// Returns the base model's `log p` of the answers of one example, computed alone: the same bits
    /// whatever else is computed.
    pub(crate) fn base(&self, example: &O::Example) -> Result<Vec<f64>> {
        self.pass().base(&example.answers())
    }

    /// Returns what has been learned so far, as a safetensors file.
    pub fn snapshot(&self) -> Vec<u8> {
        self.learner.snapshot()
    }

    fn pass(&self) -> Pass<'_> {
        let Learner { network, lora, .. } = &self.learner;
        let (part, checkpointing) = (self.micro_batch, self.checkpointing);
        Pass { network, lora, part, checkpointing }
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
