//! What a data set is made of.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Encoded;

/// Counts over the rows of a data set: look at them before training.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DataStatistics {
    /// Rows.
    pub rows: u64,
    /// Tokens kept.
    pub tokens: u64,
    /// Tokens that are learned.
    pub learned: u64,
    /// Rows that were longer than allowed and lost their end.
    pub cut: u64,
    /// Tokens of the longest row before it was cut.
    pub longest: u64,
    /// Rows of which nothing is learned.
    pub silent: u64,
    /// Parts that are learned: one for each turn of the model.
    pub turns: u64,
    /// Of these, the ones that are learned with the token that ends them. A model that learns none
    /// does not stop.
    pub ended: u64,
}

impl DataStatistics {
    /// Counts another row; `ends` are the tokens that end what a model says.
    pub fn add(&mut self, row: &Encoded, ends: &[u32]) {
        let (tokens, learn) = (&row.tokens.tokens, &row.tokens.learn);
        let learned = row.tokens.learned() as u64;
        self.rows += 1;
        self.tokens += tokens.len() as u64;
        self.learned += learned;
        self.cut += u64::from(row.whole > tokens.len());
        self.longest = self.longest.max(row.whole as u64);
        self.silent += u64::from(learned == 0);
        let mut end = 0;
        for run in learn.chunk_by(|one, next| one == next) {
            end += run.len();
            if run[0] {
                self.turns += 1;
                self.ended += u64::from(ends.contains(&tokens[end - 1]));
            }
        }
    }

    /// Returns the part of the rows that was cut.
    pub fn share_cut(&self) -> f64 {
        self.cut as f64 / self.rows.max(1) as f64
    }
}

/// In one sentence, warnings included.
impl fmt::Display for DataStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, tokens, learned, longest, silent, turns, ended, .. } = self;
        write!(f, "{rows} rows, {tokens} tokens, {learned} of them learned, ")?;
        write!(f, "the longest row {longest}, {:.1} % cut", 100.0 * self.share_cut())?;
        if *silent > 0 {
            write!(f, "; {silent} rows leave nothing to learn")?;
        }
        if ended < turns {
            write!(f, "; {} of {turns} turns do not learn where to stop", turns - ended)?;
        }
        Ok(())
    }
}
