//! Rotary position embedding (Su et al., 2021) in the layout of Hugging Face's Llama.

use std::sync::{Arc, PoisonError, RwLock};

use crate::isa::{Isa, vectorised};

/// Turns the heads of queries and keys by the position of their row.
///
/// Element `i` of a head turns together with element `i + head_dim / 2`, by the angle
/// `position * frequency[i]`. The angle is rounded to `f32` first, as the reference
/// implementation does; its sine and cosine are exact to `f32`. They are tabulated as far as
/// positions are asked for, so a model that claims a million positions costs nothing by it.
#[derive(Debug)]
pub struct Rope {
    frequencies: Vec<f32>,
    table: RwLock<Arc<Table>>,
}

/// Cosines and sines, `[positions, head_dim / 2]` each.
#[derive(Debug, Default)]
struct Table {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// Takes the inverse frequencies, one for each pair of elements of a head.
    pub fn new(frequencies: Vec<f32>) -> Self {
        Self { frequencies, table: RwLock::default() }
    }

    /// Turns each head of each row of `x` by its row's position. `x` is `[rows, heads * head_dim]`.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub fn apply(&self, x: &mut [f32], positions: &[u32]) {
        self.rotate(x, positions, 1.0);
    }

    /// Turns back: the gradient of [`apply`](Self::apply).
    ///
    /// # Panics
    /// As [`apply`](Self::apply).
    pub fn apply_backward(&self, dx: &mut [f32], positions: &[u32]) {
        self.rotate(dx, positions, -1.0);
    }

    fn rotate(&self, x: &mut [f32], positions: &[u32], sign: f32) {
        let Some(&last) = positions.iter().max() else { return };
        assert_eq!(x.len() % positions.len(), 0, "whole rows");
        let width = x.len() / positions.len();
        let half = self.frequencies.len();
        assert_eq!(width % (2 * half), 0, "whole heads");
        let (isa, table) = (Isa::best(), self.table(last as usize + 1));
        for (row, &position) in x.chunks_exact_mut(width).zip(positions) {
            let place = position as usize * half;
            let (cos, sin) = (&table.cos[place..place + half], &table.sin[place..place + half]);
            turn(isa, row, cos, sin, sign);
        }
    }

    /// Returns a table of at least `positions` positions.
    fn table(&self, positions: usize) -> Arc<Table> {
        let len = positions * self.frequencies.len();
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner));
        if table.cos.len() >= len {
            return table;
        }
        let angles = (0..positions.next_power_of_two()).flat_map(|position| {
            self.frequencies.iter().map(move |f| f64::from(position as f32 * f))
        });
        let (cos, sin) = angles.map(|a| (libm::cos(a) as f32, libm::sin(a) as f32)).unzip();
        let larger = Arc::new(Table { cos, sin });
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&larger);
        larger
    }
}

vectorised! {
    /// Turns the heads of one row.
    fn turn(row: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
        let half = cos.len();
        for head in row.chunks_exact_mut(2 * half) {
            let (first, second) = head.split_at_mut(half);
            let angles = cos.iter().zip(sin);
            for ((x, y), (cos, sin)) in first.iter_mut().zip(second).zip(angles) {
                let (turned, sin) = (*x, sign * sin);
                *x = turned * cos - *y * sin;
                *y = *y * cos + turned * sin;
            }
        }
    }
}
