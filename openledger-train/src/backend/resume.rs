//! A run that can be put aside and taken up again.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Error, Result};

use crate::{
    Optimiser, numbers,
    optimiser::{State, Stored},
};

/// What a run can do that can be interrupted: implement it beside [`Run`](crate::Run).
///
/// # Contract
/// - A run started as the first was, given the first's state, goes on as the first would: the same
///   steps give the same results, bit for bit.
/// - After an error of [`restore`](Self::restore) the run is as it was.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use openledger_model::{Lora, LoraConfig, Tokens, testing};
/// use openledger_train::{NativeRun, Optimiser, Resume, Run};
///
/// let network = Arc::new(testing::tiny(1)?.network().clone());
/// let config = LoraConfig::default().with_rank(2, 4.0);
/// let start = Lora::init(&network, &config, 7)?.to_files(&network, &config).weights;
/// let begin = || NativeRun::start(Arc::clone(&network), &config, Optimiser::default(), &start);
/// let row = Tokens::new(&[72, 105], &[89, 101, 115]);
///
/// let (mut first, mut second) = (begin()?, begin()?);
/// first.step(&[&row], 1e-2, None)?;
/// second.restore(&first.state()?)?;
/// assert_eq!(second.step(&[&row], 1e-2, None)?, first.step(&[&row], 1e-2, None)?);
/// # Ok::<(), openledger_core::Error>(())
/// ```
pub trait Resume {
    /// Returns everything that the steps to come depend on.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable) if a device fails.
    fn state(&self) -> Result<Vec<u8>>;

    /// Takes what [`state`](Self::state) returned, of a run of the same model, adapter and optimiser.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if it is no such state;
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if it is that of another optimiser
    /// or of parameters of other sizes.
    fn restore(&mut self, state: &[u8]) -> Result<()>;
}

/// Parameters, and what an optimiser keeps of them, as they are stored.
#[derive(BorshDeserialize, BorshSerialize)]
pub(super) struct Snapshot {
    /// The optimiser, as JSON: the means of one say nothing to another.
    optimiser: String,
    parameters: Vec<Vec<u8>>,
    kept: Stored,
    /// Whether every layer was seen to get a gradient.
    pub(super) proven: bool,
}

impl Snapshot {
    pub(super) fn new<'a>(
        optimiser: &Optimiser,
        parameters: impl Iterator<Item = &'a [f32]>,
        state: &State,
        proven: bool,
    ) -> Self {
        let parameters = parameters.map(numbers::to_bytes).collect();
        Self { optimiser: name(optimiser), parameters, kept: state.to_stored(), proven }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        openledger_core::encode(self)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        borsh::from_slice(bytes)
            .map_err(|e| Error::corrupt("bytes that are no state of a run").with_source(e))
    }

    /// Checks everything against the optimiser and the sizes of the parameters; returns both anew.
    pub(super) fn take(
        &self,
        optimiser: &Optimiser,
        sizes: &[usize],
    ) -> Result<(Vec<Vec<f32>>, State)> {
        if self.optimiser != name(optimiser) {
            let (theirs, ours) = (&self.optimiser, name(optimiser));
            return Err(Error::invalid(format!(
                "the state of a run with the optimiser {theirs}, this one has {ours}"
            )));
        }
        if self.parameters.len() != sizes.len() {
            let (theirs, ours) = (self.parameters.len(), sizes.len());
            return Err(Error::invalid(format!("the state of {theirs} tensors for {ours}")));
        }
        let parameters = self
            .parameters
            .iter()
            .zip(sizes)
            .map(|(bytes, &len)| numbers::from_bytes(bytes, len))
            .collect::<Result<_>>()?;
        Ok((parameters, State::from_stored(&self.kept, optimiser, sizes)?))
    }
}

fn name(optimiser: &Optimiser) -> String {
    serde_json::to_string(optimiser).expect("finite numbers are always JSON")
}
