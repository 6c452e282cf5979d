//! What happens in a run, as it is told and logged.

use openledger_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::Objective;

/// The longest line of a log: 64 KiB.
pub(crate) const MAX_LINE: usize = 64 << 10;
/// The longest reason for a failure that is logged, in characters.
const MAX_MESSAGE: usize = 4096;

/// Something that happened in a run. In a log it is one line of JSON:
///
/// ```text
/// {"number":7,"seconds":1.5,"event":"step","step":7,"steps":100,"loss":2.25,…}
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// Its place in the log, from 0.
    pub number: u64,
    /// How long the run has taken so far, interruptions not counted.
    pub seconds: f64,
    /// What it was.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum Happening {
    /// A run started, or goes on. Steps behind `step` that were told before are void: they are
    /// taken again.
    Started {
        /// Steps taken already.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Rows to learn.
        rows: u64,
        /// What is made smaller.
        #[serde(default)]
        objective: Objective,
    },
    /// A step was taken.
    Step(StepTaken),
    /// Rows held out were evaluated.
    Evaluation {
        /// Steps taken before.
        step: u64,
        /// Their loss.
        loss: f64,
        /// `e` to the loss, where that is the mean of `-ln p` of the label tokens.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        perplexity: Option<f64>,
        /// The part of judged answers told the right way round, where rows are such.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accuracy: Option<f64>,
        /// Label tokens.
        labels: u64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// A checkpoint is on the disk.
    Checkpoint {
        /// Steps taken before.
        step: u64,
    },
    /// The run ended.
    Stopped {
        /// Steps taken.
        step: u64,
        /// Why it ended.
        reason: Stop,
    },
}

/// What a step did.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepTaken {
    /// The step, from 1.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// The loss of its rows, before the update.
    pub loss: f64,
    /// The step size used.
    pub rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens read.
    pub tokens: u64,
    /// Label tokens among them.
    pub labels: u64,
    /// The most bytes resident at once so far, where that is known.
    pub peak_bytes: Option<u64>,
}

/// Why a run ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stop {
    /// It took all its steps.
    Finished,
    /// The rows held out were predicted no better for as long as the patience lasted.
    Early,
    /// Whoever watched it stopped it; it can go on.
    Cancelled,
    /// It could not go on.
    Failed {
        /// What went wrong.
        message: String,
    },
}

impl Stop {
    pub(crate) fn failed(error: &Error) -> Self {
        Self::Failed { message: error.report().chars().take(MAX_MESSAGE).collect() }
    }
}

impl Event {
    /// Reads one line of a log.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] over 64 KiB; [`ErrorKind::Corrupt`] if it is no event.
    pub fn parse(line: &[u8]) -> Result<Self> {
        if line.len() > MAX_LINE {
            return Err(Error::new(ErrorKind::Limit, format!("a line over {MAX_LINE} bytes")));
        }
        serde_json::from_slice(line).map_err(|e| Error::corrupt("not an event").with_source(e))
    }

    /// Returns the event as a line of JSON, without the end of the line.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and finite numbers are always JSON")
    }
}

/// Returns the loss of each step of a run, in order, from what was told of it: where it went on from
/// a checkpoint, steps taken again count once. The last digit may be lost in reading a log;
/// [`Course::losses`](crate::Course::losses) has all of them.
///
/// # Examples
/// ```
/// use openledger_train::{Event, curve};
///
/// let log = [
///     r#"{"number":0,"seconds":0.0,"event":"started","step":0,"steps":2,"rows":9}"#,
///     r#"{"number":1,"seconds":0.5,"event":"step","step":1,"steps":2,"loss":2.5,"rate":0.1,
///         "gradient_norm":1.0,"tokens":9,"labels":7,"peak_bytes":null}"#,
///     r#"{"number":2,"seconds":0.5,"event":"started","step":0,"steps":2,"rows":9}"#,
///     r#"{"number":3,"seconds":0.9,"event":"step","step":1,"steps":2,"loss":2.5,"rate":0.1,
///         "gradient_norm":1.0,"tokens":9,"labels":7,"peak_bytes":null}"#,
/// ];
/// let events = log.map(|line| Event::parse(line.as_bytes()));
/// assert_eq!(curve(events.iter().flatten()), [2.5]);
/// ```
pub fn curve<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<f64> {
    let mut losses = Vec::new();
    for event in events {
        match &event.what {
            Happening::Started { step, .. } => {
                losses.truncate(usize::try_from(*step).unwrap_or(usize::MAX));
            }
            Happening::Step(step) => losses.push(step.loss),
            _ => {}
        }
    }
    losses
}
