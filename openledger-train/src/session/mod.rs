//! A run from its first step to its last, with everything around the steps.
//!
//! ```text
//!              ┌─ evaluate when due ─ end early? ─ end? ─ stopped? ─ save when due ─┐
//!  Session ──▶ │                                                                    ▼ ──▶ Trained
//!              └──────────────────────────── Lesson::step ◀────────────────────────┘
//! ```

mod checkpoint;
mod course;
mod judged;
mod lesson;

use std::{ops::ControlFlow, path::PathBuf};

use openledger_core::{Error, ErrorKind, ModelId, Result};

pub use checkpoint::{Checkpoint, RunId};
pub use course::{Course, Evaluated};
pub use judged::FromJudgements;
pub use lesson::{HeldOut, Learned, Lesson, NextToken};

use crate::{
    Meter, TrainingConfig, Unmetered,
    event::{Event, Happening, StepTaken, Stop},
    log::EventLog,
};

/// Trains by a configuration: takes steps, evaluates, saves, tells what happens.
///
/// A run that was interrupted, even in the middle of a step, and goes on from its checkpoint ends with
/// the same bytes as one that was not.
///
/// # Examples
/// ```
/// use std::{ops::ControlFlow, sync::Arc};
/// use openledger_model::{Lora, Tokens, testing};
/// use openledger_train::{NativeRun, NextToken, Session, Stop, TrainingConfig};
///
/// let model = testing::tiny(1)?;
/// let network = Arc::new(model.network().clone());
/// let config = TrainingConfig::parse(
///     br#"{"lora": {"rank": 2}, "plan": {"epochs": 3, "batch": 1}, "evaluation": {"every": 2}}"#,
/// )?;
/// let start = Lora::init(&network, &config.lora, config.seed)?.to_files(&network, &config.lora);
/// let run = NativeRun::start(network, &config.lora, config.optimiser, &start.weights)?;
/// let rows = vec![Tokens::new(&[72, 105], &[89, 101, 115]); 4];
/// let held_out = vec![Tokens::new(&[72, 97], &[89, 101])];
///
/// let mut lesson = NextToken::new(run, &rows).with_held_out(&held_out);
/// let trained = Session::new(model.id(), &config)
///     .train(&mut lesson, |_| ControlFlow::Continue(()))?;
/// assert_eq!((trained.course.losses.len(), trained.reason), (12, Stop::Finished));
/// assert!(trained.course.best().unwrap().loss < trained.course.evaluations[0].loss);
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Session<'a> {
    model: ModelId,
    config: &'a TrainingConfig,
    checkpoint: Option<PathBuf>,
    resumes: bool,
    log: Option<EventLog>,
    meter: &'a dyn Meter,
}

/// What a run made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trained {
    /// The adapter, a safetensors file: where the run was evaluated that of the best evaluation,
    /// otherwise the last.
    pub adapter: Vec<u8>,
    /// How the run went.
    pub course: Course,
    /// Why it ended.
    pub reason: Stop,
}

impl<'a> Session<'a> {
    /// Trains an adapter of `model` by `config`.
    pub fn new(model: ModelId, config: &'a TrainingConfig) -> Self {
        Self { model, config, checkpoint: None, resumes: false, log: None, meter: &Unmetered }
    }

    /// Returns this with a file for checkpoints.
    #[must_use]
    pub fn with_checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Returns this going on from the checkpoint, if there is one.
    #[must_use]
    pub const fn with_resume(mut self, resumes: bool) -> Self {
        self.resumes = resumes;
        self
    }

    /// Returns this with a log of everything that happens.
    #[must_use]
    pub fn with_log(mut self, log: EventLog) -> Self {
        self.log = Some(log);
        self
    }

    /// Returns this with a clock and a measure of memory.
    #[must_use]
    pub fn with_meter(mut self, meter: &'a dyn Meter) -> Self {
        self.meter = meter;
        self
    }

    /// Trains, telling `watch` of everything that happens; it may stop the run at any time. A run that
    /// is stopped is saved first, and can go on.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if there is a checkpoint and the run is not to go on from it;
    /// [`ErrorKind::Invalid`] if it is of another run, if there is nothing to learn, if the lesson has
    /// another objective than the configuration, or if a loss is not finite, naming step and rows; [`ErrorKind::Corrupt`] if the checkpoint is none; others of the
    /// lesson, the log and the file system. What the last checkpoint holds is not lost.
    pub fn train(
        self,
        lesson: &mut (impl Lesson + ?Sized),
        watch: impl FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<Trained> {
        self.config.check()?;
        if !lesson.learns(&self.config.objective) {
            let objective = self.config.objective;
            let message = format!("a lesson that does not learn the objective, {objective:?}");
            return Err(Error::invalid(message));
        }
        let rows = lesson.count();
        if rows == 0 {
            return Err(Error::invalid("no rows to learn"));
        }
        let id = RunId::new(self.model, self.config, lesson)?;
        let mut course = Course::default();
        if let Some(checkpoint) = self.found(id)? {
            lesson.restore(&checkpoint.state)?;
            course = checkpoint.course;
        }
        let begun = self.meter.seconds() - course.seconds;
        let teller =
            Teller { log: self.log, meter: self.meter, begun, watch, told: 0, stop: false };
        let (config, path) = (self.config, self.checkpoint);
        let mut drive = Drive { config, path, id, lesson, course, saved: None, teller };
        let reason = drive.finish(rows);
        let step = drive.course.step();
        if let Err(error) = &reason {
            // The failure itself matters more than whether it could be written down.
            let _ = drive.teller.tell(Happening::Stopped { step, reason: Stop::failed(error) });
        }
        let reason = reason?;
        drive.teller.tell(Happening::Stopped { step, reason: reason.clone() })?;
        drive.teller.sync()?;
        let adapter = match &drive.course.best_adapter {
            Some(best) => best.clone(),
            None => drive.lesson.snapshot()?,
        };
        Ok(Trained { adapter, course: drive.course, reason })
    }

    /// The checkpoint to go on from.
    fn found(&self, id: RunId) -> Result<Option<Checkpoint>> {
        let Some(path) = self.checkpoint.as_ref().filter(|path| path.exists()) else {
            return Ok(None);
        };
        if !self.resumes {
            let message =
                format!("`{}` is of a run already: resume it or remove it", path.display());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let checkpoint = Checkpoint::read(path)?;
        checkpoint.id.check(&id).map_err(|e| {
            Error::new(e.kind(), format!("cannot go on from `{}`", path.display())).with_source(e)
        })?;
        Ok(Some(checkpoint))
    }
}

/// A run under way.
struct Drive<'a, L: ?Sized, W> {
    config: &'a TrainingConfig,
    path: Option<PathBuf>,
    id: RunId,
    lesson: &'a mut L,
    course: Course,
    /// The step of the last checkpoint written.
    saved: Option<u64>,
    teller: Teller<'a, W>,
}

impl<L: Lesson + ?Sized, W: FnMut(&Event) -> ControlFlow<()>> Drive<'_, L, W> {
    fn finish(&mut self, rows: usize) -> Result<Stop> {
        let order = self.lesson.order(&self.config.plan)?;
        let steps = order.len();
        let taken = self.course.losses.len();
        let (step, all, count) = (taken as u64, steps as u64, rows as u64);
        self.saved = (taken > 0).then_some(step);
        let objective = self.config.objective;
        self.teller.tell(Happening::Started { step, steps: all, rows: count, objective })?;
        let mut batches = order.into_iter().skip(taken);
        let reason = loop {
            if self.teller.stop {
                break Stop::Cancelled;
            }
            let taken = self.course.losses.len();
            self.evaluate_if_due(taken == steps)?;
            let patience = self.config.evaluation.patience.unwrap_or(usize::MAX);
            if self.course.waited(self.config.evaluation.least) >= patience {
                break Stop::Early;
            }
            let Some(batch) = batches.next() else { break Stop::Finished };
            if self.config.checkpoint_every.is_some_and(|every| taken.is_multiple_of(every)) {
                self.save()?;
            }
            self.step(&batch, steps)?;
        };
        self.save()?;
        Ok(reason)
    }

    fn step(&mut self, batch: &[usize], steps: usize) -> Result<()> {
        let (plan, taken) = (&self.config.plan, self.course.losses.len());
        let rate = plan.rate(taken, steps);
        let Learned { step, tokens } = self.lesson.step(batch, rate, plan.clip).map_err(|e| {
            let message = format!("training stopped at step {} on rows {batch:?}", taken + 1);
            Error::new(e.kind(), message).with_source(e)
        })?;
        self.course.losses.push(step.loss);
        self.teller.tell(Happening::Step(StepTaken {
            step: self.course.step(),
            steps: steps as u64,
            loss: step.loss,
            rate,
            gradient_norm: step.gradient_norm,
            tokens: tokens as u64,
            labels: step.labels as u64,
            peak_bytes: self.teller.meter.peak_bytes(),
        }))
    }

    /// Evaluates if it is time to and was not done yet.
    fn evaluate_if_due(&mut self, last: bool) -> Result<()> {
        let step = self.course.step();
        let Some(every) = self.config.evaluation.every else { return Ok(()) };
        let done = self.course.evaluations.last().is_some_and(|last| last.step == step);
        if done || !(last || self.course.losses.len().is_multiple_of(every)) {
            return Ok(());
        }
        let Some(found) = self.lesson.evaluate()? else { return Ok(()) };
        let HeldOut { loss, labels, perplexity, accuracy } = found;
        let evaluated = Evaluated { step, loss };
        let best = self.course.best().is_none_or(|best| evaluated.loss < best.loss);
        if best {
            self.course.best_adapter = Some(self.lesson.snapshot()?);
        }
        self.course.evaluations.push(evaluated);
        self.saved = None;
        let labels = labels as u64;
        self.teller.tell(Happening::Evaluation { step, loss, perplexity, accuracy, labels, best })
    }

    /// Writes a checkpoint, unless there is one of this step with all that is known.
    fn save(&mut self) -> Result<()> {
        let step = self.course.step();
        let Some(path) = self.path.as_ref().filter(|_| self.saved != Some(step)) else {
            return Ok(());
        };
        self.course.seconds = self.teller.seconds();
        let state = self.lesson.state()?;
        let checkpoint = Checkpoint { id: self.id, course: self.course.clone(), state };
        // What the checkpoint builds on is on the disk before it.
        self.teller.sync()?;
        checkpoint.write(path)?;
        self.saved = Some(step);
        self.teller.tell(Happening::Checkpoint { step })
    }
}

/// Tells what happens.
struct Teller<'a, W> {
    log: Option<EventLog>,
    meter: &'a dyn Meter,
    /// When the run began, had it not been interrupted.
    begun: f64,
    watch: W,
    /// Events told, where no log counts them.
    told: u64,
    /// Whether whoever watches wants the run to stop.
    stop: bool,
}

impl<W: FnMut(&Event) -> ControlFlow<()>> Teller<'_, W> {
    fn tell(&mut self, what: Happening) -> Result<()> {
        let seconds = self.seconds();
        let event = match &mut self.log {
            Some(log) => log.append(seconds, what)?,
            None => Event { number: self.told, seconds, what },
        };
        self.told += 1;
        self.stop |= (self.watch)(&event).is_break();
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.meter.seconds() - self.begun
    }

    fn sync(&self) -> Result<()> {
        self.log.as_ref().map_or(Ok(()), EventLog::sync)
    }
}
