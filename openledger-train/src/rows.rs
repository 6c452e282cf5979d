//! Rows to learn, wherever they lie.

use std::fmt;

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::Tokens;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// Rows by number, in memory or on disk. Implement this to train on more than memory holds.
///
/// # Contract
/// - The same number gives the same row, as often as it is asked for.
pub trait Rows: fmt::Debug {
    /// Returns how many rows there are.
    fn count(&self) -> usize;

    /// Returns the row `index`, from 0.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] past the last;
    /// [`ErrorKind::Unavailable`] if it cannot be read.
    fn row(&self, index: usize) -> Result<Tokens>;

    /// Returns how many tokens the row `index` has, for whoever can say it without reading the row.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    fn length(&self, index: usize) -> Result<usize> {
        Ok(self.row(index)?.tokens.len())
    }
}

impl Rows for [Tokens] {
    fn count(&self) -> usize {
        self.len()
    }

    fn row(&self, index: usize) -> Result<Tokens> {
        self.get(index).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no row {index} of {}", self.len()))
        })
    }
}

impl Rows for Vec<Tokens> {
    fn count(&self) -> usize {
        self[..].count()
    }

    fn row(&self, index: usize) -> Result<Tokens> {
        self[..].row(index)
    }
}

impl<const N: usize> Rows for [Tokens; N] {
    fn count(&self) -> usize {
        N
    }

    fn row(&self, index: usize) -> Result<Tokens> {
        self[..].row(index)
    }
}

/// Some of the rows, in an order of their own.
#[derive(Debug)]
pub struct Subset<'a> {
    rows: &'a dyn Rows,
    chosen: Vec<usize>,
}

impl<'a> Subset<'a> {
    /// Takes the rows with these numbers.
    pub fn new(rows: &'a dyn Rows, chosen: Vec<usize>) -> Self {
        Self { rows, chosen }
    }

    /// Divides rows in those to learn and those held out, a part `share` of them, rounded up: the same
    /// for the same seed, each in the order of `rows`.
    ///
    /// # Examples
    /// ```
    /// use openledger_model::Tokens;
    /// use openledger_train::{Rows, Subset};
    ///
    /// let rows: Vec<Tokens> = (0..20).map(|i| Tokens::new(&[i], &[i])).collect();
    /// let [learned, held_out] = Subset::hold_out(&rows, 0.15, 7);
    /// assert_eq!((learned.count(), held_out.count()), (17, 3));
    /// ```
    pub fn hold_out(rows: &'a dyn Rows, share: f64, seed: u64) -> [Self; 2] {
        divided(rows.count(), share, seed).map(|chosen| Self { rows, chosen })
    }
}

impl Rows for Subset<'_> {
    fn count(&self) -> usize {
        self.chosen.len()
    }

    fn row(&self, index: usize) -> Result<Tokens> {
        let missing =
            || Error::new(ErrorKind::NotFound, format!("no row {index} of {}", self.chosen.len()));
        self.rows.row(*self.chosen.get(index).ok_or_else(missing)?)
    }
}

/// The numbers below `count`, those to learn and those held out, see [`Subset::hold_out`].
pub(crate) fn divided(count: usize, share: f64, seed: u64) -> [Vec<usize>; 2] {
    #[expect(clippy::cast_sign_loss, reason = "a share is not below zero")]
    let out = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as usize).min(count);
    let mut order = shuffled(count, &mut ChaCha8Rng::seed_from_u64(seed));
    let mut learned = order.split_off(out);
    learned.sort_unstable();
    order.sort_unstable();
    [learned, order]
}

/// The numbers below `count` in an order decided by `random` (Fisher and Yates).
pub(crate) fn shuffled(count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // A remainder of 64 bits favours no number measurably.
        let other = random.next_u64() % (last as u64 + 1);
        order.swap(last, other as usize);
    }
    order
}
