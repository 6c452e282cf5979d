//! Rows of numbers in memory that is used again.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Memory that passes over batches of one size use one after another.
///
/// What is new costs the system work for every page, and zeros that nobody reads: a fifth of a
/// training step, and a twentieth of a server's. Clones share the memory; it is given back when the last is dropped.
///
/// # Examples
/// ```
/// # use openledger_core::Result;
/// use openledger_model::{Batch, Buffers, Network, Tape, Tokens, Trainable};
///
/// /// The loss of some rows, one after another in the memory of one.
/// fn loss(network: &Network, rows: &[Tokens]) -> Result<f64> {
///     let (buffers, mut sum) = (Buffers::default(), 0.0);
///     for row in rows {
///         let batch = Batch::new([&row.tokens[..]]);
///         let tape = Tape::new(network, None, Trainable::Nothing, &batch);
///         let mut tape = tape.with_buffers(&buffers);
///         let hidden = tape.run()?;
///         sum += tape.loss(&hidden, &row.labels(), 1.0).sum;
///     }
///     Ok(sum)
/// }
/// ```
#[derive(Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<f32>>>>);

/// A list of numbers whose memory goes back to the [`Buffers`] it is from.
#[derive(Default)]
pub struct Buffer {
    numbers: Vec<f32>,
    len: usize,
    home: Option<Buffers>,
}

impl Buffers {
    /// Returns so many numbers, whatever they are: for what is written whole.
    pub fn room(&self, len: usize) -> Buffer {
        let mut free = self.free();
        let fits = free.partition_point(|numbers| numbers.len() < len);
        let numbers = match free.get(fits) {
            // One that is much larger would be missed where it is wanted.
            Some(found) if found.len() <= 2 * len => free.remove(fits),
            _ => {
                // In exchange for one that is too small: as many are kept as were used at a time.
                if fits > 0 {
                    free.remove(fits - 1);
                }
                vec![0.0; len]
            }
        };
        Buffer { numbers, len, home: Some(self.clone()) }
    }

    /// Returns zeros.
    pub fn zeros(&self, len: usize) -> Buffer {
        let mut zeros = self.room(len);
        zeros.fill(0.0);
        zeros
    }

    /// Returns the same numbers again.
    pub fn copy(&self, numbers: &[f32]) -> Buffer {
        let mut copy = self.room(numbers.len());
        copy.copy_from_slice(numbers);
        copy
    }

    /// What is not used, the smallest first.
    fn free(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffers({} free)", self.free().len())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take().filter(|_| !self.numbers.is_empty()) {
            let numbers = std::mem::take(&mut self.numbers);
            let mut free = home.free();
            let place = free.partition_point(|other| other.len() < numbers.len());
            free.insert(place, numbers);
        }
    }
}

impl From<Vec<f32>> for Buffer {
    fn from(numbers: Vec<f32>) -> Self {
        Self { len: numbers.len(), numbers, home: None }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[..self.len]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_where_it_fits() {
        let buffers = Buffers::default();
        let mut first = buffers.zeros(100);
        first[99] = 7.0;
        let place = first.as_ptr();
        drop(first);
        let again = buffers.room(60);
        assert_eq!((again.as_ptr(), again.len()), (place, 60));
        drop(again);
        assert_eq!(buffers.zeros(100)[99], 0.0);
        assert_ne!(buffers.room(10).as_ptr(), place, "ten times as large as is wanted");
        assert_eq!(buffers.copy(&[1.0, 2.0])[..], [1.0, 2.0]);
    }

    #[test]
    fn no_more_is_kept_than_was_used_at_a_time() {
        let buffers = Buffers::default();
        for len in [10, 1000, 20, 2000, 5000] {
            let _one = buffers.room(len);
        }
        let kept: Vec<usize> = buffers.free().iter().map(Vec::len).collect();
        assert_eq!(kept.len(), 2, "{kept:?}");
    }
}
