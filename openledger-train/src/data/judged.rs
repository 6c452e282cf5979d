//! Judged answers in a file of tokens: two rows for each example, the better answer and the other.

use std::marker::PhantomData;

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::Tokens;

use crate::{Judged, Judgements, Pair, Rows, Subset, preference::Judgement, rows::divided};

/// Judgements in rows that [`prepare`](super::prepare) wrote: `J` is a [`Pair`], whose better answer comes
/// first, or a [`Judged`] answer, which is the first of its two rows if it is good, otherwise the second;
/// the other one is empty.
///
/// # Examples
/// ```
/// use openledger_model::Tokens;
/// use openledger_train::{Judged, Judgements, data::JudgedRows};
///
/// let [answer, none] = [Tokens::new(&[1, 2], &[3]), Tokens::default()];
/// let rows = vec![answer.clone(), none.clone(), none, answer.clone()];
/// let judged = JudgedRows::<Judged>::new(&rows)?;
/// assert_eq!(judged.count(), 2);
/// assert_eq!(judged.judgement(1)?, Judged { answer, desirable: false });
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Debug)]
pub struct JudgedRows<'a, J> {
    rows: &'a dyn Rows,
    /// The examples taken, by number.
    chosen: Vec<usize>,
    judgement: PhantomData<fn() -> J>,
}

impl<'a, J> JudgedRows<'a, J> {
    /// Reads all of `rows`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for an odd number of rows.
    pub fn new(rows: &'a dyn Rows) -> Result<Self> {
        let [all, _] = Self::hold_out(rows, 0.0, 0)?;
        Ok(all)
    }

    /// Divides the judgements of `rows` in those to learn and those held out, as
    /// [`Subset::hold_out`] does rows.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn hold_out(rows: &'a dyn Rows, share: f64, seed: u64) -> Result<[Self; 2]> {
        let count = rows.count();
        if !count.is_multiple_of(2) {
            return Err(Error::corrupt(format!(
                "{count} rows where two for each example should be"
            )));
        }
        Ok(divided(count / 2, share, seed).map(|chosen| Self {
            rows,
            chosen,
            judgement: PhantomData,
        }))
    }

    /// Returns the answers alone, as rows.
    ///
    /// # Errors
    /// Those of [`Rows::length`].
    pub fn answers(&self) -> Result<Subset<'a>> {
        let mut answers = Vec::with_capacity(2 * self.chosen.len());
        for row in self.chosen.iter().flat_map(|&number| [2 * number, 2 * number + 1]) {
            if self.rows.length(row)? > 0 {
                answers.push(row);
            }
        }
        Ok(Subset::new(self.rows, answers))
    }

    /// The numbers of the two rows of an example.
    fn places(&self, index: usize) -> Result<[usize; 2]> {
        let missing = || {
            let message = format!("no judgement {index} of {}", self.chosen.len());
            Error::new(ErrorKind::NotFound, message)
        };
        let number = self.chosen.get(index).ok_or_else(missing)?;
        Ok([2 * number, 2 * number + 1])
    }

    fn both(&self, index: usize) -> Result<[Tokens; 2]> {
        let [one, other] = self.places(index)?;
        Ok([self.rows.row(one)?, self.rows.row(other)?])
    }

    fn lengths(&self, index: usize) -> Result<usize> {
        let [one, other] = self.places(index)?;
        Ok(self.rows.length(one)? + self.rows.length(other)?)
    }
}

impl Judgements<Pair> for JudgedRows<'_, Pair> {
    fn count(&self) -> usize {
        self.chosen.len()
    }

    fn judgement(&self, index: usize) -> Result<Pair> {
        let [chosen, rejected] = self.both(index)?;
        Ok(Pair { chosen, rejected })
    }

    fn length(&self, index: usize) -> Result<usize> {
        self.lengths(index)
    }
}

impl Judgements<Judged> for JudgedRows<'_, Judged> {
    fn count(&self) -> usize {
        self.chosen.len()
    }

    fn judgement(&self, index: usize) -> Result<Judged> {
        let [good, bad] = self.both(index)?;
        match (good.tokens.is_empty(), bad.tokens.is_empty()) {
            (false, true) => Ok(Judged { answer: good, desirable: true }),
            (true, false) => Ok(Judged { answer: bad, desirable: false }),
            (both, _) => {
                let found = if both { "no answer" } else { "two answers" };
                Err(Error::corrupt(format!("{found} in judgement {index} where one should be")))
            }
        }
    }

    fn length(&self, index: usize) -> Result<usize> {
        self.lengths(index)
    }
}

/// The two rows of a pair.
pub(super) fn pair(pair: Pair) -> Result<Vec<Tokens>> {
    whole(&pair)?;
    Ok(vec![pair.chosen, pair.rejected])
}

/// The two rows of an answer and of whether it is good.
pub(super) fn single((answer, desirable): (Tokens, bool)) -> Result<Vec<Tokens>> {
    let judged = Judged { answer, desirable };
    whole(&judged)?;
    let none = Tokens::default();
    Ok(if desirable { vec![judged.answer, none] } else { vec![none, judged.answer] })
}

/// The four rows of a pair as a good answer and a bad one.
pub(super) fn singles(pair: Pair) -> Result<Vec<Tokens>> {
    let Pair { chosen, rejected } = pair;
    Ok([single((chosen, true))?, single((rejected, false))?].concat())
}

/// Refuses answers that were cut away: they would end a run in its middle.
fn whole(judgement: &impl Judgement) -> Result<()> {
    match judgement.answers().iter().all(|answer| answer.learned() > 0) {
        true => Ok(()),
        false => Err(Error::invalid(
            "an answer of which nothing is left behind its prompt: raise `data.max_tokens` or drop the row",
        )),
    }
}
