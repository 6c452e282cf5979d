//! What a run learns and what it is evaluated on, by its objective.

use std::{fmt, sync::Arc};

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{Network, Tokens};
use openledger_train::{
    FromJudgements, Judged, Judgement, Judgements, Lesson, NativeRun, NextToken, Objective, Pair,
    PreferenceRun, Rows, Subset, TrainingConfig,
    data::{JudgedRows, TokenFile},
    preference,
};

/// Examples to learn, and examples held out.
pub(crate) enum Material<'a> {
    /// Rows to imitate.
    Rows(Subset<'a>, Vec<Tokens>),
    /// Pairs of answers.
    Pairs(JudgedRows<'a, Pair>, Vec<Pair>),
    /// Single answers.
    Judged(JudgedRows<'a, Judged>, Vec<Judged>),
}

impl<'a> Material<'a> {
    /// Holds out a part of `all`, and all of `more`.
    pub(crate) fn divide(
        config: &TrainingConfig,
        all: &'a TokenFile,
        more: &TokenFile,
    ) -> Result<Self> {
        let (share, seed) = (config.evaluation.share, config.seed);
        Ok(match config.objective {
            Objective::NextToken => {
                let [learned, part] = Subset::hold_out(all, share, seed);
                let rows = |rows: &dyn Rows| -> Result<Vec<_>> {
                    (0..rows.count()).map(|row| rows.row(row)).collect()
                };
                Self::Rows(learned, [rows(&part)?, rows(more)?].concat())
            }
            Objective::Preference(_) => {
                let [learned, part] = JudgedRows::<Pair>::hold_out(all, share, seed)?;
                let more = JudgedRows::<Pair>::new(more)?;
                Self::Pairs(learned, [list(&part)?, list(&more)?].concat())
            }
            Objective::Kto(_) => {
                let [learned, part] = JudgedRows::<Judged>::hold_out(all, share, seed)?;
                let more = JudgedRows::<Judged>::new(more)?;
                Self::Judged(learned, [list(&part)?, list(&more)?].concat())
            }
            other => {
                let message = format!("{other:?} is learned from no files");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        })
    }

    /// Returns how many examples are learned and held out.
    pub(crate) fn counts(&self) -> [usize; 2] {
        match self {
            Self::Rows(learned, held_out) => [learned.count(), held_out.len()],
            Self::Pairs(learned, held_out) => [learned.count(), held_out.len()],
            Self::Judged(learned, held_out) => [learned.count(), held_out.len()],
        }
    }

    /// Returns everything that is learned, row by row.
    pub(crate) fn rows(&self) -> Result<Box<dyn Rows + '_>> {
        Ok(match self {
            Self::Rows(learned, _) => {
                Box::new(Subset::new(learned, (0..learned.count()).collect()))
            }
            Self::Pairs(learned, _) => Box::new(learned.answers()?),
            Self::Judged(learned, _) => Box::new(learned.answers()?),
        })
    }

    /// Begins to learn it.
    pub(crate) fn lesson(
        &self,
        network: &Arc<Network>,
        config: &TrainingConfig,
        start: &[u8],
    ) -> Result<Box<dyn Lesson + '_>> {
        let (network, batch) = (Arc::clone(network), config.plan.batch);
        Ok(match (self, config.objective) {
            (Self::Pairs(learned, held_out), Objective::Preference(objective)) => {
                Box::new(judged(network, config, start, objective, (learned, held_out))?)
            }
            (Self::Judged(learned, held_out), Objective::Kto(objective)) => {
                Box::new(judged(network, config, start, objective, (learned, held_out))?)
            }
            (Self::Rows(learned, held_out), _) => {
                let run = NativeRun::start(network, &config.lora, config.optimiser, start)?
                    .with_micro_batch(config.micro_batch)
                    .with_checkpointing(config.checkpointing);
                let lesson = NextToken::new(run, learned).with_evaluation_batch(batch);
                Box::new(match held_out.is_empty() {
                    true => lesson,
                    false => lesson.with_held_out(held_out),
                })
            }
            (_, other) => return Err(Error::invalid(format!("examples that {other:?} is not of"))),
        })
    }
}

fn judged<'a, O: preference::Objective>(
    network: Arc<Network>,
    config: &TrainingConfig,
    start: &[u8],
    objective: O,
    (learned, held_out): (&'a dyn Judgements<O::Example>, &'a Vec<O::Example>),
) -> Result<FromJudgements<'a, O>>
where
    O::Example: Clone,
{
    let run = PreferenceRun::start(network, &config.lora, config.optimiser, start, objective)?
        .with_micro_batch(config.micro_batch)
        .with_checkpointing(config.checkpointing);
    let lesson = FromJudgements::new(run, learned).with_evaluation_batch(config.plan.batch);
    Ok(match held_out.is_empty() {
        true => lesson,
        false => lesson.with_held_out(held_out),
    })
}

fn list<J: Judgement>(judgements: &dyn Judgements<J>) -> Result<Vec<J>> {
    (0..judgements.count()).map(|number| judgements.judgement(number)).collect()
}

impl fmt::Display for Material<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows(..) => "rows",
            Self::Pairs(..) => "pairs of answers",
            Self::Judged(..) => "judged answers",
        })
    }
}
