//! Everything that decides what a run makes.

mod strict;

use openledger_core::{B256, ContentHash, Error, ErrorKind, Result, digest};
use openledger_model::{LoraConfig, Network, Template};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Kto, Optimiser, Plan, Preference, StakeWeighted,
    data::{ColumnMap, LossMask},
};

/// The largest configuration read: 1 MiB.
const MAX_CONFIG: usize = 1 << 20;

/// The configuration of a run: the same one, with the same base model, gives the same adapter, byte
/// for byte. It goes into the training record as it is. How many threads compute is not part of it,
/// because results do not depend on it.
///
/// # Examples
/// ```
/// use openledger_train::TrainingConfig;
///
/// let config = TrainingConfig::parse(br#"{"plan": {"epochs": 3}, "evaluation": {"every": 50}}"#)?;
/// assert_eq!((config.plan.epochs, config.plan.batch), (3, 8));
///
/// let error = TrainingConfig::parse(br#"{"plan": {"epoch": 3}}"#).unwrap_err();
/// assert_eq!(error.to_string(), "unknown field `plan.epoch`, did you mean `epochs`?");
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TrainingConfig {
    /// What is learned.
    pub data: DataConfig,
    /// The adapter's shape.
    pub lora: LoraConfig,
    /// The optimiser.
    pub optimiser: Optimiser,
    /// The course of the run.
    pub plan: Plan,
    /// Rows of a step that are computed at a time, to save memory; all of them if none is said. It
    /// changes the last bits, see [`NativeRun::with_micro_batch`](crate::NativeRun::with_micro_batch).
    pub micro_batch: Option<usize>,
    /// Whether only what blocks return is kept, and the rest computed again: less memory, more time. It
    /// does not change the result.
    pub checkpointing: bool,
    /// What the base model is stored in.
    pub base: BasePrecision,
    /// What is made smaller.
    pub objective: Objective,
    /// Decides the matrices training starts from, and which rows are held out.
    pub seed: u64,
    /// When the run is evaluated, on what, and when it ends early.
    pub evaluation: EvaluationConfig,
    /// Steps between checkpoints; none but at the end if none is said. It does not change the result.
    pub checkpoint_every: Option<usize>,
}

/// What is learned.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DataConfig {
    /// The files with rows, in their order.
    pub files: Vec<SourceFile>,
    /// The most rows taken of a file, from its beginning; all of them if none is said.
    pub rows: Option<usize>,
    /// Which column is what, where names do not say it.
    pub columns: ColumnMap,
    /// Whether conversations become text by the checkpoint's own chat template, exchanges too.
    pub chat: bool,
    /// How other rows become text.
    pub template: Template,
    /// What of a row is learned.
    pub mask: LossMask,
    /// The longest row in tokens; the rest of longer ones is cut.
    pub max_tokens: usize,
}

/// A file, and what was in it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SourceFile {
    /// Where it lies.
    pub path: String,
    /// The hash of its bytes, once they were read.
    #[serde(default)]
    pub hash: Option<ContentHash>,
}

/// What is made smaller.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Objective {
    /// The mean of `-ln p` of the label tokens.
    #[default]
    NextToken,
    /// A preference between two answers.
    Preference(Preference),
    /// Single answers, each good or bad.
    Kto(Kto),
    /// Answers that validators with a stake value.
    StakeWeighted(StakeWeighted),
}

impl Objective {
    /// Returns how many answers an example has.
    pub(crate) const fn answers(&self) -> usize {
        match self {
            Self::Preference(_) => 2,
            Self::NextToken | Self::Kto(_) | Self::StakeWeighted(_) => 1,
        }
    }

    /// Its numbers that must be above zero, by name.
    fn numbers(&self) -> Vec<(&'static str, f64)> {
        match *self {
            Self::NextToken => Vec::new(),
            Self::Preference(preference) => match preference {
                Preference::Dpo { beta } => vec![("preference.dpo.beta", beta)],
                Preference::Ipo { beta } => vec![("preference.ipo.beta", beta)],
                Preference::Orpo { beta } => vec![("preference.orpo.beta", beta)],
                Preference::Simpo { beta, .. } => vec![("preference.simpo.beta", beta)],
            },
            Self::Kto(kto) => vec![
                ("kto.beta", kto.beta),
                ("kto.desirable", kto.desirable),
                ("kto.undesirable", kto.undesirable),
            ],
            Self::StakeWeighted(it) => {
                vec![("stake_weighted.temperature", it.temperature), ("stake_weighted.cap", it.cap)]
            }
        }
    }
}

impl From<Preference> for Objective {
    fn from(preference: Preference) -> Self {
        Self::Preference(preference)
    }
}

impl From<Kto> for Objective {
    fn from(kto: Kto) -> Self {
        Self::Kto(kto)
    }
}

impl From<StakeWeighted> for Objective {
    fn from(stake_weighted: StakeWeighted) -> Self {
        Self::StakeWeighted(stake_weighted)
    }
}

/// What the base model is stored in while an adapter learns; adapters are `f32`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BasePrecision {
    /// As its checkpoint has it, computed in `f32`.
    #[default]
    Checkpoint,
    /// `bf16`, and computed in it.
    Bf16,
    /// Four bits, computed in `f32` (`QLoRA`).
    Nf4,
}

impl BasePrecision {
    /// Stores a network so.
    #[must_use]
    pub fn apply(self, network: Network) -> Network {
        match self {
            Self::Checkpoint => network,
            Self::Bf16 => network.in_bf16(),
            Self::Nf4 => network.in_nf4(),
        }
    }
}

/// When a run is evaluated, on what, and when it ends early.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct EvaluationConfig {
    /// Steps between evaluations; there is one before the first step and one after the last as well.
    /// Never if none is said.
    pub every: Option<usize>,
    /// The part of the rows that is held out, below one.
    pub share: f64,
    /// Files whose rows are held out, beside that part.
    pub files: Vec<SourceFile>,
    /// How many evaluations in a row may bring nothing before the run ends.
    pub patience: Option<usize>,
    /// By how much the loss must fall to count as better.
    pub least: f64,
}

impl Default for TrainingConfig {
    /// The defaults of each part, with a checkpoint every hundred steps.
    fn default() -> Self {
        Self {
            data: DataConfig::default(),
            lora: LoraConfig::default(),
            optimiser: Optimiser::default(),
            plan: Plan::default(),
            micro_batch: None,
            checkpointing: false,
            base: BasePrecision::default(),
            objective: Objective::default(),
            seed: 0,
            evaluation: EvaluationConfig::default(),
            checkpoint_every: Some(100),
        }
    }
}

impl Default for DataConfig {
    /// No files, and rows of at most 512 tokens.
    fn default() -> Self {
        Self {
            files: Vec::new(),
            rows: None,
            columns: ColumnMap::default(),
            chat: false,
            template: Template::default(),
            mask: LossMask::default(),
            max_tokens: 512,
        }
    }
}

impl SourceFile {
    /// Names a file that was not read yet.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), hash: None }
    }

    /// Returns this with the hash of `bytes`, what was read.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it is known to have held something else.
    pub fn with_content(mut self, bytes: &[u8]) -> Result<Self> {
        let found = ContentHash::of(bytes);
        if let Some(expected) = self.hash.filter(|&hash| hash != found) {
            let path = &self.path;
            let message = format!("`{path}` has the hash {found}, the configuration {expected}");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        self.hash = Some(found);
        Ok(self)
    }
}

impl TrainingConfig {
    /// Reads a configuration in JSON; what is left out has its default.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] over 1 MiB; [`ErrorKind::Invalid`] if it is not JSON, naming a field that
    /// is not known and the nearest that is, or as [`check`](Self::check).
    pub fn parse(json: &[u8]) -> Result<Self> {
        if json.len() > MAX_CONFIG {
            let message = format!("a configuration of {} bytes, {MAX_CONFIG} allowed", json.len());
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let bad = |e| Error::invalid("cannot read the training configuration").with_source(e);
        let given: Value = serde_json::from_slice(json).map_err(bad)?;
        // Of the bytes, not of the value: the error names line and column.
        let config: Self = serde_json::from_slice(json).map_err(bad)?;
        let known = serde_json::to_value(&config).map_err(bad)?;
        strict::check(&given, &known, "")?;
        config.check()?;
        Ok(config)
    }

    /// Returns the configuration as JSON, the same bytes every time.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and finite numbers are always JSON")
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the field and what it may be.
    pub fn check(&self) -> Result<()> {
        let Self { plan, evaluation, .. } = self;
        for (field, value) in [
            ("plan.epochs", Some(plan.epochs)),
            ("plan.batch", Some(plan.batch)),
            ("micro_batch", self.micro_batch),
            ("evaluation.every", evaluation.every),
            ("evaluation.patience", evaluation.patience),
            ("checkpoint_every", self.checkpoint_every),
        ] {
            if value == Some(0) {
                return Err(Error::invalid(format!("`{field}` is 0: give 1 or more")));
            }
        }
        if self.data.max_tokens < 2 {
            return Err(Error::invalid("`data.max_tokens` is below 2: no token would follow one"));
        }
        if !(plan.rate.is_finite() && plan.rate > 0.0) {
            return Err(Error::invalid(format!("`plan.rate` is {}, not above 0", plan.rate)));
        }
        if !(0.0..1.0).contains(&evaluation.share) {
            let share = evaluation.share;
            return Err(Error::invalid(format!("`evaluation.share` is {share}, not 0 to below 1")));
        }
        for (field, value) in self.objective.numbers() {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::invalid(format!("`objective.{field}` is {value}, not above 0")));
            }
        }
        if matches!(self.objective, Objective::Kto(_)) && plan.batch < 2 {
            let message = "`plan.batch` is 1: KTO compares the examples of a step, give 2 or more";
            return Err(Error::invalid(message));
        }
        if evaluation.patience.is_some() && evaluation.every.is_none() {
            return Err(Error::invalid("`evaluation.patience` without `evaluation.every`"));
        }
        Ok(())
    }

    /// Returns the digest of what decides the steps of a run, apart from its rows: neither where files
    /// lie nor what saves memory or time alone.
    pub(crate) fn digest(&self) -> B256 {
        let mut config = self.clone();
        config.data.files.clear();
        config.evaluation.files.clear();
        config.checkpoint_every = None;
        config.checkpointing = false;
        digest("openledger.training-config.v1", &config.to_json())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::Column;

    proptest! {
        #[test]
        fn configurations_with_bytes_changed_are_read_and_written_the_same_or_refused(
            changes in prop::collection::vec((0usize..2000, any::<u8>()), 0..4),
        ) {
            let mut json = TrainingConfig::default().to_json();
            for (at, byte) in changes {
                let at = at % json.len();
                json[at] = byte;
            }
            if let Ok(config) = TrainingConfig::parse(&json) {
                prop_assert_eq!(TrainingConfig::parse(&config.to_json()).unwrap(), config);
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut config = TrainingConfig::default();
        assert_eq!(TrainingConfig::parse(&config.to_json()).unwrap(), config);
        assert_eq!(TrainingConfig::parse(b"{}").unwrap(), config);
        config.data.files = vec![SourceFile::new("rows.jsonl").with_content(b"{}").unwrap()];
        config.data.columns = ColumnMap::default().with(Column::Prompt, "q");
        config.data.rows = Some(1000);
        config.objective = Objective::Preference(Preference::Dpo { beta: 0.1 });
        config.evaluation.every = Some(3);
        config.evaluation.patience = Some(2);
        assert_eq!(TrainingConfig::parse(&config.to_json()).unwrap(), config);
    }

    #[test]
    fn unknown_fields_are_refused_with_the_nearest_known_name() {
        for (json, expected) in [
            (r#"{"pln": {}}"#, "`pln`, did you mean `plan`?"),
            (r#"{"lora": {"rnk": 4}}"#, "`lora.rnk`, did you mean `rank`?"),
            (r#"{"data": {"files": [{"path": "a", "hsh": 1}]}}"#, "`data.files[0].hsh`, did you"),
            (r#"{"optimiser": {"rule": {"lion": {"beta3": 1}}}}"#, "beta3`, did you mean `beta"),
        ] {
            let error = TrainingConfig::parse(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_by_name() {
        for (json, field) in [
            (r#"{"plan": {"batch": 0}}"#, "plan.batch"),
            (r#"{"plan": {"rate": -1}}"#, "plan.rate"),
            (r#"{"micro_batch": 0}"#, "micro_batch"),
            (r#"{"evaluation": {"share": 1.0}}"#, "evaluation.share"),
            (r#"{"evaluation": {"patience": 3}}"#, "evaluation.every"),
            (r#"{"data": {"max_tokens": 1}}"#, "data.max_tokens"),
            (r#"{"objective": {"preference": {"dpo": {"beta": 0}}}}"#, "preference.dpo.beta"),
            (r#"{"objective": {"kto": {"desirable": -1}}}"#, "kto.desirable"),
            (r#"{"objective": {"kto": {}}, "plan": {"batch": 1}}"#, "plan.batch"),
        ] {
            let error = TrainingConfig::parse(json.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn a_file_that_changed_is_refused() {
        let file = SourceFile::new("rows.jsonl").with_content(b"one").unwrap();
        assert!(file.clone().with_content(b"one").is_ok());
        assert_eq!(file.with_content(b"two").unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[test]
    fn the_digest_is_of_what_decides_the_steps() {
        let config = TrainingConfig::default();
        let mut moved = config.clone();
        moved.data.files = vec![SourceFile::new("elsewhere")];
        moved.checkpoint_every = Some(7);
        moved.checkpointing = true;
        assert_eq!(moved.digest(), config.digest());
        let mut other = config.clone();
        other.plan.rate *= 2.0;
        assert_ne!(other.digest(), config.digest());
    }
}
